"""Expiry: the user's own TTL indexes, which may delete the sessions that a run writes or puts back.

What such an index deletes no undo brings back, so it is told before the first write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from session_repair.dates import DATE, KEPT_DATES
from session_repair.errors import BreakerTripped
from session_repair.kinds import format_duration
from session_repair.mongo.connection import server_time
from session_repair.mongo.store import Store
from session_repair.wording import number_of


@dataclass(frozen=True)
class Expiry:
    """A TTL index of the sessions: what has a date in its field of ``before`` that is deleted.

    One ``of_some`` sessions knows those that its filter lets pass, as a written one may only then.
    """

    name: str
    path: str
    age: timedelta
    before: datetime
    of_some: bool

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
            of_some = "partialFilterExpression" in index
            yield Expiry(index["name"], next(iter(index["key"])), age, now - age, of_some)


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
