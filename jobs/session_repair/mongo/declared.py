"""Declared: what documents hold of the aggregates that are declared, as tokens, by the server.

It evaluates ``where`` and picks ``of``, so that Spark sees one column for each; see
``rules/tokens``. Nothing is coerced: of a value of another type only the name of that comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from session_repair.aggregates import COUNT, Aggregate, Shape
from session_repair.mongo.bson_types import PARENTS, TWICE, is_any_twice, parents_of

Document = dict[str, Any]

NOTHING = "$$REMOVE"


def stored_tokens(shape: Shape, at: str, may_be_odd: bool) -> Document:
    """The member ``more`` of a session: its tokens, by name; nothing where nothing is declared.

    Where it ``may_be_odd``, on its way to the field may be no object, or the field twice.
    """
    held = {it.name: stored_token(it, at, may_be_odd) for it in shape.declared}
    return {"more": held} if held else {}


def stored_token(aggregate: Aggregate, at: str, may_be_odd: bool) -> Any:
    path = f"{at}.{aggregate.path}" if at else aggregate.path
    value = f"${path}"
    null: Document = {"v": None}
    if aggregate.is_list:
        each = {"$map": {"input": value, "in": token("$$this", aggregate.holds)}}
        odd = {"$cond": [{"$eq": [{"$type": value}, "null"]}, [null], [wrong(value)]]}
        found = {"$cond": [{"$isArray": [value]}, each, present(value, odd)]}
    else:
        odd = {"$cond": [{"$eq": [{"$type": value}, "null"]}, null, token(value, aggregate.holds)]}
        found = present(value, odd)
    if not may_be_odd:
        return found
    marks: list[tuple[Document, Any]] = [(is_any_twice([aggregate.path], at), TWICE)]
    for parent in reversed(parents_of(path)):
        kind = {"$type": f"${parent}"}
        marks.append(({"$not": {"$in": [kind, list(PARENTS)]}}, {"$concat": ["inside ", kind]}))
    for is_so, name in marks:
        told: Any = {"!": name}
        found = {"$cond": [is_so, [told] if aggregate.is_list else told, found]}
    return found


def event_tokens(shape: Shape, at: str) -> Document:
    """The member ``more`` of an event: a token of each value, 1 for what is counted."""
    said = {it.name: event_token(it, at) for it in shape.read}
    return {"more": said} if said else {}


def event_token(aggregate: Aggregate, at: str) -> Any:
    found: Any = 1
    if aggregate.kind != COUNT:
        value = f"${at}.{aggregate.of}" if at else f"${aggregate.of}"
        is_nothing = {"$eq": [{"$ifNull": [value, None]}, None]}
        found = {"$cond": [is_nothing, NOTHING, token(value, aggregate.reads)]}
    if not aggregate.where:
        return found
    return {"$cond": [matches(aggregate.where, at), found, NOTHING]}


def matches(where: Mapping[str, tuple[Any, ...]], at: str) -> Document:
    """Whether a document holds one of the values at each path."""
    tests = []
    for path, values in where.items():
        value = f"${at}.{path}" if at else f"${path}"
        known = [{"$literal": it} for it in values]
        tests.append({"$eq": [value, known[0]]} if len(known) == 1 else {"$in": [value, known]})
    return tests[0] if len(tests) == 1 else {"$and": tests}


def present(value: str, found: Any) -> Document:
    """What is found, of a field that is there."""
    return {"$cond": [{"$eq": [{"$type": value}, "missing"]}, NOTHING, found]}


def token(value: str, types: tuple[str, ...]) -> Document:
    """The token of a value that is there. Text that begins with a brace is no plain text."""
    kind = {"$type": value}
    of_type = {"$cond": [{"$in": [kind, list(types)]}, {"v": value}, wrong(value)]}
    if "string" not in types:
        return of_type
    is_braced = {"$and": [{"$gte": [value, "{"]}, {"$lt": [value, "|"]}]}
    is_plain = {"$and": [{"$eq": [kind, "string"]}, {"$not": is_braced}]}
    return {"$cond": [is_plain, value, of_type]}


def wrong(value: str) -> Document:
    return {"!": {"$type": value}}
