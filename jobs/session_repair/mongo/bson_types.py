"""Which BSON types a field may have, and how to ask the server for them.

The connector coerces what it is told to read (2.9 becomes 2, the number 5 a date in 1970), so
only the server can say what a field really holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from session_repair.dates import DATE_FIELDS, NUMBERS
from session_repair.mongo.dates import are_usual_dates, milliseconds, type_of_date, types_of_dates
from session_repair.rules.usual_types import ENVELOPED, USUAL_TYPES

# Binaries as they are, whatever the connection string wants UUIDs to be; and dates, which may be
# beyond the years that Python knows.
AS_STORED: CodecOptions[dict[str, Any]] = CodecOptions(
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
# To be compared with text: what is no UTF-8 is like none.
COMPARABLE = AS_STORED.with_options(unicode_decode_error_handler="surrogateescape")
RAW: CodecOptions[Any] = AS_STORED.with_options(document_class=RawBSONDocument)
UNREADABLE = "a value that Python cannot read"

NULL_OR_MISSING = ("missing", "null")
INTEGERS = ("int", "long")
USERS = ("objectId", "string", "int", "long", "binData")
# What may be a session id: any scalar. A fraction is none, nor what is beyond the type long.
IDS = (*("string", "objectId", *NUMBERS), *ENVELOPED)

SESSION_TYPES: Mapping[str, tuple[str, ...]] = {
    "session_id": IDS,
    "user_id": (*USERS, *NULL_OR_MISSING),
    "event_count": (*INTEGERS, *NULL_OR_MISSING),
    "first_event_at": ("date", *NULL_OR_MISSING),
    "last_event_at": ("date", *NULL_OR_MISSING),
    "pages": ("array", *NULL_OR_MISSING),
}
# The document's own _id may have any type that MongoDB takes for one.
ID_TYPES: Mapping[str, tuple[str, ...]] = {
    "_id": (
        *("string", "object", "binData", "objectId", "bool", "date", "null", "timestamp"),
        *("int", "long", "double", "decimal", "minKey", "maxKey", "symbol", "dbPointer"),
        *("javascript", "javascriptWithScope"),
    )
}
EVENT_TYPES: Mapping[str, tuple[str, ...]] = {
    "session_id": (*IDS, *NULL_OR_MISSING),
    "user_id": (*USERS, *NULL_OR_MISSING),
    "timestamp": ("date", *NULL_OR_MISSING),
    "page": ("string", *NULL_OR_MISSING),
}
# What nearly all documents have: these are recognized quickly, and read without the names of types.
USUAL_SESSION_TYPES = {field: (kind,) for field, kind in USUAL_TYPES.items()}
USUAL_EVENT_TYPES: Mapping[str, tuple[str, ...]] = {
    "session_id": ("string",),
    "user_id": ("objectId",),
    "timestamp": ("date",),
    "page": ("string", "missing"),
}

NO_LONG = " that no long equals"  # of the type of a number that is no session id
INEXACT = ("double", "decimal")  # may be that
TWICE = "there twice"  # stands for the type of a field that its document holds twice
PARENTS = ("object", "missing", "null")  # what may stand on the way to a nested field


def types_of(
    paths: Mapping[str, str], types: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The types that the fields which documents have may be of."""
    return {field: types[field] for field in paths}


def allowed_types(
    types: Mapping[str, tuple[str, ...]], dates: str
) -> Mapping[str, tuple[str, ...]]:
    """These types by field; of its dates, those that they have on a side that keeps them so."""
    of_dates = (*types_of_dates(dates), *NULL_OR_MISSING)
    return {**types, **{field: of_dates for field in types if field in DATE_FIELDS}}


def readable(document: RawBSONDocument) -> Any:
    """The document as a dict; ``UNREADABLE`` for the innermost one around what Python cannot hold.

    The server takes some values for sound that Python does not, such as a UUID of four bytes.
    """
    try:
        return bson.decode(document.raw, AS_STORED)
    except InvalidBSON:
        pass
    try:
        held = dict(document)
    except InvalidBSON:
        return UNREADABLE
    return {
        name: readable(value) if isinstance(value, RawBSONDocument) else value
        for name, value in held.items()
    }


def parents_of(path: str) -> list[str]:
    """The paths on the way to a nested field, the outermost first."""
    names = path.split(".")
    return [".".join(names[:number]) for number in range(1, len(names))]


def all_parents(paths: Mapping[str, str]) -> list[str]:
    """The paths on the way to nested fields, each once: sorted, so that the outermost are first."""
    return sorted({parent for path in paths.values() for parent in parents_of(path)})


def owners_of(paths: Iterable[str]) -> dict[str, set[str]]:
    """What the fields stand in, by its path, the document itself by none; their names there."""
    owners: dict[str, set[str]] = {}
    for path in paths:
        names = path.split(".")
        for depth, name in enumerate(names):
            owners.setdefault(".".join(names[:depth]), set()).add(name)
    return owners


def below(parent: str, path: str) -> str:
    """The path of a document's field where the document stands in the field ``parent``, if any."""
    return f"{parent}.{path}" if parent and path else parent or path


