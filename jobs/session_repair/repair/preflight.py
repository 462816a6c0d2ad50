"""Preflight: what the server is asked, and what is refused, before Spark reads anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pymongo import ReadPreference

from session_repair.errors import Refused
from session_repair.kinds import format_duration, show_duration
from session_repair.mongo.census import Census, refuse_unreadable
from session_repair.mongo.connection import hello_of, server_time
from session_repair.mongo.pace import LagUnseen, replication_lag
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow
from session_repair.repair.breakers import (
    require_events,
    require_fields,
    require_ids_alike,
    require_matches,
    require_types,
)
from session_repair.repair.reading import Reading
from session_repair.repair.strategy import choose
from session_repair.repair.watermark import window_of
from session_repair.rules.diagnose import CLOCK_ERROR
from session_repair.settings import SCAN, Settings
from session_repair.verbs import FIX, VERIFY

NO_FIELD = "session_repair.nowhere"  # that any index has


@dataclass(frozen=True)
class Preflight:
    """What the server said before Spark was asked to read anything."""

    now: datetime
    mark: datetime  # what was made before it no longer appears: the settle window ago
    reading: Reading
    sessions: Census
    events: Census

    def __str__(self) -> str:
        return f"Strategy {self.reading.strategy}: {self.reading.reason}"

    @property
    def documents(self) -> int:
        """About how many documents are read."""
        return self.reading.documents(self.sessions, self.events)

    @property
    def asks_of_marks(self) -> bool:
        """Whether the server is to tell what text holds that was shown with a MARK."""
        return self.sessions.shows_marks

    def asking_of_marks(self) -> Preflight:
        sessions, events = (replace(it, shows_marks=True) for it in (self.sessions, self.events))
        return replace(self, sessions=sessions, events=events)

    @property
    def horizon(self) -> datetime:
        """What claims to be later is the error of a clock."""
        return self.now + CLOCK_ERROR


def before_plan(
    store: Store,
    verb: str,
    window: ActiveWindow | None = None,
) -> Preflight:
    """What the server says before there is a plan, or findings that one could be made of.

    The ``window`` is of a plan that is made anew.

    Raises BreakerTripped, before Spark is waited for, where the data look wrong as a whole.
    """
    if verb == FIX:
        require_time_to_confirm(store.settings)
    preflight = take_preflight(store, verb, window)
    if verb != VERIFY:
        require_events(store)
    require_fields(store, verb)
    require_matches(store)
    require_types(store, preflight.reading.found_by)
    require_ids_alike(
        store, preflight.sessions.usual["session_id"][0], preflight.events.usual["session_id"][0]
    )
    return preflight


def require_time_to_confirm(settings: Settings) -> None:
    """Raise Refused where the second look would come after the time limit."""
    delay, limit = settings.confirm_delay, settings.max_time
    if limit is not None and timedelta(0) < limit <= delay:
        raise Refused(
            f"confirm_delay {format_duration(delay)} leaves nothing of max_time "
            f"{format_duration(limit)}. Write a shorter one, or allow more time."
        )


def take_preflight(store: Store, verb: str, window: ActiveWindow | None = None) -> Preflight:
    """How to read, and a census of both collections by the server's clock.

    The ``window`` is that of a run that is planned anew; else the settings name it. Raises Refused
    when a collection is missing, or cannot be read as asked for.
    """
    refuse_stale_reads(store)
    for collection in (store.sessions, store.events):
        refuse_unreadable(collection)
    now = server_time(store)
    # Documents younger than this may still be arriving, and the sessions of such are deferred.
    mark = (now - store.settings.settle).replace(microsecond=0)
    reading = choose(store, verb, window or window_of(store, now))
    if reading.strategy == SCAN:
        require_scans(store)
    return Preflight(now, mark, reading, *reading.censuses(store, mark))


def require_scans(store: Store) -> None:
    """Raise Refused where the server plans none, as for a field that no index has."""
    query = {"find": store.settings.sessions, "filter": {NO_FIELD: None}}
    store.database.command({"explain": query, "verbosity": "queryPlanner"})


def refuse_stale_reads(store: Store) -> None:
    """Raise Refused when Spark would read from a secondary that lags by more than ``--settle``.

    Or may do so, where the lag cannot be seen. A secondary that is connected to directly answers
    whoever would read from the primary.
    """
    is_of_primary = store.client.read_preference == ReadPreference.PRIMARY
    if is_of_primary and not hello_of(store).get("secondary"):
        return
    allowed = "the connection string allows reads from a secondary"
    try:
        lag = replication_lag(store)
    except LagUnseen as error:
        raise Refused(f"{allowed}. {error} Read from the primary.") from None
    if lag > store.settings.settle:
        raise Refused(
            f"{allowed}, and one lags by {show_duration(lag)}, more than --settle "
            f"{format_duration(store.settings.settle)}. Read from the primary."
        )
