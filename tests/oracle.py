"""What sessions should be, from the events alone, in plain Python; shares no code with the job.

First for sound data: what events say of a session. Then, whatever the two collections hold, what a
repair should find and write: there dates are milliseconds, types are those of the bytes that the
server keeps, and documents are compared as those bytes.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import bson
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Timestamp, json_util
from bson.codec_options import CodecOptions, DatetimeConversion

from tests.harness.documents import SESSIONS, Db, Document
from tests.harness.epochs import Numbered

EXACT: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
MISSING, DATE = object(), "date"
YEAR_1, YEAR_9999 = -62_135_596_800_000, 253_402_300_799_999
COUNT, DATES = ("event_count",), ("first_event_at", "last_event_at", "timestamp")


# Sound data


def said_by(events: list[Document]) -> Document:
    """What the events of one session say of it; nothing of a user they disagree on."""
    in_order = sorted(events, key=lambda event: (event["timestamp"], event["_id"]))
    users = {event["user_id"] for event in events}
    visits = [event["page"] for event in in_order if event.get("page") is not None]
    return {
        "event_count": len(events),
        "pages": list(dict.fromkeys(visits)),
        "first_event_at": in_order[0]["timestamp"],
        "last_event_at": in_order[-1]["timestamp"],
        **({"user_id": users.pop()} if len(users) == 1 else {}),
    }


def rebuilt(db: Db) -> dict[str, Document]:
    """By session_id, what its events say of a session."""
    events = defaultdict(list)
    for event in db["events"].find():
        events[event["session_id"]].append(event)
    return {session_id: said_by(own) for session_id, own in events.items()}


def recomputed_documents(db: Db) -> dict[Any, bytes]:
    """Every session as ``fix --apply`` leaves it, as bytes, by _id. To be asked before the run.

    Empty ones are as their events say, the others as they are.
    """
    right, documents = rebuilt(db), {}
    for session in db.get_collection(SESSIONS, EXACT).find():
        is_empty = not session.get("pages") or not session.get("event_count")
        mended = right.get(session["session_id"], {}) if is_empty else {}
        documents[session["_id"]] = bson.encode(set_fields(session, mended))
    return documents


def mismatched(db: Db, *, in_order: bool = True) -> list[str]:
    """The sessions that are not what their events say; those without events must be empty."""
    right = rebuilt(db)
    nothing = {"event_count": 0, "pages": []}
    found = []
    for session in db[SESSIONS].find():
        wanted = right.pop(session["session_id"], nothing)
        stored = {name: session[name] for name in wanted}
        if not in_order and sorted(stored["pages"]) == sorted(wanted["pages"]):
            stored["pages"] = wanted["pages"]
        if stored != wanted:
            found.append(session["session_id"])
    return [*found, *right]  # what is left has events and no session


# Whatever there is


@dataclass(frozen=True)
class Foreseen:
    """By _id of the session, or by the name of events' ids without one: what is to be found."""

    codes: dict[bytes, dict[str, str]]  # code → action
    without_session: dict[str | None, set[str]]
    documents: dict[bytes, bytes]  # every session after the repair


def key_of(value: Any) -> bytes:
    return bson.encode({"v": value})


def kind(value: Any) -> str:
    """A rough BSON type: what the rules tell apart."""
    if value is MISSING or value is None:
        return "absent"
    if isinstance(value, bool):
        return "other"
    kinds = {str: "string", int: "integer", Int64: "integer", ObjectId: "objectId", list: "array"}
    if isinstance(value, DatetimeMS):
        return "date" if YEAR_1 <= int(value) <= YEAR_9999 else "other"
    if isinstance(value, bytes):  # a Binary, or one of subtype 0
        return "binary"
    return kinds.get(type(value), "other")