def whole_of(owner: str, at: str) -> str:
    """The value of an owner of fields in the document that stands in the field ``at``, if named."""
    path = below(at, owner)
    return f"${path}" if path else "$$ROOT"


def has_twice(whole: str) -> dict[str, Any]:
    """Whether any field stands twice in an object: merged, it would have each of them once."""
    return {"$ne": [{"$bsonSize": whole}, {"$bsonSize": {"$mergeObjects": [whole]}}]}


def is_any_twice(paths: Iterable[str], at: str = "") -> dict[str, Any]:
    """Whether one of these fields, or of what they stand in, stands twice where it stands.

    Which fields do is asked only where some do.
    """
    tests = []
    for owner, names in owners_of(paths).items():
        whole = whole_of(owner, at)
        ours = {"input": {"$objectToArray": whole}, "cond": {"$in": ["$$this.k", sorted(names)]}}
        keys = {"$map": {"input": {"$filter": ours}, "in": "$$this.k"}}
        is_ours = {"$ne": [{"$size": keys}, {"$size": {"$setUnion": [keys, []]}}]}
        is_object = {"$eq": [{"$type": whole}, "object"]}
        tests.append({"$and": [*([is_object] if owner else []), has_twice(whole), is_ours]})
    return {"$or": tests}


def is_usual(
    paths: Mapping[str, str],
    usual: Mapping[str, tuple[str, ...]],
    dates: str,
    more: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Whether every field has one of the usual types, by the quickest tests there are.

    A field inside an array is none: the path of a field there yields an array of values. ``more``
    tests come after these.
    """
    tests: list[dict[str, Any]] = [
        {"$eq": [{"$type": f"${parent}"}, "object"]} for parent in all_parents(paths)
    ]
    for field, types in usual.items():
        value = f"${paths[field]}"
        if field in DATE_FIELDS:
            tests += are_usual_dates(value, types, dates)
        else:
            are = [{"$eq": [{"$type": value}, kind]} for kind in types]
            tests.append(are[0] if len(are) == 1 else {"$or": are})
    tests += more
    if "pages" not in usual:
        return {"$and": tests}
    # Only an array can be filtered, so this has to wait for the other tests.
    return {"$cond": [{"$and": tests}, {"$eq": [[], not_strings(paths["pages"])]}, False]}


def not_strings(path: str) -> dict[str, Any]:
    """The elements of an array that are no strings."""
    return {"$filter": {"input": f"${path}", "cond": {"$ne": [{"$type": "$$this"}, "string"]}}}


def type_expression(field: str, path: str, dates: str) -> dict[str, Any]:
    """The server's name for the type of ``path``, finer than ``$type`` for pages, dates and ids.

    An array with an element that is no string is ``array of <type>``, a date outside the years
    1 to 9999 is ``date out of range``, a number where another kind of ``dates`` is expected is
    ``<type> like <kind>`` if it looks so, a number that is no id ``<type> that no long equals``,
    what has no object on its way is ``inside <type>``.
    """
    expression: dict[str, Any] = {"$type": f"${path}"}
    if field == "session_id":
        expression = type_of_id(path)
    if field == "pages":
        expression = type_of_pages(path)
    if field in DATE_FIELDS:
        expression = type_of_date(path, dates)
    for parent in parents_of(path):
        kind = {"$type": f"${parent}"}
        inside = {"$concat": ["inside ", kind]}
        expression = {"$cond": [{"$in": [kind, list(PARENTS)]}, expression, inside]}
    return expression


def type_of_id(path: str) -> dict[str, Any]:
    plain = {"$type": f"${path}"}
    as_long = {"$convert": {"input": f"${path}", "to": "long", "onError": None}}
    whole = {"$cond": [{"$eq": [as_long, f"${path}"]}, plain, {"$concat": [plain, NO_LONG]}]}
    return {"$cond": [{"$in": [plain, list(INEXACT)]}, whole, plain]}


def type_of_pages(path: str) -> dict[str, Any]:
    plain = {"$type": f"${path}"}
    first = {"$type": {"$arrayElemAt": [not_strings(path), 0]}}
    mixed = {"$cond": [{"$eq": [first, "missing"]}, "array", {"$concat": ["array of ", first]}]}
    return {"$cond": [{"$eq": [plain, "array"]}, mixed, plain]}


def type_unless_twice(field: str, path: str, dates: str, at: str = "") -> dict[str, Any]:
    """The name of its type, or that it is there twice: then which value it has cannot be said."""
    found = type_expression(field, below(at, path), dates)
    return {"$cond": [is_any_twice([path], at), TWICE, found]}


def value_of(field: str, path: str, dates: str) -> Any:
    """The value of ``path``; a date as its milliseconds, or as what Spark reads for such."""
    return milliseconds(f"${path}", dates) if field in DATE_FIELDS else f"${path}"


def value_where_typed(
    field: str, path: str, allowed: Mapping[str, tuple[str, ...]], dates: str
) -> dict[str, Any]:
    """The value of ``path`` where its type, in the variable ``types``, is allowed, else null."""
    value, known = value_of(field, path, dates), list(allowed[field])
    return {"$cond": [{"$in": [f"$$types.{field}", known]}, value, None]}
