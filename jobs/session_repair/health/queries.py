"""Health: what is known of the sessions without reading them, as one small answer.

A few bounded queries that no index is missing for: the counts that MongoDB keeps itself, the
latest run documents, the lease. What only a run can count stands there with its age.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pymongo
from pymongo.errors import ExecutionTimeout, PyMongoError

from session_repair.errors import Exit, RepairError, Unreachable
from session_repair.health.model import UNKNOWN_COUNT, AtWork, Count, Health, HeldLease, LastRun
from session_repair.kinds import format_duration
from session_repair.mongo.census import empty_sessions
from session_repair.mongo.connection import clear_errors, server_time
from session_repair.mongo.lease import LEASE_ID, LEASE_TIME, LONG_AGO
from session_repair.mongo.rights import FOR_HEALTH, require_rights
from session_repair.mongo.runs import DONE, PLANNED, PLANNING, UNDOING, UNDONE, is_partial
from session_repair.mongo.store import Store
from session_repair.repair.outcomes import ALREADY_RIGHT, APPLIED, RESTORED, SKIPPED_GONE
from session_repair.settings import LAST_SUCCESS, PARTIAL, Settings
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import either, number_of

Document = dict[str, Any]

MAX_AGE = timedelta(hours=26)  # a run every night, and some hours for it to begin late and take
LATEST_RUNS = 20  # documents to look at: those that failed have counted nothing
SEEN = (  # of a run document; the report holds samples too, which nobody asks for here
    *("verb", "state", "verdict", "error", "undo", "progress.counts"),
    *("started_at", "updated_at", "ended_at"),
    *(f"settings.{name}" for name in (*PARTIAL, "duplicates")),
    *("report.server_time", "report.totals", "report.outcomes", "report.verification"),
    "report.window",
    *("report.symptoms.code", "report.symptoms.found"),
)
ENDED_WELL = (Exit.CLEAN, Exit.FIXABLE_REMAINS, Exit.PARTIAL)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """All that is asked of MongoDB within takes that long at most, or is Unreachable."""
    with pymongo.timeout(seconds), clear_errors():
        try:
            yield
        except ExecutionTimeout:
            raise Unreachable(f"MongoDB took longer than {seconds:g} s to answer.") from None


def look(store: Store, max_age: timedelta) -> Health:
    """The health by the latest runs and MongoDB's own counts. Scans no collection."""
    require_rights(store, FOR_HEALTH)
    now = server_time(store)
    runs = store.runs
    documents = latest_runs(store)
    lease = lease_of(runs.find_one({"_id": LEASE_ID}), now)
    ended = [it for it in documents if has_ended(it, lease, now)]
    last = max(ended, key=end_of, default=None)
    counts = latest_counts(documents, now)
    status, reason = judge(last, counts["fixable"], now, max_age)
    return Health(
        status=status,
        reason=reason,
        verdict={"ok": Exit.CLEAN, "degraded": Exit.FIXABLE_REMAINS}.get(status, Exit.UNEXPECTED),
        database=store.settings.database,
        checked_at=iso(now),
        sessions=store.sessions.estimated_document_count(),
        events=store.events.estimated_document_count(),
        **counts,
        last_run=None if last is None else last_run_of(last, now),
        lease=lease,
        at_work=at_work(store, lease),
    )


def run_at_work(store: Store) -> AtWork | None:
    """The run that holds the lease; None where none is at work."""
    held = store.runs.find_one({"_id": LEASE_ID})
    return at_work(store, lease_of(held, server_time(store)))


def at_work(store: Store, lease: HeldLease) -> AtWork | None:
    """How far the holder of the lease is."""
    document = store.runs.find_one({"_id": lease.holder}) if lease.holder else None
    if document is None:
        return None
    progress = document.get("progress") or {}
    return AtWork(
        id=document["_id"],
        verb=document.get("verb", "?"),
        state=document.get("state", "?"),
        planned=document.get("planned"),
        done=sum((progress.get("counts") or {}).values()),
        rows_per_second=progress.get("rows_per_second"),
        waiting=progress.get("waiting"),
    )


