"""Metrics of an answer of ``health``, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from session_repair.health.model import Health
from session_repair.reporting.metrics import Figure


def figures_of_health(health: Health) -> Iterator[Figure]:
    """What ``/metrics`` answers. Without MongoDB only the status is known."""
    figure = partial(Figure, {"database": health.database})
    counts = {"empty": health.empty, "fixable": health.fixable, "orphan": health.orphan}
    numbers = {kind: count.count for kind, count in counts.items()}
    ages = {kind: count.age_seconds for kind, count in counts.items()}
    stored = {"sessions": health.sessions, "events": health.events}
    last, lease, run = health.last_run, health.lease, health.at_work
    states = {state: float(state == health.status) for state in ("ok", "degraded", "unknown")}
    verdict, age = (last.verdict, last.age_seconds) if last else (None, None)
    planned, done = (run.planned, run.done) if run else (None, None)
    waits = float(run.waiting is not None) if run else None
    yield figure("health_status", "1 for the status that holds, 0 for the others", states, "status")
    yield figure("health_verdict", "Exit code that health would end with", health.verdict)
    yield figure("health_documents", "Documents, an estimate", stored, "collection")
    yield figure("health_sessions", "Sessions as the latest runs counted them", numbers, "kind")
    yield figure("health_sessions_age_seconds", "How long ago that was", ages, "kind")
    yield figure("health_last_run_verdict", "Exit code of the last run", verdict)
    yield figure("health_last_run_age_seconds", "Since the last run", age)
    of_run = run.reading if run else None
    documents, read = (of_run.documents, of_run.read) if of_run else (None, None)
    yield figure("health_run_documents", "Documents that it is to read, about", documents)
    yield figure("health_run_read", "Those of them that were read", read)
    yield figure("health_run_planned", "Sessions that the run at work is to change", planned)
    yield figure("health_run_done", "Those of them that were gone through", done)
    yield figure("health_run_waiting", "1 while the run at work waits", waits)
    yield figure("health_lease_held", "1 while a run is at work", lease.is_held if lease else None)
