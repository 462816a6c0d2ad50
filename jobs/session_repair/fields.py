"""Fields: what the documents of the two collections have, and what cannot be said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from session_repair.aggregates import OF_EMPTY, Aggregate
from session_repair.errors import Refused

SESSION_FIELDS = (
    "session_id",
    "user_id",
    "event_count",
    "first_event_at",
    "last_event_at",
    "pages",
)
EVENT_FIELDS = ("session_id", "user_id", "timestamp", "page")
ONLY_FOR = {"user_id": "user_id", "page": "pages"}  # what of an event is read for a basic only


def read_of_events(
    session_fields: Mapping[str, str], event_fields: Mapping[str, str]
) -> dict[str, str]:
    """The fields of events that are read: those for what the sessions do not keep are not.

    Raises Refused where what is empty could not be told, or a basic has nothing to come from.
    """
    if not any(it in session_fields for it in OF_EMPTY):
        raise Refused(
            "under [fields.sessions] both event_count and pages are false: without either nothing "
            "tells which session is empty. Name one."
        )
    for name, basic in ONLY_FOR.items():
        if basic in session_fields and name not in event_fields:
            raise Refused(
                f"under [fields.events] {name} is false, and the sessions keep {basic}. Name where "
                f"events have it, or write {basic} = false under [fields.sessions]."
            )
    unread = [name for name, basic in ONLY_FOR.items() if basic not in session_fields]
    return {name: path for name, path in event_fields.items() if name not in unread}


def refuse_one_name(collections: Mapping[str, str]) -> None:
    """Raise Refused where two collections are one."""
    for (one, name), (other, known) in combinations(collections.items(), 2):
        if name == known:
            raise Refused(
                f"{one} and {other} are both named {name!r}. Give each its own collection."
            )


def refuse_overlaps(session_fields: Mapping[str, str], aggregates: Iterable[Aggregate]) -> None:
    """Raise Refused where what is written under one name would be written over another."""
    declared = {f"the aggregate {it.name}": it.path for it in aggregates}
    written = {"_id": "_id", **session_fields, **declared}
    for (one, path), (other, known) in combinations(written.items(), 2):
        if one == "_id" and other == "session_id":
            continue  # an _id may be the session's name, which is never written
        if f"{known}.".startswith(f"{path}.") or f"{path}.".startswith(f"{known}."):
            where = "[[aggregates]]" if other in declared else "[fields.sessions]"
            raise Refused(
                f"under {where} {one} is {path!r}, and {other} is {known!r}: what is "
                "written into one would change the other. Give each its own field."
            )
