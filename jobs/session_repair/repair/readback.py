"""Verify: ask the database, after the write, what is there now."""

from __future__ import annotations

from typing import Any

from session_repair.errors import RepairError
from session_repair.mongo.target import Target
from session_repair.repair.apply import APPLIED, OUTCOMES, Change, outcome_counts, read_back
from session_repair.repair.journal import of_run
from session_repair.repair.report import Left, Outcomes, Verification, shortened
from session_repair.settings import Settings

Document = dict[str, Any]

LISTED = 20  # sessions of each outcome, by name


def balanced_outcomes(target: Target, run_id: str, planned: int) -> Outcomes:
    """The outcomes as the journal holds them. Raises RepairError unless they add up to the plan."""
    counts = outcome_counts(target, run_id)
    figures = {outcome: counts.pop(outcome, 0) for outcome in OUTCOMES}
    if sum(figures.values()) != planned or counts:
        raise RepairError(
            f"run {run_id} planned {planned} corrections, but its journal holds {figures} "
            f"and {dict(counts)}. Look at it with: ./spark-submit.sh runs {run_id}"
        )
    return Outcomes(planned=planned, **figures)


def verify_sessions(target: Target, run_id: str, change: Change) -> Verification:
    """Totals of the whole collection, and the corrected sessions read again, from the server."""
    sessions = target.database[target.settings.sessions]
    count = target.path("event_count")
    again = read_back(target, run_id, change)
    return Verification(
        sessions=sessions.count_documents({}),
        with_events=sessions.count_documents({count: {"$gt": 0}}),
        empty_remaining=sessions.count_documents(empty_sessions(target.settings)),
        as_planned=again["as_planned"],
        put_back=again["put_back"],
        moved_on=again["moved_on"],
        gone=again["gone"],
    )


def empty_sessions(settings: Settings) -> Document:
    """The filter that finds the sessions that name no page or count nothing."""
    count, pages = settings.session_fields["event_count"], settings.session_fields["pages"]
    return {"$or": [{count: {"$in": [0, None]}}, {pages: {"$in": [[], None]}}]}


def sessions_left(target: Target, run_id: str) -> tuple[Left, ...]:
    """Some sessions of each outcome but ``applied``, as the journal names them."""
    fields = {"plan.session_id": 1, "outcome": 1, "error": 1}
    return tuple(
        Left(name_in(row["plan"]), outcome, row.get("error"))
        for outcome in OUTCOMES
        if outcome != APPLIED
        for row in target.journal.find({**of_run(run_id), "outcome": outcome}, fields)
        .sort("_id", 1)
        .limit(LISTED)
    )


def name_in(plan: Document) -> str | None:
    session_id: str | None = plan.get("session_id")
    return None if session_id is None else shortened(session_id)
