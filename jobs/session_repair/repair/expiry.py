"""Expiry: the user's own TTL indexes, which may delete the sessions that a run writes or puts back.

What such an index deletes no undo brings back, so it is told before the first write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from session_repair.dates import DATE, KEPT_DATES
from session_repair.errors import BreakerTripped
from session_repair.kinds import format_duration
from session_repair.mongo.connection import server_time
from session_repair.mongo.store import Store
from session_repair.wording import number_of

Document = dict[str, Any]


@dataclass(frozen=True)
class Expiry:
    """A TTL index of the sessions: what has a date in its field of ``before`` that is deleted.

    One with a ``filter`` knows those that it lets pass, as a written one may only then.
    """

    name: str
    path: str
    age: timedelta
    before: datetime
    filter: Mapping[str, Any]

    @property
    def deletes(self) -> Document:
        """The filter of the sessions that it deletes."""
        return {"$and": [{self.path: {"$lt": self.before}}, self.filter]}

    def dates_in(self, store: Store) -> list[str]:
        """The field, by the name that a plan gives it, if a correction may write a date there.

        Numbers are none to such an index.
        """
        kept, declared = store.settings.session_fields, store.settings.aggregates
        dates = KEPT_DATES if store.settings.session_dates == DATE else ()
        basics = [it for it in dates if kept.get(it) == self.path]
        return basics + [it.name for it in declared if it.path == self.path and it.may_be_date]


def expiries(store: Store) -> Iterator[Expiry]:
    now = server_time(store)
    for index in store.sessions.list_indexes():
        seconds = index.get("expireAfterSeconds")
        if seconds is not None:
            age = timedelta(seconds=seconds if seconds == seconds else 0)  # not a number: at once
            known = index.get("partialFilterExpression", {})
            yield Expiry(index["name"], next(iter(index["key"])), age, now - age, known)


def newly_expired(store: Store, expiry: Expiry, written: str) -> list[Document] | None:
    """Stages that make of journal rows the sessions that only their plan has the index delete.

    The server judges them as they would be with what the ``written`` member of the plan, new or
    observed, has of the fields that are new. None where nothing that is written matters to it.
    """
    looked_at = {expiry.path, *paths_in(expiry.filter)}
    names = store.settings.shape.names
    if not any(are_one_way(store.path(name), it) for name in names for it in looked_at):
        return None
    others = {
        "from": store.sessions.name,
        "localField": "plan.session.v",
        "foreignField": "_id",
        "pipeline": [{"$match": {"$nor": [expiry.deletes]}}],
        "as": "session",
    }
    after = {
        f"session.{store.path(name)}": {
            "$cond": [
                {"$eq": [{"$type": f"$plan.new.{name}"}, "missing"]},
                f"$session.{store.path(name)}",
                f"$plan.{written}.{name}",
            ]
        }
        for name in names
    }
    return [
        {"$lookup": others},
        {"$unwind": "$session"},
        {"$set": after},
        {"$replaceWith": "$session"},
        {"$match": expiry.deletes},
    ]


def paths_in(known: Any) -> Iterator[str]:
    """The fields that a filter looks at."""
    for name, value in known.items():
        if name.startswith("$"):
            yield from (path for it in value for path in paths_in(it))
        else:
            yield name


def are_one_way(path: str, other: str) -> bool:
    """Whether one of the fields is the other, or stands in it."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


def number_in(found: Iterable[Document]) -> int:
    """The one number that the server counted: it tells none of nothing."""
    return sum(it["number"] for it in found)


def require_lasting(store: Store, count: Callable[[Expiry], int], done: str) -> None:
    """Raise BreakerTripped where a TTL index would delete sessions as soon as they are ``done``.

    ``count`` tells of how many it is known. ``--allow-ttl`` lets them be deleted.
    """
    if store.settings.allow_ttl:
        return
    for expiry in expiries(store):
        if number := count(expiry):
            raise BreakerTripped(
                f"the TTL index {expiry.name!r} of {store.sessions.full_name} deletes a session "
                f"{format_duration(expiry.age)} after its {expiry.path}: up to "
                f"{number_of(number, 'session')} as soon as {done}, for good. Stopped before that. "
                "Drop the index, or raise its expireAfterSeconds; --allow-ttl lets them go."
            )
