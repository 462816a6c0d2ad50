"""A model of a session and its plan, in plain Python over bson.encode; shares no code with the job.

Fields stand at paths; where they are nested, what they stand in may be missing, null or an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import bson
from bson import DatetimeMS, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion

from tests.harness.documents import Document

FIELDS = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")
FLAT = {name: name for name in ("session_id", *FIELDS)}
RENAMED = {name: f"x_{name}" for name in FLAT}
NESTED = {
    **FLAT,
    "session_id": "id.of.session",
    "event_count": "sums.count",
    "pages": "sums.seen.pages",
    "last_event_at": "sums.at",
    "first_event_at": "begun.at",
}
LAYOUTS = {"flat": FLAT, "renamed": RENAMED, "nested": NESTED}
MISSING = object()
EXACT: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
KEY = ObjectId("68d000000000000000000001")
NOON = DatetimeMS(1_740_830_400_000)


def parents(paths: Mapping[str, str]) -> list[str]:
    """What nested fields stand in, the outermost first."""
    parts = [path.split(".") for path in paths.values()]
    return sorted({".".join(part[:depth]) for part in parts for depth in range(1, len(part))})


def at(document: Document, path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = found.get(name, MISSING) if isinstance(found, dict) else MISSING
    return found


def kind_of(value: Any) -> str:
    return "missing" if value is MISSING else "null" if value is None else "object"


def there(values: Iterable[tuple[str, Any]]) -> Document:
    return {name: value for name, value in values if value is not MISSING}


def members(document: Document, paths: Mapping[str, str]) -> Document:
    """What a plan says of the session, and the server of one that is as it was."""
    made: Document = {"session": {"v": document["_id"]}}
    made |= there([("session_id", at(document, paths["session_id"]))])
    made["observed"] = there((name, at(document, paths[name])) for name in FIELDS)
    if above := parents(paths):
        made["parents"] = [kind_of(at(document, parent)) for parent in above]
    return made


def seen(document: Document, paths: Mapping[str, str]) -> bytes:
    return bson.encode(members(document, paths))[4:-1]


def plan_bytes(document: Document, paths: Mapping[str, str], new: Document | None) -> bytes:
    """The plan to write these fields, or none to delete the session."""
    change: Document = {"delete": True} if new is None else {"new": new}
    return bson.encode({**members(document, paths), **change, "findings": ["empty_pages"]})


def put(document: Document, path: str, value: Any) -> None:
    """As $set does: where the field is, or at the end; what it stands in is made."""
    *above, name = path.split(".")
    for parent in above:
        document = document.setdefault(parent, {})
    document[name] = value


def drop(document: Document, path: str) -> None:
    *above, name = path.split(".")
    for parent in above:
        document = document.get(parent, {})
    document.pop(name, None)


def written(document: Document, update: Document) -> Document:
    """The document after an update of $set and $unset.

    Since MongoDB 5.0 fields that are added stand in the order of their names. Source: its manual,
    "$set", behavior.
    """
    after = copied(document)
    for operator, fields in update.items():
        assert operator in ("$set", "$unset")
        for path, value in sorted(dict(copied(fields)).items()):
            if operator == "$set":
                put(after, path, value)
            else:
                drop(after, path)
    return after


def copied(document: Any) -> Document:
    raw = document.raw if hasattr(document, "raw") else bson.encode(document)
    return bson.decode(raw, EXACT)


def signature(document: Document, paths: Mapping[str, str]) -> list[Any]:
    """What has to be the same: each value with its bytes, what nested ones stand in."""
    values = [at(document, paths[name]) for name in ("session_id", *FIELDS)]
    kinds = [kind_of(at(document, parent)) for parent in parents(paths)]
    same = [None if it is MISSING else bson.encode({"v": it}) for it in values]
    return [bson.encode({"v": document["_id"]}), *same, *kinds]


def session(paths: Mapping[str, str], **values: Any) -> Document:
    """An empty session with these values; MISSING is none, and nothing is made for it."""
    usual = {
        "session_id": "s1",
        "event_count": 0,
        "pages": [],
        "first_event_at": NOON,
        "last_event_at": NOON,
        "user_id": None,
    }
    document: Document = {"_id": KEY}
    for name, value in {**usual, **values}.items():
        if value is not MISSING:
            put(document, paths[name], value)
    return document
