"""Survey: the part of the flow that verify and fix share, from the census to what is found."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from operator import itemgetter

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from session_repair.aggregates import Shape
from session_repair.mongo.bson_types import (
    EVENT_TYPES,
    ID_TYPES,
    NULL_OR_MISSING,
    SESSION_TYPES,
    allowed_types,
    types_of,
)
from session_repair.mongo.census import odd_documents
from session_repair.mongo.spellings import ids_without_session
from session_repair.mongo.store import Store
from session_repair.repair.preflight import Preflight
from session_repair.repair.report import OddType, Report
from session_repair.repair.samples import sample_corrections, sample_findings
from session_repair.repair.spelled import spelled_otherwise
from session_repair.repair.summarize import (
    EVENT,
    SESSION,
    count_findings,
    count_odd_types,
    observed,
    passed,
    symptoms_of,
    totals_of,
)
from session_repair.repair.watching import Keep, nowhere, reading
from session_repair.rules.confirm import confirm
from session_repair.rules.correct import correct
from session_repair.rules.usual_types import NO_UTF8
from session_repair.settings import SCAN, Settings, describe
from session_repair.symptoms import MALFORMED, ORPHAN_EVENTS
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import number_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """The corrected rows of what has a finding, kept by Spark, and the report on all there is."""

    corrected: DataFrame
    report: Report
    kept: DataFrame  # what the corrected rows are read from

    def release(self) -> None:
        """Give back the memory of the rows."""
        self.kept.unpersist()


def survey(
    spark: SparkSession,
    store: Store,
    preflight: Preflight,
    verb: str,
    run_id: str,
    earlier: DataFrame | None = None,
    keep: Keep = nowhere,
) -> Survey:
    """Read both collections and find what does not match. Raises IncompleteRead on lost rows.

    With an ``earlier`` corrected frame, only what it would have done alike is to be done. How far
    it is is told to ``keep``.
    """
    what = "Reading" if earlier is None else "Reading again"
    with reading(spark, preflight.documents, keep, what):
        return surveyed(spark, store, preflight, verb, run_id, earlier)


def surveyed(
    spark: SparkSession,
    store: Store,
    preflight: Preflight,
    verb: str,
    run_id: str,
    earlier: DataFrame | None,
) -> Survey:
    """What ``survey`` finds."""
    log.info("reading about %d documents by %s", preflight.documents, preflight.reading.strategy)
    passing, read, shape = Observation(), Observation(), store.settings.shape
    most = store.settings.samples
    corrected = (
        preflight.reading.diagnosed(spark, store, preflight, read)
        .transform(observed, passing, preflight.mark, shape)
        .where(F.size("symptoms") > 0)
        .transform(correct, *correcting(store.settings))
    )
    if earlier is not None:
        corrected = corrected.transform(confirm, earlier)
    kept = corrected.persist()
    found, way = count_findings(kept, shape), preflight.reading
    is_sound = not any(found.by_code[code]["found"] for code in (MALFORMED, ORPHAN_EVENTS))
    kept_types = types_of(store.settings.session_fields, SESSION_TYPES)
    allowed = allowed_types({**kept_types, **ID_TYPES}, shape.dates)
    odd = {} if is_sound else count_odd_types(kept, allowed, shape)
    if not preflight.asks_of_marks and any(kind == NO_UTF8 for *_, kind in odd):
        log.info("text is shown with U+FFFD: reading again, for the server to tell what it holds")
        kept.unpersist()
        return surveyed(spark, store, preflight.asking_of_marks(), verb, run_id, earlier)
    seen = passed(passing)
    way.require_all_read(store, preflight, seen, read)
    log.info(
        "read %s and %s",
        *(number_of(seen[f"{name}s"], name) for name in ("session", "event")),
    )
    report = Report(
        verb=verb,
        run_id=run_id,
        server_time=preflight.now,
        settings=describe(store.settings),
        totals=totals_of(seen, found),
        symptoms=symptoms_of(found, sample_findings(kept, shape, most)),
        corrections=sample_corrections(kept, shape, most),
        malformed=odd_types(store, preflight, odd),
        days=found.days,
        strategy=way.strategy,
        window=asdict(way.window) if way.window else None,
        missing=ids_without_session(store),
    )
    if verb != DELETE_ORPHANS:  # which asks of those that it would delete
        spelled = spelled_otherwise(store, kept, seen, way.strategy == SCAN)
        report = replace(report, kept=spelled)
    return Survey(kept, way.known(report, preflight), kept)


def correcting(settings: Settings) -> tuple[str, bool, tuple[str, ...], Shape]:
    """What is to be corrected, and how."""
    return settings.scope, settings.allow_shrink, settings.only, settings.shape


def odd_types(
    store: Store, preflight: Preflight, counted: Mapping[tuple[str, str, str], int]
) -> tuple[OddType, ...]:
    """The types that make documents malformed, as the read counted them."""
    odd: list[OddType] = []
    settings, shape, declared = store.settings, store.settings.shape, store.settings.aggregates
    of_sessions = {**settings.written_fields, "_id": "_id"}
    of_events = {**settings.event_fields, **{it.name: it.of for it in declared if it.of}}
    held = {it.name: (*it.holds, *NULL_OR_MISSING) for it in declared if not it.is_list}
    said = {it.name: (*it.reads, *NULL_OR_MISSING) for it in declared}
    in_sessions, in_events = {**SESSION_TYPES, **held}, {**EVENT_TYPES, **said}
    named = {SESSION: shape.in_sessions, EVENT: shape.in_events}
    for document, census, paths, types, dates in (
        (SESSION, preflight.sessions, of_sessions, in_sessions, settings.session_dates),
        (EVENT, preflight.events, of_events, in_events, settings.event_dates),
    ):
        of_these = {key[1:]: number for key, number in counted.items() if key[0] == document}
        if not of_these:
            continue
        collection = census.collection
        allowed = allowed_types(types, dates)
        known = [it for it in of_these if it[0] in paths and it[0] in allowed]
        samples = odd_documents(collection, paths, allowed, known, census.scope, dates)
        told: dict[tuple[str, str], OddType] = {}
        # What several read is told once, as the one that met most of it.
        for (field, kind), number in sorted(of_these.items(), key=itemgetter(1)):
            path = named[document](field)
            some = samples.get((field, kind), ())
            told[path, kind] = OddType(collection.name, path, kind, number, some)
        odd += [told[it] for it in sorted(told)]
    return tuple(odd)
