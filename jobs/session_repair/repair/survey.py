"""Survey: the part of the flow that verify and fix share, from the census to what is found."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from math import ceil
from typing import Any

from pymongo import ReadPreference
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from session_repair.errors import Refused
from session_repair.kinds import format_duration
from session_repair.mongo.bson_types import EVENT_TYPES, SESSION_TYPES
from session_repair.mongo.census import (
    Census,
    odd_documents,
    refuse_unreadable,
    require_all_rows,
    require_between,
    take_census,
    uncounted_census,
)
from session_repair.mongo.connection import server_time
from session_repair.mongo.lookup import look_up_events, look_up_sessions, lookups_per_cursor
from session_repair.mongo.pace import LagUnseen, replication_lag
from session_repair.mongo.read import read_events, read_sessions
from session_repair.mongo.spellings import spellings
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow, count_active
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
from session_repair.repair.watermark import window_of
from session_repair.rules.confirm import confirm
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import CLOCK_ERROR, OF_ACTIVE, OF_ALL, OF_SUSPECTS, diagnose
from session_repair.rules.rebuild import rebuild, rebuild_looked_up
from session_repair.settings import Settings, describe
from session_repair.wording import number_of

log = logging.getLogger(__name__)

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


def preflight(
    store: Store,
    verb: str,
    window: ActiveWindow | None = None,
) -> Preflight:
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
    choice = choose(store, verb, window or window_of(store, now))
    sessions, events = censuses(store, choice, mark)
    return Preflight(now, mark, choice, sessions, events)


def censuses(store: Store, choice: Choice, mark: datetime) -> tuple[Census, Census]:
    """Those of the sessions and of the events, as far as they are read."""
    if choice.window is not None:
        active = count_active(store, choice.window)
        sessions = uncounted_census(store.sessions, mark)
        events = uncounted_census(store.events, mark)
        theirs = ceil(events.documents * active / max(sessions.documents, 1))
        return (
            replace(
                sessions,
                scope=choice.window.sessions(store.settings),
                documents=active,
                checked=active,
            ),
            replace(events, scope=choice.window.events(store.settings), documents=theirs),
        )
    if choice.suspects is not None:
        return (
            take_census(store.sessions, choice.suspects, mark),
            uncounted_census(store.events, mark),
        )
    is_of_few = bool(store.settings.session_ids)
    of_sessions = scope_of(store.settings, store.settings.session_fields)
    of_events = scope_of(store.settings, store.settings.event_fields)
    return (
        take_census(store.sessions, of_sessions, mark, is_of_few),
        take_census(store.events, of_events, mark, is_of_few),
    )


def scope_of(settings: Settings, paths: Mapping[str, str]) -> Document:
    """The filter of ``--session-id``; empty without."""
    ids = settings.session_ids
    return {paths["session_id"]: {"$in": spellings(ids)}} if ids else {}


def refuse_stale_reads(store: Store) -> None:
    """Raise Refused when Spark would read from a secondary that lags by more than ``--settle``.

    Or may do so, where the lag cannot be seen.
    """
    if store.client.read_preference == ReadPreference.PRIMARY:
        return
    allowed = "the connection string allows reads from a secondary"
    try:
        lag = replication_lag(store)
    except LagUnseen as error:
        raise Refused(f"{allowed}. {error} Read from the primary.") from None
    if lag > store.settings.settle:
        raise Refused(
            f"{allowed}, and one lags by {lag}, more than --settle "
            f"{format_duration(store.settings.settle)}. Read from the primary."
        )


def survey(
    spark: SparkSession,
    store: Store,
    flight: Preflight,
    verb: str,
    run_id: str,
    earlier: DataFrame | None = None,
) -> Survey:
    """Read both collections and find what does not match. Raises IncompleteRead on lost rows.

    With an ``earlier`` corrected frame, only what it would have done alike is to be done.
    """
    log.info("reading about %d documents by %s", flight.documents, flight.choice.strategy)
    passing, read = Observation(), Observation()
    corrected = (
        diagnosed(spark, store.settings, flight, read)
        .transform(observed, passing, flight.mark)
        .where(F.size("symptoms") > 0)
        .transform(correct, store.settings.scope, store.settings.allow_shrink, store.settings.only)
    )
    if earlier is not None:
        corrected = corrected.transform(confirm, earlier)
    kept = corrected.persist()
    found, is_of_suspects = count_findings(kept), flight.choice.suspects is not None
    seen = passed(passing)
    require_all_read(store, flight, seen, read)
    log.info(
        "read %s and %s",
        *(number_of(seen[f"{name}s"], name) for name in ("session", "event")),
    )
    report = Report(
        verb=verb,
        run_id=run_id,
        server_time=flight.now,
        settings=describe(store.settings),
        totals=totals_of(seen, found),
        symptoms=symptoms_of(found, sample_findings(kept)),
        corrections=sample_corrections(kept),
        malformed=() if is_of_suspects else odd_types(store, flight, kept, found),
        days=found.days,
        strategy=flight.choice.strategy,
        window=asdict(flight.choice.window) if flight.choice.window else None,
    )
    if is_of_suspects:
        report = only_known(report, flight.sessions.documents)
    return Survey(kept, report, kept)


def diagnosed(
    spark: SparkSession, settings: Settings, flight: Preflight, read: Observation
) -> DataFrame:
    """One row per session that is read, and per session_id that only events name: DIAGNOSED."""
    choice, suspects = flight.choice, flight.sessions
    if choice.window is not None or choice.suspects is not None:
        number = ceil(choice.share * suspects.documents)
        lookups = lookups_per_cursor(spark, suspects, number)
        sessions = look_up_sessions(spark, settings, suspects, lookups, choice.window, read)
        events = look_up_events(spark, settings, suspects, lookups, choice.window, flight.events)
        rebuilt = rebuild_looked_up(events, flight.mark, flight.horizon)
        found_in = OF_SUSPECTS if choice.window is None else OF_ACTIVE
    else:
        sessions = read_sessions(spark, settings, suspects)
        events = read_events(spark, settings, flight.events)
        rebuilt, found_in = rebuild(events, flight.mark, flight.horizon), OF_ALL
    return diagnose(sessions, rebuilt, flight.now, settings.settle, found_in)


def require_all_read(
    store: Store,
    flight: Preflight,
    seen: Mapping[str, int],
    looked_up: Observation,
) -> None:
    """Raise IncompleteRead unless Spark saw as many documents as the server counts."""
    choice, sessions = flight.choice, flight.sessions
    if choice.window is not None:
        rows = passed(looked_up)["old_sessions"]
        if rows != sessions.checked:
            after = count_active(store, choice.window)
            what = f"session ids that are active from {choice.window}"
            require_between(rows, sessions.checked, after, what)
    elif choice.suspects is not None:
        require_all_rows(sessions, passed(looked_up)["old_sessions"])
    else:
        require_all_rows(sessions, seen["old_sessions"])
        require_all_rows(flight.events, seen["old_events"])


def odd_types(
    store: Store,
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
        (SESSION, flight.sessions, store.settings.session_fields, SESSION_TYPES),
        (EVENT, flight.events, store.settings.event_fields, EVENT_TYPES),
    ):
        of_these = {key[1:]: number for key, number in counted.items() if key[0] == document}
        if not of_these:
            continue
        fields = {field for field, _ in of_these}
        collection = census.collection
        samples = odd_documents(collection, paths, allowed, fields, census.scope)
        odd += [
            OddType(collection.name, field, kind, number, samples.get((field, kind), ()))
            for (field, kind), number in sorted(of_these.items())
        ]
    return tuple(odd)
