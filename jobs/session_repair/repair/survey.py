"""Survey: the part of the flow that verify and fix share, from the census to what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from pymongo import ReadPreference
from pymongo.database import Database
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from session_repair.errors import Refused
from session_repair.mongo.bson_types import EVENT_TYPES, SESSION_TYPES, spellings
from session_repair.mongo.collections import (
    Census,
    odd_documents,
    refuse_unreadable,
    require_all_rows,
    take_census,
    uncounted_census,
)
from session_repair.mongo.connection import server_time
from session_repair.mongo.lookup import look_up_events, look_up_sessions
from session_repair.mongo.read import read_events, read_sessions
from session_repair.mongo.throttle import replication_lag
from session_repair.repair.report import OddType, Report
from session_repair.repair.strategy import Choice, choose
from session_repair.repair.summarize import (
    EVENT,
    SESSION,
    Found,
    count_findings,
    count_odd_types,
    observed,
    only_known,
    passed,
    sample_corrections,
    sample_findings,
    symptoms_of,
    totals_of,
)
from session_repair.rules.confirm import confirm
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import CLOCK_ERROR, diagnose
from session_repair.rules.rebuild import rebuild, rebuild_looked_up
from session_repair.settings import Settings, describe, format_duration

Document = dict[str, Any]


@dataclass(frozen=True)
class Preflight:
    """What the server said before Spark was asked to read anything."""

    now: datetime
    mark: datetime
    choice: Choice
    sessions: Census
    events: Census

    @property
    def documents(self) -> int:
        """About how many documents are read."""
        return ceil(self.choice.share * (self.sessions.documents + self.events.documents))

    @property
    def horizon(self) -> datetime:
        """What claims to be later is the error of a clock."""
        return self.now + CLOCK_ERROR


@dataclass(frozen=True)
class Survey:
    """The corrected rows of what has a finding, kept by Spark, and the report on all there is."""

    corrected: DataFrame
    report: Report
    kept: DataFrame  # what the corrected rows are read from

    def release(self) -> None:
        """Give back the memory of the rows."""
        self.kept.unpersist()


def preflight(database: Database[Document], settings: Settings, verb: str) -> Preflight:
    """How to read, and a census of both collections by the server's clock.

    Raises Refused when one of them is missing, or cannot be read as asked for.
    """
    refuse_stale_reads(database, settings)
    for name in (settings.sessions, settings.events):
        refuse_unreadable(database, name)
    now = server_time(database)
    # Documents younger than this may still be arriving, and the sessions of such are deferred.
    mark = (now - settings.settle).replace(microsecond=0)
    choice, is_of_few = choose(database, settings, verb), bool(settings.session_ids)
    if choice.suspects is not None:
        sessions = take_census(database, settings.sessions, choice.suspects, mark)
        return Preflight(
            now, mark, choice, sessions, uncounted_census(database, settings.events, mark)
        )
    of_sessions = scope_of(settings, settings.session_fields)
    of_events = scope_of(settings, settings.event_fields)
    return Preflight(
        now=now,
        mark=mark,
        choice=choice,
        sessions=take_census(database, settings.sessions, of_sessions, mark, is_of_few),
        events=take_census(database, settings.events, of_events, mark, is_of_few),
    )


def scope_of(settings: Settings, paths: Mapping[str, str]) -> Document:
    """The filter of ``--session-id``; empty without."""
    ids = settings.session_ids
    return {paths["session_id"]: {"$in": spellings(ids)}} if ids else {}


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
    passing, read = Observation(), Observation()
    corrected = (
        diagnosed(spark, settings, flight, read)
        .transform(observed, passing, flight.mark)
        .where(F.size("findings") > 0)
        .transform(correct, settings.scope, settings.allow_shrink, settings.since, settings.until)
    )
    if earlier is not None:
        corrected = corrected.transform(confirm, earlier)
    kept = corrected.persist()
    found, is_lookup = count_findings(kept), flight.choice.suspects is not None
    seen = passed(passing)
    require_all_rows(
        database,
        flight.sessions,
        passed(read)["old_sessions"] if is_lookup else seen["old_sessions"],
    )
    if not is_lookup:
        require_all_rows(database, flight.events, seen["old_events"])
    report = Report(
        verb=verb,
        run_id=run_id,
        server_time=flight.now,
        settings=describe(settings),
        totals=totals_of(seen, found),
        symptoms=symptoms_of(found, sample_findings(kept)),
        corrections=sample_corrections(kept),
        malformed=() if is_lookup else odd_types(database, settings, flight, kept, found),
        days=found.days,
        strategy=flight.choice.strategy,
    )
    report = only_known(report, flight.sessions.documents) if is_lookup else report
    return Survey(kept, report, kept)


def diagnosed(
    spark: SparkSession, settings: Settings, flight: Preflight, read: Observation
) -> DataFrame:
    """One row per session that is read, and per session_id that only events name: DIAGNOSED."""
    is_lookup = flight.choice.suspects is not None
    if is_lookup:
        sessions = look_up_sessions(spark, settings, flight.sessions, read)
        events = look_up_events(spark, settings, flight.sessions, flight.events)
        rebuilt = rebuild_looked_up(events, flight.mark, flight.horizon)
    else:
        sessions = read_sessions(spark, settings, flight.sessions)
        events = read_events(spark, settings, flight.events)
        rebuilt = rebuild(events, flight.mark, flight.horizon)
    return diagnose(sessions, rebuilt, flight.now, settings.settle, is_all=not is_lookup)


def odd_types(
    database: Database[Document],
    settings: Settings,
    flight: Preflight,
    kept: DataFrame,
    found: Found,
) -> tuple[OddType, ...]:
    """The types that make documents malformed, as the read counted them; asked of no sound data."""
    if not found.by_code["malformed"]["found"]:
        return ()
    counted = count_odd_types(kept, SESSION_TYPES)
    odd: list[OddType] = []
    for document, census, paths, allowed in (
        (SESSION, flight.sessions, settings.session_fields, SESSION_TYPES),
        (EVENT, flight.events, settings.event_fields, EVENT_TYPES),
    ):
        of_these = {key[1:]: number for key, number in counted.items() if key[0] == document}
        if not of_these:
            continue
        fields = {field for field, _ in of_these}
        name = census.collection
        samples = odd_documents(database, name, paths, allowed, fields, census.scope)
        odd += [
            OddType(name, field, kind, number, samples.get((field, kind), ()))
            for (field, kind), number in sorted(of_these.items())
        ]
    return tuple(odd)
