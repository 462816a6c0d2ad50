"""Undo: what it would put back of a run, and what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from session_repair.errors import shortened
from session_repair.mongo.runs import counted, reached
from session_repair.mongo.store import Store
from session_repair.repair.changes import change_of
from session_repair.repair.journal import Plan, in_batches, read_rows
from session_repair.repair.outcomes import LEFT_ALONE, RESTORABLE
from session_repair.repair.report import LISTED

Document = dict[str, Any]


@dataclass(frozen=True)
class UndoReport:
    """The applied rows of a run by what their undoing finds; some that cannot be restored.

    ``lost`` is the number of rows that the journal should hold and does not hold any more.
    """

    run_id: str
    counts: dict[str, int]
    left_alone: tuple[tuple[str, str, str | None], ...]  # session_id, state, the server's reason
    lost: int = 0

    @property
    def is_empty(self) -> bool:
        """The run wrote nothing, so there is nothing to undo."""
        return not self.counts and not self.lost

    @property
    def is_whole(self) -> bool:
        """Nothing of the run stands any more; asked after an undo."""
        left = any(self.counts.get(state, 0) for state in (RESTORABLE, *LEFT_ALONE))
        return not left and not self.lost


def survey_undo(store: Store, document: Document) -> UndoReport:
    """What an undo would do, and after one, what it did. Writes nothing."""
    if "first_at" not in (document.get("progress") or {}):  # no batch was ever written
        return UndoReport(document["_id"], {}, ())
    step, plan = change_of(document).undo(store, document), Plan.of(document)
    counts = Counter(counted(document, "undo"))
    left_alone = marked_rows(store, plan)
    for rows in in_batches(read_rows(store, step.rows(reached(document, "undo")))):
        for row, state in step.states(rows, None):
            counts[state] += 1
            if state in LEFT_ALONE and len(left_alone) < LISTED:
                left_alone.append((shortened(row.planned.name), state, None))
    lost = document["planned"] - store.journal.count_documents(plan.rows())
    return UndoReport(document["_id"], dict(counts), tuple(left_alone), lost)


def require_lasting_undo(store: Store, document: Document) -> None:
    """Raise BreakerTripped where a TTL index would delete what an undo puts back."""
    change_of(document).undo(store, document).require_lasting(document)


def marked_rows(store: Store, plan: Plan) -> list[tuple[str, str, str | None]]:
    """Some of the sessions that an undo left alone, and why."""
    marked = {**plan.rows(), "undo": {"$exists": True}}
    rows = read_rows(store, marked, ["plan.session_id", "undo", "error"], LISTED)
    return [(shortened(row.planned.name), str(row.text("undo")), row.text("error")) for row in rows]