def runs_of(settings: Settings) -> Document:
    """Finds the runs over these two collections that got the lease; configs may share a history."""
    return {
        "verb": {"$exists": True},
        "settings.sessions": settings.sessions,
        "settings.events": settings.events,
        "$nor": [{"verdict": Exit.LEASE_HELD, "state": PLANNING}],
    }


def latest_runs(store: Store) -> list[Document]:
    """The latest runs, and the latest that counted all sessions, which others may outnumber."""
    any_run = runs_of(store.settings)
    whole: Document = {"settings.session_ids": [], "settings.only": [], "report.window": None}
    full_run = {**any_run, **whole, "verb": "fix", "report": {"$exists": True}}
    found = {
        document["_id"]: document
        for wanted in (any_run, full_run)
        for document in store.runs.find(wanted, SEEN).sort("_id", -1).limit(LATEST_RUNS)
    }
    return list(found.values())


def unknown(settings: Settings, error: Exception) -> Health:
    """The health when MongoDB cannot be asked, or what it answers cannot be understood."""
    is_told = isinstance(error, RepairError)
    return Health(
        status="unknown",
        reason=str(error) if is_told else f"{type(error).__name__}: {error}",
        verdict=getattr(error, "exit_code", Exit.UNEXPECTED),
        database=settings.database,
        checked_at=iso(datetime.now(timezone.utc)),
        sessions=None,
        events=None,
        empty=UNKNOWN_COUNT,
        fixable=UNKNOWN_COUNT,
        orphan=UNKNOWN_COUNT,
        last_run=None,
        lease=None,
    )


def judge(
    last: Document | None, fixable: Count, now: datetime, max_age: timedelta
) -> tuple[Literal["ok", "degraded", "unknown"], str | None]:
    """The status, and why it is not ok."""
    if last is None:
        return "unknown", "no run has ended yet"
    limit = f"more than {format_duration(max_age)} ago"
    if now - end_of(last) > max_age:
        return "unknown", f"the last run, {last['_id']}, ended {limit}"
    if last.get("verdict") not in (*ENDED_WELL, None):
        return "unknown", f"the last run, {last['_id']}, ended with exit {last['verdict']}"
    if last.get("state") == UNDOING:
        return "unknown", f"the undo of the last run, {last['_id']}, broke off: undo it again"
    if has_died(last):
        return "unknown", f"the last run, {last['_id']}, ended without a verdict"
    if fixable.count is None or fixable.age_seconds is None:
        return "unknown", "no run has counted the fixable sessions yet"
    if fixable.age_seconds > max_age.total_seconds():
        return "unknown", f"the fixable sessions were counted {limit}"
    if fixable.count:
        can = f"{number_of(fixable.count, 'session')} can be repaired"
        return "degraded", f"{can} from {either(fixable.count, 'its', 'their')} events"
    return "ok", None


def has_ended(document: Document, lease: HeldLease, now: datetime) -> bool:
    """Whether the run is over."""
    if lease.holder == document["_id"]:
        return False
    begins = document.get("state") == PLANNING and document.get("verdict") is None
    return not (begins and now - document["started_at"] < LEASE_TIME)


def has_died(document: Document) -> bool:
    """Whether a run that is over left no verdict and is no plan that waits."""
    return document.get("verdict") is None and document.get("state") != PLANNED


def end_of(document: Document) -> datetime:
    """When a run ended, or gave its last sign of life."""
    if document.get("state") == DONE:
        return at(document, "ended_at")
    return at(document, "updated_at")


def at(document: Document, name: str) -> datetime:
    moment: datetime = document.get(name) or document["started_at"]
    return moment


def last_run_of(document: Document, now: datetime) -> LastRun:
    ended = end_of(document)
    return LastRun(
        id=document["_id"],
        verb=document["verb"],
        state=document.get("state", "?"),
        verdict=document.get("verdict"),
        ended_at=iso(ended),
        age_seconds=seconds(now - ended),
        error=document.get("error"),
    )


def lease_of(document: Document | None, now: datetime) -> HeldLease:
    is_held = document is not None and document.get("expires_at", LONG_AGO) > now
    return HeldLease(is_held, document.get("holder") if document and is_held else None)


