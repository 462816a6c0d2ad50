"""Read back: ask the database, after the write, what is there now."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

from session_repair.errors import RepairError, shortened
from session_repair.mongo.empty import empty_sessions, malformed_sessions
from session_repair.mongo.runs import reached
from session_repair.mongo.store import Store
from session_repair.repair.changes import change_of
from session_repair.repair.journal import Plan, Seal, in_batches, read_rows
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
from session_repair.repair.report import LISTED, Left, Totals, Verification
from session_repair.typed import typed

Document = dict[str, Any]


@dataclass(frozen=True)
class ReadBack:
    """What the journal says of a run that has ended, and the sessions of those that it changed."""

    outcomes: Outcomes
    left: tuple[Left, ...]  # some sessions of each outcome but applied
    now: Counter[str]  # the changed sessions by what an undo would find: restorable is as planned
    moved_on: tuple[str, ...]  # the session ids of some that others changed since

    def verification(self, store: Store, of_all: Totals | None = None) -> Verification:
        """With the figures of all sessions, by scans, where what was found is ``of_all``."""
        of_few = Verification(
            sessions=store.sessions.estimated_document_count(),
            with_events=None,
            empty_remaining=None,
            as_planned=self.now[RESTORABLE],
            put_back=self.now[RESTORED],
            moved_on=self.now[CHANGED],
            gone=self.now[GONE],
        )
        if of_all is None:
            return of_few
        count, is_empty = store.sessions.count_documents, empty_sessions(store.settings)
        malformed = malformed_sessions(store.settings)
        others = count(is_empty), of_all.filled_without_events, count(malformed)
        sessions = count({})
        return replace(
            of_few,
            sessions=sessions,
            with_events=sessions - sum(it or 0 for it in others),
            empty_remaining=others[0],
            filled_without_events=others[1],
            malformed=others[2],
        )


def read_back(store: Store, document: Document, most: int = 0) -> ReadBack:
    """Read the whole journal of a run again, and each session that it changed.

    Up to ``most`` of those that moved on are named. Raises Refused when the plan is not the one
    that was sealed, RepairError when its rows and marks are not what the run's document says.
    """
    plan, after = Plan.of(document), reached(document, "progress")
    step = change_of(document).undo(store, document)
    seal = Seal(store.settings, plan)
    counts: Counter[str] = Counter()
    now: Counter[str] = Counter()
    moved_on: list[str] = []
    left: dict[str, list[Left]] = defaultdict(list)
    for rows in in_batches(read_rows(store, plan.rows(), ["plan", "outcome", "error"])):
        applied = []
        for row in rows:
            seal.add(row)
            outcome = row.text("outcome") or (APPLIED if row.id <= after else PLANNED)
            counts[outcome] += 1
            if outcome == APPLIED and row.is_whole:
                applied.append(row)
            elif outcome in WHY and row.is_whole and len(left[outcome]) < LISTED:
                name = shortened(row.planned.name)
                left[outcome].append(Left(name, outcome, row.text("error")))
        for row, state in step.compare(applied, None):
            now[state] += 1
            if state == CHANGED and len(moved_on) < most:
                moved_on.append(row.planned.name)
    require_as_counted(document, seal, counts, store.settings.reached_by)
    outcomes = Outcomes(planned=document["planned"], **{name: counts[name] for name in OUTCOMES})
    some = tuple(it for name in WHY for it in left[name])
    return ReadBack(outcomes, some, now, tuple(moved_on))


def require_as_counted(
    document: Document, seal: Seal, counts: Counter[str], reached_by: tuple[str, ...]
) -> None:
    """Raise unless the journal holds the sealed plan, and what the run counted."""
    is_whole = seal.digest(document["planned"]) == document["digest"]
    if not is_whole or counts != Counter(document["progress"]["counts"]):
        run_id = document["_id"]
        raise RepairError(
            f"run {run_id} counted {document['progress']['counts']} while it wrote, but its "
            f"journal now holds {dict(counts)}{'' if is_whole else ', and an edited plan'}. "
            f"Look at it with: {typed(reached_by, 'runs', run_id)}"
        )