def is_right(field: str, value: Any, in_session: bool) -> bool:
    found = kind(value)
    if field == "session_id":
        return id_in(value) is not None or (found == "absent" and not in_session)
    if field == "user_id":
        return found in ("absent", "objectId", "string", "integer", "binary")
    if field in COUNT:
        return found in ("absent", "integer")
    if field in DATES:
        return found in ("absent", "date")
    if field == "pages":
        return found == "absent" or (
            found == "array" and all(kind(page) == "string" for page in value)
        )
    return found in ("absent", "string")


SESSION = ("session_id", "user_id", "event_count", "first_event_at", "last_event_at", "pages")
EVENT = ("session_id", "user_id", "timestamp", "page")


def is_sound(document: Document, fields: tuple[str, ...]) -> bool:
    return all(is_right(it, document.get(it, MISSING), fields is SESSION) for it in fields)


def id_of(document: Document) -> tuple[Any, ...] | None:
    return id_in(document.get("session_id"))


def id_in(value: Any) -> tuple[Any, ...] | None:
    """What is one id where it is one; None for what is no id."""
    if isinstance(value, (bool, str, ObjectId, Timestamp)):
        return type(value).__name__, value
    if isinstance(value, bytes):
        return "binary", getattr(value, "subtype", 0), bytes(value)
    if isinstance(value, DatetimeMS):
        return "date", int(value)
    if isinstance(value, (int, float, Decimal128)):
        number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
        is_id = number.is_finite() and number % 1 == 0 and -(2**63) <= number < 2**63
        return ("number", int(number)) if is_id else None
    return None


def name_of(key: tuple[Any, ...] | None) -> str | None:
    """The id as a report shows it."""
    if key is None or isinstance(key[1], (str, ObjectId)) or key[0] == "number":
        return str(key[1]) if key else None
    if key[:2] == ("binary", 4) and len(key[2]) == 16:
        return str(uuid.UUID(bytes=key[2]))
    value: Any = DatetimeMS(key[1]) if key[0] == "date" else key[1]
    value = Binary(key[2], key[1]) if key[0] == "binary" else value
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


def value(document: Document, field: str) -> Any:
    """The value; a date as its milliseconds."""
    found = document.get(field)
    return int(found) if isinstance(found, DatetimeMS) else found


def sums_of(events: list[Document]) -> Document:
    """What sound events, in the order of their _ids, say of a session."""
    dated = [it for it in events if value(it, "timestamp") is not None]
    dated.sort(key=lambda it: value(it, "timestamp"))  # stable: then by _id
    undated = [it for it in events if value(it, "timestamp") is None]
    visits = [it["page"] for it in [*dated, *undated] if it.get("page") is not None]
    users = {key_of(it["user_id"]): it["user_id"] for it in events if it.get("user_id") is not None}
    return {
        "event_count": len(events),
        "pages": list(dict.fromkeys(visits)),
        "first_event_at": value(dated[0], "timestamp") if dated else None,
        "last_event_at": value(dated[-1], "timestamp") if dated else None,
        "user_id": next(iter(users.values())) if len(users) == 1 else None,
        "conflict": len(users) > 1,
    }


def foresee(db: Db, units: tuple[str, str] = (DATE, DATE), usual: str = DATE) -> Foreseen:
    """What ``fix --apply --scope all`` should find and leave, from the two collections alone.

    The dates of sessions and of events are kept in these ``units``; those of sessions as numbers
    mostly of the ``usual`` type.
    """
    sessions = [in_unit(it, units[0]) for it in all_of(db, "sessions")]
    events = defaultdict(list)
    for event in all_of(db, "events"):
        events[id_of(event)].append(in_unit(event, units[1]))
    of_id = defaultdict(list)
    for session in sessions:
        if id_of(session) is not None:
            of_id[id_of(session)].append(session)
    codes, documents = {}, {}
    for session in sessions:
        key = key_of(session["_id"])
        same = of_id[id_of(session)] if id_of(session) is not None else [session]
        found, after = judge(session, same, events.get(id_of(session), []), usual)
        if isinstance(session, Numbered):
            after = session.as_kept(after, usual)
        codes[key], documents[key] = found, bson.encode(after)
    without_session = {
        name_of(key): {"orphan_events"} for key in events if key is None or key not in of_id
    }
    return Foreseen(codes, without_session, documents)


