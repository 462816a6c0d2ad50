"""Empty: the one definition of it, for the server; for Spark ``rules/predicates`` says the same.

Pages are empty where they are absent, null or []; a count where it is absent, null or the integer
0. A field of another type, or one that stands there twice, is neither empty nor filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from session_repair.mongo.bson_types import SESSION_TYPES, is_any_twice, type_unless_twice
from session_repair.mongo.census import is_maybe_odd
from session_repair.settings import Settings

Document = dict[str, Any]

EMPTY_VALUES: Mapping[str, list[Any]] = {"pages": [[], None], "event_count": [0, None]}
TOTALS_OF_EMPTY = {"pages": "names_no_page", "event_count": "counts_nothing"}  # of a report
EITHER = "potentially_empty"


def of_empty(settings: Settings) -> list[str]:
    """The fields that are kept of those that tell whether a session is empty."""
    return [field for field in EMPTY_VALUES if settings.shape.keeps(field)]


def empty_sessions(settings: Settings, in_both: bool = False) -> Document:
    """The filter that finds the sessions that name no page or count nothing; or that do both."""
    fields = [
        {**is_maybe_empty(settings, field), "$expr": is_empty(settings, field)}
        for field in of_empty(settings)
    ]
    return {"$and" if in_both else "$or": fields}


def is_maybe_empty(settings: Settings, field: str) -> Document:
    """A quick filter that lets pass every session whose field is empty.

    And 0.0, what holds a null or an empty list, and what has no object on its way.
    """
    return {settings.session_fields[field]: {"$in": EMPTY_VALUES[field]}}


def is_empty(settings: Settings, field: str) -> Document:
    """Whether the field of a session is empty, as an expression."""
    path = settings.session_fields[field]
    is_nothing = {"$in": [{"$ifNull": [f"${path}", None]}, EMPTY_VALUES[field]]}
    kind = type_unless_twice(field, path, settings.session_dates)
    is_typed = {"$in": [kind, list(SESSION_TYPES[field])]}
    return {"$and": [is_nothing, is_typed]}


def untold_sessions(settings: Settings) -> Document:
    """The filter that finds the sessions whose pages or count are of a wrong type."""
    paths = settings.session_fields
    return {"$or": [is_maybe_odd(paths[it], SESSION_TYPES[it]) for it in of_empty(settings)]}


def malformed_sessions(settings: Settings) -> Document:
    """The filter of sessions that are not empty, and malformed in their pages or their count.

    One of them may stand there twice: no look-up looks for that in all sessions.
    """
    ours = [settings.session_fields[field] for field in of_empty(settings)]
    odd = {"$or": [untold_sessions(settings), {"$expr": is_any_twice(ours)}]}
    return {"$and": [odd, {"$nor": [empty_sessions(settings)]}]}


def maybe_empty(settings: Settings, in_both: bool) -> Document:
    """The filter that finds the empty sessions, and those of which that cannot be told.

    What passes the quick filter and is not empty is of a wrong type: nothing slower need be asked.
    Where sessions have to be empty ``in_both`` no such is asked for.
    """
    if in_both:
        return empty_sessions(settings, in_both)
    quick = [is_maybe_empty(settings, field) for field in of_empty(settings)]
    return {"$or": [*quick, untold_sessions(settings)]}


def by_empty(settings: Settings) -> Document:
    """The key by which sessions are grouped that are empty in the same fields."""
    return {field: is_empty(settings, field) for field in of_empty(settings)}


def empty_totals(groups: Iterable[Document]) -> dict[str, int]:
    """Of such groups: the ``documents`` that name no page, that count nothing, that do either."""
    counts = dict.fromkeys((*TOTALS_OF_EMPTY.values(), EITHER), 0)
    for group in groups:
        holds = [name for field, name in TOTALS_OF_EMPTY.items() if group["_id"].get(field)]
        for name in [*holds, EITHER] if holds else []:
            counts[name] += group["documents"]
    return counts
