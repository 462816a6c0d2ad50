"""Spellings: one session id as the values of several BSON types that it may stand for.

Programs that write into one database do not always agree on the type of an id: what one stores as
"777" another stores as a number, and a UUID is text to one and binary to the next. To MongoDB, and
so to a repair, these are several ids. Too many spellings only keep a session that might have been
deleted.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, DecimalException
from typing import Any

import bson
from bson import Binary, DatetimeMS, Decimal128, ObjectId, Timestamp, json_util
from bson.binary import OLD_BINARY_SUBTYPE, UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from session_repair.mongo.bson_bytes import ARRAY, Element, document_of, elements, text_in
from session_repair.mongo.bson_types import COMPARABLE
from session_repair.mongo.store import Store, raw

Document = dict[str, Any]

# Subtype 4, and the three orders of bytes in which drivers wrote subtype 3.
LEGACY_UUIDS = (
    UuidRepresentation.PYTHON_LEGACY,
    UuidRepresentation.JAVA_LEGACY,
    UuidRepresentation.CSHARP_LEGACY,
)
UUIDS = (UuidRepresentation.STANDARD, *LEGACY_UUIDS)
UUID_BYTES = 16
BINARY, OBJECT_ID, SCALARS = 0x05, 0x07, (0x01, 0x02, 0x08, 0x09, 0x10, 0x11, 0x12, 0x13)
AS_READ = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)


# What an id is spelled as


def spellings(value: Any) -> list[Any]:
    """The session id, and what others spell it as: text as other types, other types as text."""
    found = {}
    for text in texts_of(value):
        for other in (text, *other_spellings(text)):
            found[comparable(other)] = other
    return list({comparable(value): value, **found}.values())


def keeping(value: Any) -> list[Any]:
    """The spellings of a session id, and those of its digits were they of the other case.

    An ObjectId stands for the text in small letters; but that nobody means it by this one is not
    sure.
    """
    if isinstance(value, ObjectId):
        return [*spellings(value), str(value).upper()]
    return [*spellings(value), *(object_ids(value.lower()) if isinstance(value, str) else [])]


def texts_of(value: Any) -> list[str]:
    """The texts in which programs write the value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, ObjectId):
        return [str(value)]
    if isinstance(value, bytes) and len(value) == UUID_BYTES:
        return [text for it in uuids_in(value) for text in (str(it), it.hex, str(it).upper())]
    kind, number = comparable(value)
    return [str(int(number)), f"{int(number)}.0"] if kind == "number" else []


def uuids_in(value: bytes) -> list[uuid.UUID]:
    """The UUIDs that the bytes may stand for; in a binary of another subtype there are none."""
    if not isinstance(value, Binary):
        return [uuid.UUID(bytes=value)]
    kinds = {4: UUIDS[:1], 3: LEGACY_UUIDS}.get(value.subtype, ())
    return [value.as_uuid(it) for it in kinds]


def other_spellings(text: str) -> list[Any]:
    """What the text spells in other BSON types. A number finds those of all types that equal it."""
    return [*object_ids(text), *numbers(text), *binaries(text)]


def object_ids(text: str) -> list[ObjectId]:
    is_digits = ObjectId.is_valid(text) and str(ObjectId(text)) == text
    return [ObjectId(text)] if is_digits else []


def numbers(text: str) -> list[Any]:
    """The number as a decimal, and as a double, which is another one where it has a fraction."""
    found: list[Any] = exact_number(text)
    try:
        double = float(text)
    except ValueError:
        return found
    return [*found, double] if abs(double) < float("inf") else found


def exact_number(text: str) -> list[Decimal128]:
    """The very number; none where there is none, or one of more digits than a decimal has."""
    try:
        number = Decimal(text)
        return [Decimal128(number)] if number.is_finite() else []
    except DecimalException:
        return []


