"""Survey: the part of the flow that verify and fix share, from the census to what is found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReadPreference
from pymongo.database import Database
from pyspark.sql import DataFrame, SparkSession

from session_repair.errors import Refused
from session_repair.mongo.bson_types import EVENT_TYPES, PLAIN_EVENT_TYPES, SESSION_TYPES
from session_repair.mongo.collections import Census, require_all_rows, take_census
from session_repair.mongo.connection import server_time
from session_repair.mongo.read import read_events, read_sessions
from session_repair.mongo.throttle import replication_lag
from session_repair.repair.report import OddType, Report
from session_repair.repair.summarize import (
    sample_corrections,
    summarize_days,
    summarize_symptoms,
    summarize_totals,
)
from session_repair.reporting.folders import require_writable
from session_repair.rules.confirm import confirm
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import CLOCK_ERROR, diagnose
from session_repair.rules.rebuild import rebuild
from session_repair.settings import Settings, describe, format_duration

Document = dict[str, Any]


@dataclass(frozen=True)
class Preflight:
    """What the server said before Spark was asked to read anything."""

    now: datetime
    mark: datetime
    sessions: Census
    events: Census

    @property
    def documents(self) -> int:
        return self.sessions.documents + self.events.documents

    @property
    def malformed(self) -> tuple[OddType, ...]:
        """The types of fields that make a document malformed."""
        of_events = [it for it in self.events.odd if it.type not in EVENT_TYPES[it.field]]
        return (*self.sessions.odd, *of_events)


@dataclass(frozen=True)
class Survey:
    """The corrected frame, kept by Spark, and the report on it."""

    corrected: DataFrame
    report: Report


def preflight(database: Database[Document], settings: Settings) -> Preflight:
    """Census of both collections by the server's clock. Raises Refused when one is missing."""
    refuse_stale_reads(database, settings)
    now = server_time(database)
    # Documents younger than this may still be arriving, and the sessions of such are deferred.
    mark = (now - settings.settle).replace(microsecond=0)
    ids = settings.session_ids
    return Preflight(
        now=now,
        mark=mark,
        sessions=take_census(
            database, settings.sessions, settings.session_fields, SESSION_TYPES, ids, mark
        ),
        events=take_census(
            database, settings.events, settings.event_fields, PLAIN_EVENT_TYPES, ids, mark
        ),
    )


def refuse_stale_reads(database: Database[Document], settings: Settings) -> None:
    """Raise Refused when Spark would read from a secondary that lags by more than ``--settle``."""
    if database.client.read_preference == ReadPreference.PRIMARY:
        return
    lag = replication_lag(database)
    if lag > settings.settle:
        raise Refused(
            f"the connection string allows reads from a secondary, and one lags by {lag}, more "
            f"than --settle {format_duration(settings.settle)}. Read from the primary."
        )


def survey(
    spark: SparkSession,
    database: Database[Document],
    settings: Settings,
    flight: Preflight,
    verb: str,
    run_id: str,
    earlier: DataFrame | None = None,
) -> Survey:
    """Read both collections and find what does not match. Raises IncompleteRead on lost rows.

    With an ``earlier`` corrected frame, only what it would have done alike is to be done.
    """
    if settings.report:
        require_writable(spark, settings.report)
    sessions = read_sessions(spark, settings, flight.sessions)
    events = read_events(spark, settings, flight.events)
    rebuilt = rebuild(events, flight.mark, flight.now + CLOCK_ERROR)
    corrected = diagnose(sessions, rebuilt, flight.now, settings.settle).transform(
        correct, settings.scope, settings.allow_shrink, settings.since, settings.until
    )
    if earlier is not None:
        corrected = corrected.transform(confirm, earlier)
    corrected.persist()
    totals, checked = summarize_totals(corrected, flight.mark)
    require_all_rows(database, flight.sessions, checked["sessions"])
    require_all_rows(database, flight.events, checked["events"])
    report = Report(
        verb=verb,
        run_id=run_id,
        server_time=flight.now,
        settings=describe(settings),
        totals=totals,
        symptoms=summarize_symptoms(corrected),
        corrections=sample_corrections(corrected),
        malformed=flight.malformed,
        days=summarize_days(corrected),
    )
    return Survey(corrected, report)
