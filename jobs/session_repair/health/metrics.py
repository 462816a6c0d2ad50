"""Metrics of an answer of ``health``, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from session_repair.health.model import Health
from session_repair.reporting.metrics import Figure


def figures_of_health(health: Health) -> Iterator[Figure]:
    """What ``/metrics`` answers. Without MongoDB only the status is known."""
    common = {"database": health.database}

    def one(name: str, meaning: str, value: float | None) -> Figure:
        return Figure(f"session_repair_{name}", meaning, {"": value}, common=common)

    def by(label: str, name: str, meaning: str, values: Mapping[str, float | None]) -> Figure:
        return Figure(f"session_repair_{name}", meaning, values, label, common)

    counts = {"empty": health.empty, "fixable": health.fixable, "orphan": health.orphan}
    stored = {"sessions": health.sessions, "events": health.events}
    last, lease = health.last_run, health.lease
    states = {state: float(state == health.status) for state in ("ok", "degraded", "unknown")}
    yield by("status", "health_status", "1 for the status that holds, 0 for the others", states)
    yield one("health_verdict", "Exit code that health would end with", health.verdict)
    yield by("collection", "health_documents", "Documents, an estimate", stored)
    yield by(
        "kind",
        "health_sessions",
        "Sessions as the latest runs counted them",
        {kind: count.count for kind, count in counts.items()},
    )
    yield by(
        "kind",
        "health_sessions_age_seconds",
        "How long ago that was",
        {kind: count.age_seconds for kind, count in counts.items()},
    )
    yield one(
        "health_last_run_verdict", "Exit code of the last run", last.verdict if last else None
    )
    yield one(
        "health_last_run_age_seconds", "Since the last run", last.age_seconds if last else None
    )
    run = health.at_work
    planned, done = (run.planned, run.done) if run else (None, None)
    waits = float(run.waiting is not None) if run else None
    yield one("health_run_planned", "Sessions that the run at work is to change", planned)
    yield one("health_run_done", "Those of them that have an outcome", done)
    yield one("health_run_waiting", "1 while the run at work waits", waits)
    yield one("health_lease_held", "1 while a run is at work", lease.is_held if lease else None)
