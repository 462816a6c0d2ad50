"""Declared: what documents hold of the aggregates that are declared, as tokens, by the server.

It evaluates ``where`` and picks ``of``, so that Spark sees one column for each; see
``rules/tokens``. Nothing is coerced: of a value of another type only the name of that comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from session_repair.aggregates import COUNT, Aggregate, Shape
from session_repair.dates import DATE
from session_repair.mongo.bson_types import below, type_unless_twice

Document = dict[str, Any]

NOTHING = "$$REMOVE"
ANY = ""  # no field of ours, whose types have names of their own


def stored_tokens(shape: Shape, at: str, may_be_odd: bool) -> Document:
    """The member ``more`` of a session: its tokens, by name; nothing where nothing is declared.

    Where it ``may_be_odd``, on its way to the field may be no object, or the field twice.
    """
    held = {it.name: stored_token(it, at, may_be_odd) for it in shape.declared}
    return {"more": held} if held else {}


def stored_token(aggregate: Aggregate, at: str, may_be_odd: bool) -> Any:
    path = below(at, aggregate.path)
    value, kind = f"${path}", "$$kind"
    named: Any = {"$type": value}
    if may_be_odd:
        named = type_unless_twice(ANY, aggregate.path, DATE, at)
    null: Any = {"v": None}
    found: Any = token(value, kind, aggregate.holds)
    if aggregate.is_list:
        each = token("$$this", {"$type": "$$this"}, aggregate.holds)
        is_list, null = {"$eq": [kind, "array"]}, [null]
        found = {"$cond": [is_list, {"$map": {"input": value, "in": each}}, [wrong(kind)]]}
    cases = [
        {"case": {"$eq": [kind, "missing"]}, "then": NOTHING},
        {"case": {"$eq": [kind, "null"]}, "then": null},
    ]
    told = {"$switch": {"branches": cases, "default": found}}
    return {"$let": {"vars": {"kind": named}, "in": told}}


def event_tokens(shape: Shape, at: str) -> Document:
    """The member ``more`` of an event: a token of each value, 1 for what is counted."""
    said = {it.name: event_token(it, at) for it in shape.read}
    return {"more": said} if said else {}


def event_token(aggregate: Aggregate, at: str) -> Any:
    found: Any = 1
    if aggregate.kind != COUNT:
        value = f"${below(at, str(aggregate.of))}"
        is_nothing = {"$eq": [{"$ifNull": [value, None]}, None]}
        found = token(value, {"$type": value}, aggregate.reads)
        found = {"$cond": [is_nothing, NOTHING, found]}
    if not aggregate.where:
        return found
    return {"$cond": [matches(aggregate.where, at), found, NOTHING]}


def matches(where: Mapping[str, tuple[Any, ...]], at: str) -> Document:
    """Whether a document holds one of the values at each path, or in an array there.

    So do MongoDB's own queries; but no array within an array is looked into.
    """
    tests = []
    for path, values in where.items():
        value = f"${below(at, path)}"
        known = [{"$literal": it} for it in values]
        is_one = {"$eq": [value, known[0]]} if len(known) == 1 else {"$in": [value, known]}
        is_in = {"$ne": [{"$setIntersection": [value, known]}, []]}
        tests.append({"$or": [is_one, {"$and": [{"$isArray": value}, is_in]}]})
    return tests[0] if len(tests) == 1 else {"$and": tests}


def token(value: str, kind: Any, types: tuple[str, ...]) -> Document:
    """The token of a value of this type. Text that begins with a brace is no plain text."""
    of_type = {"$cond": [{"$in": [kind, list(types)]}, {"v": value}, wrong(kind)]}
    if "string" not in types:
        return of_type
    is_braced = {"$and": [{"$gte": [value, "{"]}, {"$lt": [value, "|"]}]}
    is_plain = {"$and": [{"$eq": [kind, "string"]}, {"$not": is_braced}]}
    return {"$cond": [is_plain, value, of_type]}


def wrong(kind: Any) -> Document:
    return {"!": kind}