def latest_counts(documents: list[Document], now: datetime) -> dict[str, Count]:
    """Each count as the run knows it that counted it last."""
    counts = {}
    for name in ("empty", "fixable", "orphan"):
        known = [it for document in documents for it in counted_by(document).get(name, [])]
        if known:
            moment, count = max(known)
            counts[name] = Count(count, seconds(now - moment), None)
        else:
            counts[name] = UNKNOWN_COUNT
    return counts


def counted_by(document: Document) -> dict[str, list[tuple[datetime, int]]]:
    """What one run counted and when, with what it changed since then taken into account."""
    report = document.get("report")
    if report is None:
        return {}
    began, ended = report["server_time"], end_of(document)
    totals, outcomes = report["totals"], report["outcomes"]
    found = {symptom["code"]: symptom["found"] for symptom in report["symptoms"]}
    counts: dict[str, list[tuple[datetime, int]]] = {"empty": [], "fixable": [], "orphan": []}
    is_done = document.get("state") == DONE
    if is_done and report["verification"]["empty_remaining"] is not None:
        counts["empty"].append((ended, report["verification"]["empty_remaining"]))
    if is_partial(document["settings"], report):
        if goes_on(document):
            counts["fixable"].append((ended, still_fixable(document)))
        return counts
    if totals["potentially_empty"] is not None:  # a look-up of orphans does not know
        counts["empty"].append((began, totals["potentially_empty"]))
    if document["verb"] == DELETE_ORPHANS:
        of_orphans = is_done and not document["settings"].get("duplicates")
        deleted = outcomes[APPLIED] if of_orphans else 0
        moment = ended if of_orphans else began
        counts["orphan"].append((moment, found["orphan_session"] - deleted))
        return counts
    counts["orphan"].append((began, found["orphan_session"]))
    counts["fixable"].append((ended, still_fixable(document)))
    return counts


def goes_on(document: Document) -> bool:
    """Whether a run began where the last success had ended: what it left is all that is left."""
    asked = document["settings"]
    is_bounded = asked.get("until") or asked.get("session_ids")
    is_of_fix: bool = document["verb"] != DELETE_ORPHANS
    return is_of_fix and asked.get("since") == LAST_SUCCESS and not is_bounded


def still_fixable(document: Document) -> int:
    """Of the planned corrections, those not made, and those undone or put back since."""
    report = document["report"]
    done = report["outcomes"] or document.get("progress", {}).get("counts", {})
    applied = done.get(APPLIED, 0)
    others = done.get(ALREADY_RIGHT, 0) + done.get(SKIPPED_GONE, 0)
    left: int = report["totals"]["planned"] - applied - others
    if document.get("state") == UNDOING:
        left += applied  # all of them, in the worst case
    elif document.get("state") == UNDONE:
        left += document["undo"]["counts"].get(RESTORED, 0)
    elif report["verification"]:
        left += report["verification"]["put_back"]
    return left


def count_empty(store: Store, limit: timedelta) -> Count:
    """The empty sessions now, by a scan that the server ends at the limit: then it is not known."""
    try:
        with pymongo.timeout(max(limit.total_seconds(), 0.001)):
            count = store.sessions.count_documents(empty_sessions(store.settings))
    except PyMongoError as error:
        if not error.timeout:
            raise
        return Count(None, None, f"not counted within --time-limit {format_duration(limit)}")
    return Count(count, 0, None)


def recounted(known: Health, empty: Count) -> Health:
    """The health with the empty sessions counted now; more than were known are not ok."""
    answer, before = replace(known, empty=empty), known.empty.count
    if known.status != "ok" or empty.count is None or before is None or empty.count <= before:
        return answer
    now = f"{number_of(empty.count, 'session')} {either(empty.count, 'is', 'are')} empty now"
    reason = f"{now}, {before} when they were last counted"
    return replace(answer, status="degraded", reason=reason, verdict=Exit.FIXABLE_REMAINS)


def last_reported(store: Store) -> Document | None:
    """The newest run that has a report."""
    reported = {**runs_of(store.settings), "report": {"$exists": True}}
    return store.runs.find_one(reported, sort=[("_id", -1)])


def seconds(age: timedelta) -> int:
    return max(0, round(age.total_seconds()))


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
