"""Reading: the three ways to read what a survey is of: by a scan, by suspects, by a window.

Each tells how much there is to read, reads it, holds that against what the server counts, and knows
what it can say of the sessions that it does not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from pyspark.sql import DataFrame, Observation, SparkSession

from session_repair.mongo.census import (
    Census,
    require_all_rows,
    require_between,
    take_census,
    uncounted_census,
)
from session_repair.mongo.lookup import look_up_events, look_up_sessions, lookups_per_cursor
from session_repair.mongo.read import read_events, read_sessions
from session_repair.mongo.spellings import named_ids
from session_repair.mongo.store import Store
from session_repair.mongo.usual import usual_of_events, usual_of_sessions
from session_repair.mongo.window import ActiveWindow, count_active
from session_repair.repair.known import only_known, with_odd_ids
from session_repair.repair.report import Report
from session_repair.repair.summarize import passed
from session_repair.rules.diagnose import OF_ACTIVE, OF_ALL, OF_SUSPECTS, diagnose
from session_repair.rules.rebuild import rebuild, rebuild_looked_up
from session_repair.rules.usual_types import names_of
from session_repair.settings import LOOKUP, SCAN

if TYPE_CHECKING:
    from session_repair.repair.preflight import Preflight

Document = dict[str, Any]


class Reading(Protocol):
    """A way to read."""

    @property
    def reason(self) -> str:
        """Why it was chosen."""

    @property
    def strategy(self) -> str:
        """What a user calls it."""

    @property
    def window(self) -> ActiveWindow | None:
        """Only what is active in it is read."""

    @property
    def found_by(self) -> tuple[str, ...]:
        """The fields of the events by whose indexes they are found."""

    def censuses(self, store: Store, mark: datetime) -> tuple[Census, Census]:
        """Those of the sessions and of the events, as far as they are read."""

    def documents(self, sessions: Census, events: Census) -> int:
        """About how many documents are read."""

    def diagnosed(
        self, spark: SparkSession, store: Store, preflight: Preflight, read: Observation
    ) -> DataFrame:
        """One row per session that is read, and per session_id that only events name: DIAGNOSED."""

    def require_all_read(
        self, store: Store, preflight: Preflight, seen: Mapping[str, int], read: Observation
    ) -> None:
        """Raise IncompleteRead unless Spark saw as many documents as the server counts."""

    def known(self, report: Report, preflight: Preflight) -> Report:
        """The report, without what cannot be known of the sessions that were not read."""


@dataclass(frozen=True)
class Scan:
    """All of both collections; with ``--session-id``, what they hold of these."""

    reason: str
    strategy: str = SCAN
    window: None = None
    found_by: tuple[str, ...] = ()

    def censuses(self, store: Store, mark: datetime) -> tuple[Census, Census]:
        ids = store.settings.session_ids
        fields = (store.settings.session_fields, store.settings.event_fields)
        named = {"$in": named_ids(ids)}
        scopes = [{paths["session_id"]: named} if ids else {} for paths in fields]
        return (
            take_census(store.sessions, scopes[0], mark, usual_of_sessions(store), bool(ids)),
            take_census(store.events, scopes[1], mark, usual_of_events(store), bool(ids)),
        )

    def documents(self, sessions: Census, events: Census) -> int:
        return sessions.documents + events.documents

    def diagnosed(
        self, spark: SparkSession, store: Store, preflight: Preflight, read: Observation
    ) -> DataFrame:
        sessions = read_sessions(spark, store.settings, preflight.sessions, preflight.events)
        events = read_events(spark, store.settings, preflight.events)
        shape, usual = store.settings.shape, names_of(preflight.sessions.usual)
        rebuilt = rebuild(events, preflight.mark, preflight.horizon, shape)
        how = (preflight.now, store.settings.settle, OF_ALL, usual, shape)
        return diagnose(sessions, rebuilt, *how)

    def require_all_read(
        self, store: Store, preflight: Preflight, seen: Mapping[str, int], read: Observation
    ) -> None:
        require_all_rows(preflight.sessions, seen["old_sessions"])
        require_all_rows(preflight.events, seen["old_events"])

    def known(self, report: Report, preflight: Preflight) -> Report:
        return report


@dataclass(frozen=True)
class LookUp:
    """The suspects that a filter finds, the ``share`` of all sessions, and what belongs to them."""

    reason: str
    suspects: Document
    share: float
    empty: Mapping[str, int]  # how many sessions are; nothing where that is not asked for
    odd_ids: Mapping[str, int]  # by type, how many their session_id keeps from any look-up
    strategy: str = LOOKUP
    window: None = None
    found_by: tuple[str, ...] = ("session_id",)

    def censuses(self, store: Store, mark: datetime) -> tuple[Census, Census]:
        return (
            take_census(store.sessions, self.suspects, mark, usual_of_sessions(store)),
            uncounted_census(store.events, mark, usual_of_events(store)),
        )

    def documents(self, sessions: Census, events: Census) -> int:
        return ceil(self.share * (sessions.documents + events.documents))

    def diagnosed(
        self, spark: SparkSession, store: Store, preflight: Preflight, read: Observation
    ) -> DataFrame:
        number = ceil(self.share * preflight.sessions.documents)
        return looked_up(spark, store, preflight, read, number, OF_SUSPECTS)

    def require_all_read(
        self, store: Store, preflight: Preflight, seen: Mapping[str, int], read: Observation
    ) -> None:
        require_all_rows(preflight.sessions, passed(read)["old_sessions"])

    def known(self, report: Report, preflight: Preflight) -> Report:
        known = only_known(report, preflight.sessions.documents, self.empty)
        return with_odd_ids(known, self.odd_ids, {})


@dataclass(frozen=True)
class LookUpActive:
    """What is active in a window, each session of it whole."""

    window: ActiveWindow
    odd_sessions: Mapping[str, int]  # by type, how many their session_id keeps from any look-up
    odd_events: Mapping[str, int]
    strategy: str = LOOKUP
    found_by: tuple[str, ...] = ("session_id", "timestamp")

    @property
    def reason(self) -> str:
        return f"what is active from {self.window}"

    def censuses(self, store: Store, mark: datetime) -> tuple[Census, Census]:
        active = count_active(store, self.window)
        sessions = uncounted_census(store.sessions, mark, usual_of_sessions(store))
        events = uncounted_census(store.events, mark, usual_of_events(store))
        theirs = ceil(events.documents * active / max(sessions.documents, 1))
        scopes = self.window.sessions(store.settings), self.window.events(store.settings)
        return (
            replace(sessions, scope=scopes[0], documents=active, checked=active),
            replace(events, scope=scopes[1], documents=theirs),
        )

    def documents(self, sessions: Census, events: Census) -> int:
        return sessions.documents + events.documents

    def diagnosed(
        self, spark: SparkSession, store: Store, preflight: Preflight, read: Observation
    ) -> DataFrame:
        return looked_up(spark, store, preflight, read, preflight.sessions.documents, OF_ACTIVE)

    def require_all_read(
        self, store: Store, preflight: Preflight, seen: Mapping[str, int], read: Observation
    ) -> None:
        rows, checked = passed(read)["old_sessions"], preflight.sessions.checked
        if rows != checked:
            after = count_active(store, self.window)
            what = f"session ids that are active from {self.window}"
            require_between(rows, checked, after, what)

    def known(self, report: Report, preflight: Preflight) -> Report:
        return with_odd_ids(report, self.odd_sessions, self.odd_events)


def looked_up(
    spark: SparkSession,
    store: Store,
    preflight: Preflight,
    read: Observation,
    number: int,
    found_in: str,
) -> DataFrame:
    """What belongs to so many sessions, looked up by the indexes on their session ids."""
    suspects, window = preflight.sessions, preflight.reading.window
    lookups = lookups_per_cursor(spark, suspects, number)
    of_events, settings = preflight.events, store.settings
    sessions = look_up_sessions(spark, settings, suspects, lookups, window, of_events, read)
    events = look_up_events(spark, settings, suspects, lookups, window, of_events)
    shape, usual = settings.shape, names_of(suspects.usual)
    rebuilt = rebuild_looked_up(events, preflight.mark, preflight.horizon, shape)
    how = (preflight.now, settings.settle, found_in, usual, shape)
    return diagnose(sessions, rebuilt, *how)
