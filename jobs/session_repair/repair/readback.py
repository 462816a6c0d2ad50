"""Read back: ask the database, after the write, what is there now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bson.raw_bson import RawBSONDocument

from session_repair.errors import RepairError, shortened
from session_repair.home import COMMAND
from session_repair.mongo.census import empty_sessions
from session_repair.mongo.runs import reached
from session_repair.mongo.store import Store
from session_repair.repair.batches import Row, rows_in_batches
from session_repair.repair.changes import undoing
from session_repair.repair.journal import Plan, Seal, raw_rows
from session_repair.repair.outcomes import (
    APPLIED,
    CHANGED,
    GONE,
    OUTCOMES,
    PLANNED,
    RESTORABLE,
    RESTORED,
    WHY,
    Outcomes,
)
from session_repair.repair.report import Left, Verification

Document = dict[str, Any]

LISTED = 20  # sessions of each outcome, by name


@dataclass(frozen=True)
class Account:
    """What the journal says of a run that has ended: its outcomes, some sessions of each."""

    outcomes: Outcomes
    left: tuple[Left, ...]


def account_for(store: Store, document: Document) -> Account:
    """Read the whole journal of a run again.

    Raises Refused when the plan is not the one that was sealed, RepairError when its rows and
    marks are not what the run's document says.
    """
    plan, after = Plan.of(document), reached(document, "progress")
    seal = Seal(store.settings, plan)
    counts: Counter[str] = Counter()
    left: dict[str, list[Left]] = defaultdict(list)
    for row in raw_rows(store, plan, ["plan", "outcome", "error"]):
        seal.add(row)
        outcome = row.get("outcome", APPLIED if row["_id"] <= after else PLANNED)
        counts[outcome] += 1
        if outcome in WHY and len(left[outcome]) < LISTED:
            left[outcome].append(Left(name_in(row["plan"]), outcome, row.get("error")))
    is_whole = seal.digest(document["planned"]) == document["digest"]
    if not is_whole or counts != Counter(document["progress"]["counts"]):
        raise RepairError(
            f"run {plan.run_id} counted {document['progress']['counts']} while it wrote, but its "
            f"journal now holds {dict(counts)}{'' if is_whole else ', and an edited plan'}. "
            f"Look at it with: {COMMAND} runs {plan.run_id}"
        )
    outcomes = Outcomes(planned=document["planned"], **{name: counts[name] for name in OUTCOMES})
    return Account(outcomes, tuple(it for name in WHY for it in left[name]))


def name_in(plan: RawBSONDocument) -> str | None:
    session_id: str | None = plan.get("session_id")
    return None if session_id is None else shortened(session_id)


def verify_sessions(store: Store, document: Document, is_of_all: bool) -> Verification:
    """The corrected sessions read again; and, by scans, totals of all sessions where asked for."""
    sessions = store.sessions
    filled, empty = {store.path("event_count"): {"$gt": 0}}, empty_sessions(store.settings)
    again = Counter(state for _, state in sessions_again(store, document))
    count = sessions.count_documents
    return Verification(
        sessions=count({}) if is_of_all else sessions.estimated_document_count(),
        with_events=count(filled) if is_of_all else None,
        empty_remaining=count(empty) if is_of_all else None,
        as_planned=again[RESTORABLE],
        put_back=again[RESTORED],
        moved_on=again[CHANGED],
        gone=again[GONE],
    )


def moved_on(store: Store, document: Document, most: int) -> tuple[str, ...]:
    """The session ids of changed sessions that moved on since, up to so many."""
    again = sessions_again(store, document)
    names = (row.planned.session_id for row, state in again if state == CHANGED)
    return tuple(islice(names, most))


def sessions_again(store: Store, document: Document) -> Iterator[tuple[Row, str]]:
    """Each row that the run applied, and what an undo would find in the place of its session.

    That is restorable where it is as planned, and restored where it was put back.
    """
    step = undoing(store, document)
    for rows in rows_in_batches(store, step.rows(""), but="before"):
        yield from step.compare(rows, None)