def all_of(db: Db, collection: str) -> list[Document]:
    return list(db.get_collection(collection, EXACT).find().sort("_id"))


def in_unit(document: Document, unit: str) -> Document:
    return document if unit == DATE else Numbered(document, DATES, unit)


def all_sound(events: list[Document]) -> bool:
    return all(is_sound(event, EVENT) for event in events)


def judge(
    session: Document, same: list[Document], events: list[Document], usual: str
) -> tuple[dict[str, str], Document]:
    """The findings of one session with their actions, and the document after the repair."""
    if id_of(session) is None:
        events = []  # those without a session_id are nobody's
    stored = [it.get("event_count") for it in same]
    counts = [it if is_right("event_count", it, in_session=True) else None for it in stored]
    best = max(range(len(same)), key=lambda n: (counts[n] is not None, counts[n] or 0, -n))
    found = {} if same[best] is session else {"duplicate_session": "report"}
    if not (all(is_sound(it, SESSION) for it in same) and all_sound(events)):
        return {**found, "malformed": "report"}, session
    if found:
        return found, session
    pages = session.get("pages") or []
    count = session.get("event_count") or 0
    if not events:
        is_empty = not pages and not count
        return {"orphan_session" if is_empty else "phantom_session": "report"}, session
    should = sums_of(events)
    for name in ("first_event_at", "last_event_at"):
        if isinstance(session, Numbered) and should[name] is not None:
            should[name] = session.held(name, should[name], usual)
    return compare(session, pages, count, should)


def in_type_of(stored: Any, new: Any) -> Any:
    """The new value; an integer is of the stored one's type where it fits."""
    if kind(stored) != "integer" or kind(new) != "integer":
        return new
    return int(new) if type(stored) is int and -(2**31) <= new < 2**31 else Int64(new)


def compare(
    session: Document, pages: list[str], count: int, should: Document
) -> tuple[dict[str, str], Document]:
    new: Document = {}
    has_expired = should["event_count"] < count
    if count != should["event_count"]:
        found = {"zero_events" if not count else "count_mismatch": "report"}
        if not has_expired:
            new["event_count"] = in_type_of(session.get("event_count"), should["event_count"])
    else:
        found = {}
    lacking = [page for page in should["pages"] if page not in pages]
    has_extra = len(pages) > len(set(pages) & set(should["pages"]))
    if lacking:
        found["empty_pages" if not pages else "pages_missing"] = "correct"
        new["pages"] = [*pages, *lacking] if has_extra else should["pages"]
    if has_extra:
        found["pages_extra"] = "report"
    for name, wider in (("first_event_at", min), ("last_event_at", max)):
        stored, rebuilt = value(session, name), should[name]
        if rebuilt is None or stored == rebuilt:
            continue
        found[f"{name.removesuffix('_at')}_mismatch"] = "report"
        if has_expired and stored is not None:
            rebuilt = wider(stored, rebuilt)
        if rebuilt != stored:
            new[name] = DatetimeMS(rebuilt)
    user = in_type_of(session.get("user_id"), should["user_id"])
    if user is not None and key_of(session.get("user_id")) != key_of(user):
        found["user_mismatch"] = "correct"
        new["user_id"] = user
    if should["conflict"]:
        found["user_conflict"] = "report"
    names = {"zero_events": "event_count", "count_mismatch": "event_count"}
    names |= {f"{it}_event_mismatch": f"{it}_event_at" for it in ("first", "last")}
    found |= {code: "correct" for code, name in names.items() if code in found and name in new}
    return found, set_fields(session, new)


def set_fields(document: Document, new: Document) -> Document:
    """The document after $set: each field in its place, those that it lacked at its end.

    They stand in the order of their names, whatever the order of the command's. Source: MongoDB's
    manual, "$set", behavior, since 5.0.
    """
    return {**document, **dict(sorted(new.items()))}
