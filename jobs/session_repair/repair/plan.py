"""Plan: survey the collections, decide what is to be done, and freeze it in the journal."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from session_repair.mongo.runs import PLANNED, STOPPED, Run
from session_repair.mongo.store import Store
from session_repair.repair.bounds import beyond, stopped
from session_repair.repair.breakers import require_few_malformed
from session_repair.repair.expiring import count_met, count_written
from session_repair.repair.expiry import Expiry, require_lasting
from session_repair.repair.journal import (
    Plan,
    drop_other_attempts,
    plan_digest,
    write_journal,
)
from session_repair.repair.judged import count_judged
from session_repair.repair.preflight import Preflight, take_preflight
from session_repair.repair.spelled import kept_sessions, named_by_events
from session_repair.repair.survey import Survey, survey
from session_repair.repair.watching import Keep, nowhere, waiting_to_look_again, working
from session_repair.rules.deletable import copies, orphans
from session_repair.rules.journal_rows import PlanRows, deletion_rows, journal_rows
from session_repair.rules.usual_types import names_of
from session_repair.symptoms import DUPLICATE, ORPHAN
from session_repair.verbs import DELETE_ORPHANS, FIX
from session_repair.wording import number_of

log = logging.getLogger(__name__)


def survey_corrections(
    spark: SparkSession,
    store: Store,
    preflight: Preflight,
    run_id: str,
    keep: Keep = nowhere,
) -> Survey:
    """What is to be corrected; with ``--confirm-delay``, what two surveys both say."""
    found = survey(spark, store, preflight, FIX, run_id, keep=keep)
    if store.settings.confirm_delay:
        with waiting_to_look_again(store.settings.confirm_delay, keep):
            time.sleep(store.settings.confirm_delay.total_seconds())
        # The same window, were it one of an age: what only one of them holds would be deferred.
        again, earlier = take_preflight(store, FIX, preflight.reading.window), found
        found = survey(spark, store, again, FIX, run_id, earlier.corrected, keep)
        earlier.release()

    def expiring(expiry: Expiry) -> int:
        if not expiry.filter:
            return count_written(found.corrected, store, expiry)
        usual, shape = names_of(preflight.sessions.usual), store.settings.shape
        common = PlanRows(run_id, "", preflight.now, usual, shape)
        return count_met(journal_rows(found.corrected, common), store, expiry)

    require_lasting(store, expiring, "written")
    return found


def survey_deletions(
    spark: SparkSession,
    store: Store,
    preflight: Preflight,
    run_id: str,
    keep: Keep = nowhere,
) -> Survey:
    """The orphan sessions, or with ``--duplicates`` the empty copies, that are to be deleted.

    In the report the samples of that finding are those to be deleted, and some of each reason.
    """
    found = survey(spark, store, preflight, DELETE_ORPHANS, run_id, keep=keep)
    code, judge = (DUPLICATE, copies) if store.settings.duplicates else (ORPHAN, orphans)
    judged = judge(found.corrected, preflight.now, store.settings.min_age, store.settings.shape)
    deletable, left = judged.where("kept_for IS NULL"), judged.where("kept_for IS NOT NULL")
    kept = named_by_events(store, deletable, but_own=store.settings.duplicates)
    deletable = deletable.transform(without, list(kept))
    seen = count_judged(deletable.unionByName(left), store.settings.samples)
    totals = replace(found.report.totals, planned=seen.counts.get(None, 0))
    reasons = {reason: count for reason, count in seen.counts.items() if reason}
    symptoms = [
        replace(it, left=reasons, samples=seen.samples) if it.code == code else it
        for it in found.report.symptoms
    ]
    report = replace(found.report, totals=totals, symptoms=tuple(symptoms), corrections=())
    report = replace(report, kept=kept_sessions(kept.values()), deletions=seen.deletions)
    return replace(found, corrected=deletable, report=report)


def without(sessions: DataFrame, session_ids: list[str]) -> DataFrame:
    """The rows of all other sessions."""
    if not session_ids:
        return sessions
    named = F.from_json(F.lit(json.dumps(session_ids)), "array<string>")
    others = sessions.sparkSession.range(1).select(F.explode(named).alias("session_id"))
    return sessions.join(others, "session_id", "left_anti")


# By verb, what is to be done, and how that becomes journal rows.
PLANNERS = {
    FIX: (survey_corrections, journal_rows),
    DELETE_ORPHANS: (survey_deletions, deletion_rows),
}


def plan_run(
    spark: SparkSession,
    store: Store,
    preflight: Preflight,
    run: Run,
) -> Survey:
    """Survey, then freeze the plan in the journal: whole, or the run stays in ``planning``.

    Raises BreakerTripped where it is larger than its limit: then it is kept, and never applied
    unless that is raised.
    """
    verb = run.read()["verb"]
    look, rows_of = PLANNERS[verb]
    plan = Plan(run.run_id, run.plan_anew())
    if preflight.reading.window is not None:
        run.record(window=asdict(preflight.reading.window))  # one to plan anew, not a later one
    found = look(spark, store, preflight, run.run_id, run.note)
    found = replace(found, report=replace(found.report, is_frozen=True))
    require_few_malformed(found.report)
    expires_at = preflight.now + store.settings.journal_ttl
    usual, shape = names_of(preflight.sessions.usual), store.settings.shape
    rows = rows_of(found.corrected, PlanRows(plan.run_id, plan.prefix, expires_at, usual, shape))
    with working(spark, "Writing the plan"):
        write_journal(rows, store)
    drop_other_attempts(store, plan)
    planned = found.report.totals.planned
    digest = plan_digest(store, plan, planned)
    told = beyond(found.report, store.settings)
    run.planned(planned, digest, asdict(found.report), STOPPED if told else PLANNED)
    log.info("sealed a plan of %s, SHA-256 %s", number_of(planned, "row"), digest)
    if told:
        raise stopped(run, verb, told, planned)
    return found
