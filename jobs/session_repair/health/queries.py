"""Health: what is known of the sessions without reading them, as one small answer.

A few bounded queries that no index is missing for: the counts that MongoDB keeps itself, the
latest run documents, the lease. What only a run can count stands there with its age.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pymongo
from pymongo.errors import ExecutionTimeout

from session_repair.errors import Exit, RepairError, Unreachable
from session_repair.health.counts import end_of, latest_counts, seconds
from session_repair.health.model import UNKNOWN_COUNT, AtWork, Count, Health, HeldLease, LastRun
from session_repair.kinds import format_duration
from session_repair.mongo.connection import clear_errors, server_time
from session_repair.mongo.lease import LEASE_ID, LEASE_TIME, LONG_AGO
from session_repair.mongo.rights import FOR_HEALTH, require_rights
from session_repair.mongo.runs import APPLYING, PLANNED, PLANNING, UNDOING, counted
from session_repair.mongo.store import Store
from session_repair.ongoing import Reading
from session_repair.repair.outcomes import APPLIED
from session_repair.settings import PARTIAL, Settings
from session_repair.typed import typed
from session_repair.wording import either, iso, number_of

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
    status, reason = judge(last, counts["fixable"], now, max_age, store.settings.reached_by)
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
    token = (document.get("undo") or {}).get("token")
    is_undo = token is not None and token == document.get("token")
    part = "undo" if is_undo else "progress"
    progress = document.get(part) or {}
    applied = counted(document, "progress").get(APPLIED, 0)
    reading = progress.get("reading")  # of a plan that is whole there is none any more
    return AtWork(
        id=document["_id"],
        verb=document.get("verb", "?"),
        state=UNDOING if is_undo else document.get("state", "?"),
        planned=applied if is_undo else document.get("planned"),
        done=sum(counted(document, part).values()),
        rows_per_second=progress.get("rows_per_second"),
        waiting=progress.get("waiting"),
        reading=None if reading is None else Reading(**reading),
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
    last: Document | None,
    fixable: Count,
    now: datetime,
    max_age: timedelta,
    reached_by: Iterable[str],
) -> tuple[Literal["ok", "degraded", "unknown"], str | None]:
    """The status, and why it is not ok."""
    if last is None:
        return "unknown", "no run has ended yet"
    limit = f"more than {format_duration(max_age)} ago"
    if now - end_of(last) > max_age:
        return "unknown", f"the last run, {last['_id']}, ended {limit}"
    if last.get("verdict") == Exit.BREAKER:
        why = (last.get("error") or "").partition(": ")[2]  # behind the name of its kind
        return "degraded", f"the last run, {last['_id']}, was stopped: {why}"
    if last.get("verdict") not in (*ENDED_WELL, None):
        return "unknown", f"the last run, {last['_id']}, ended with exit {last['verdict']}"
    if last.get("state") == UNDOING:
        again = typed(reached_by, "undo", last["_id"], "--apply")
        return "unknown", f"the undo of the last run, {last['_id']}, broke off: {again}"
    if has_died(last):
        is_told = last.get("state") in (PLANNING, APPLYING)
        again = f": {typed(reached_by, 'resume', last['_id'])}" if is_told else ""
        return "unknown", f"the last run, {last['_id']}, ended without a verdict{again}"
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


def last_reported(store: Store) -> Document | None:
    """The newest run that has a report."""
    reported = {**runs_of(store.settings), "report": {"$exists": True}}
    return store.runs.find_one(reported, sort=[("_id", -1)])
