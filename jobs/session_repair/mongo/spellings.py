"""Spellings: one session id as text and as the values of other BSON types that it may stand for.

Programs that write into one database do not always agree on the type of an id: what one stores as
"777" another stores as a number, and a UUID is text to one and binary to the next. Too many
spellings only keep a session that might have been deleted.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, DecimalException
from typing import Any

from bson import Binary, Decimal128, ObjectId
from bson.binary import UuidRepresentation
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from session_repair.mongo.bson_types import COMPARABLE

Document = dict[str, Any]

# Subtype 4, and the three orders of bytes in which drivers wrote subtype 3.
UUIDS = (
    UuidRepresentation.STANDARD,
    UuidRepresentation.PYTHON_LEGACY,
    UuidRepresentation.JAVA_LEGACY,
    UuidRepresentation.CSHARP_LEGACY,
)


def spellings(session_ids: Iterable[str]) -> list[Any]:
    """The session ids, and what others spell them as."""
    texts = list(session_ids)
    return [*texts, *(other for text in texts for other in other_spellings(text))]


def keeping(text: str) -> list[Any]:
    """The spellings of a session id, and the ObjectId of its digits were they capital letters.

    That one stands for the text in small letters; but that nobody means it by this one is not sure.
    """
    return [*spellings([text]), *object_ids(text.lower())]


def other_spellings(text: str) -> list[Any]:
    """What the text spells in other BSON types. A number finds those of all types that equal it."""
    return [*object_ids(text), *numbers(text), *binaries(text)]


def object_ids(text: str) -> list[ObjectId]:
    is_digits = ObjectId.is_valid(text) and str(ObjectId(text)) == text
    return [ObjectId(text)] if is_digits else []


def numbers(text: str) -> list[Any]:
    """The number as a decimal, and as a double, which is another one where it has a fraction."""
    try:
        number = Decimal(text)
        found: list[Any] = [Decimal128(number)] if number.is_finite() else []
    except DecimalException:  # no number, or one of more digits than a decimal has
        found = []
    try:
        double = float(text)
    except ValueError:
        return found
    return [*found, double] if abs(double) < float("inf") else found


def binaries(text: str) -> list[bytes]:
    """The UUID in the types that are meant for it, and as the bytes of no kind, subtype 0."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return []
    return [*(Binary.from_uuid(value, representation) for representation in UUIDS), value.bytes]


def types_of_events(
    collection: Collection[Document],
    path: str,
    session_ids: Sequence[str],
    session: ClientSession | None,
) -> dict[str, set[str]]:
    """Of the session ids that events name in any spelling: the BSON types of those spellings.

    The elements of an array are looked at as if they stood alone.
    """
    texts: dict[Any, set[str]] = defaultdict(set)
    for text in session_ids:
        for value in keeping(text):
            texts[comparable(value)].add(text)
    spelled = {"value": f"${path}", "type": {"$type": f"${path}"}}
    groups = collection.with_options(COMPARABLE).aggregate(
        [
            {"$match": {path: {"$in": [it for text in session_ids for it in keeping(text)]}}},
            {"$group": {"_id": spelled}},
        ],
        session=session,
    )
    found: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        for value in values_in(group["_id"]["value"]):
            for text in texts.get(comparable(value), ()):
                found[text].add(group["_id"]["type"])
    return found


def values_in(value: Any) -> Iterator[Any]:
    """The value; where it is an array, each of those in it."""
    if isinstance(value, list):
        for member in value:
            yield from values_in(member)
    else:
        yield value


def comparable(value: Any) -> Any:
    """The value such that numbers of all types are equal where the server takes them to be.

    None for what is no spelling of a text.
    """
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return number if number.is_finite() else None
    return value if isinstance(value, str | int | float | bytes | ObjectId) else None