def binaries(text: str) -> list[bytes]:
    """The UUID in the types that are meant for it, and as the bytes of no kind, subtype 0."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return []
    return [*(Binary.from_uuid(value, representation) for representation in UUIDS), value.bytes]


# What --session-id names


def named_by(text: str) -> list[Any]:
    """The ids that the text may name: itself, what it spells, and the value of extended JSON."""
    spelled = [*object_ids(text), *exact_number(text), *binaries(text)]
    return [text, *spelled, *in_json(text)]


def in_json(text: str) -> list[Any]:
    """The scalar that stands in the extended JSON, as a report shows what is no text."""
    if not (text.startswith("{") or text in ("true", "false")):
        return []
    try:
        value = of_json(f'{{"v": {text}}}')
    except (ValueError, TypeError, KeyError, BSONError):
        return []
    return [] if comparable(value) is NOTHING else [value]


def of_json(envelope: str) -> Any:
    """The value in an envelope."""
    return json_util.loads(envelope, json_options=AS_READ)["v"]


def named_ids(texts: Iterable[str]) -> list[Any]:
    return [value for text in texts for value in named_by(text)]


def ids_without_session(store: Store) -> tuple[str, ...]:
    """The session_ids that ``--session-id`` names and no session has."""
    ids, path = store.settings.session_ids, store.path("session_id")
    there = ids_there(store.sessions, path, named_ids(ids)) if ids else set()
    return tuple(
        text
        for text in dict.fromkeys(ids)
        if there.isdisjoint(comparable(value) for value in named_by(text))
    )


def ids_there(collection: Collection[Document], path: str, ids: list[Any]) -> set[Any]:
    """Those of the ids that a document has, each comparable."""
    stages: list[Document] = [{"$match": {path: {"$in": ids}}}, {"$group": {"_id": f"${path}"}}]
    found = (next(elements(it.raw)) for it in raw(collection).aggregate(stages))
    return {comparable(scalar_in(it)) for it in found}


# What events name


def types_of_events(
    collection: Collection[Document],
    path: str,
    ids: Mapping[str, Any],
    session: ClientSession | None,
    but_own: bool = False,
) -> dict[str, set[str]]:
    """By their names, those of the ids that events have in any spelling: the types of these.

    The elements of an array are looked at as if they stood alone. ``but_own``: without the events
    that name just this id.
    """
    named: dict[Any, set[str]] = defaultdict(set)
    for name, value in ids.items():
        for spelling in keeping(value):
            named[comparable(spelling)].add(name)
    spelled = [it for value in ids.values() for it in keeping(value)]
    group = {"value": f"${path}", "type": {"$type": f"${path}"}}
    groups = raw(collection).aggregate(
        [{"$match": {path: {"$in": spelled}}}, {"$group": {"_id": group}}], session=session
    )
    found: dict[str, set[str]] = defaultdict(set)
    for document in groups:
        held, kind = elements(next(elements(document.raw)).value)
        for value in map(comparable, values_in(held)):
            for name in named.get(value, ()):
                if not but_own or held.kind == ARRAY or value != comparable(ids[name]):
                    found[name].add(text_in(kind))
    return found


def values_in(held: Element) -> Iterator[Any]:
    """The value; where it is an array, each of those in it."""
    if held.kind == ARRAY:
        for member in elements(held.value):
            yield from values_in(member)
    else:
        yield scalar_in(held)


# Values


NOTHING = ("none", None)


def scalar_in(held: Element) -> Any:
    """The scalar, as Python has it; None for what is no session id.

    The server takes some binaries for UUIDs that Python does not.
    """
    if held.kind == BINARY:
        subtype, data = held.value[4], held.value[5:]
        if subtype == OLD_BINARY_SUBTYPE:  # which tells the length of its bytes once more
            data = data[4:]
        return Binary(data, subtype) if subtype else data
    if held.kind == OBJECT_ID:
        return ObjectId(held.value)
    is_known = held.kind in SCALARS
    return bson.decode(document_of([held.named("v")]), COMPARABLE)["v"] if is_known else None


def comparable(value: Any) -> tuple[str, Any]:
    """The value such that two are the same where the server takes them to be; or ``NOTHING``."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return ("number", number) if number.is_finite() else NOTHING
    if isinstance(value, int | float):
        return ("number", value) if abs(value) < float("inf") else NOTHING
    if isinstance(value, bytes):
        return "binData", (value.subtype if isinstance(value, Binary) else 0, bytes(value))
    if isinstance(value, DatetimeMS):
        return "date", int(value)
    if isinstance(value, str | ObjectId | Timestamp):
        return type(value).__name__, value
    return NOTHING


def shown_id(value: Any) -> str:
    """The id as people read it: what ``rules/ids.name_of_id`` says of its key."""
    kind, number = comparable(value)
    if isinstance(value, str | ObjectId):
        return str(value)
    if kind == "number":
        return str(int(number))
    if isinstance(value, Binary) and value.subtype == UUIDS[0] and len(value) == UUID_BYTES:
        return str(value.as_uuid())
    return json_util.dumps(value, json_options=AS_READ)
