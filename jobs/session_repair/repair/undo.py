"""Undo: put back what a run wrote, where all of it still is as the run left it; else nothing.

Batch by batch, at the pace at which a run is applied: look and mark what cannot be restored, begin,
restore, ask the sessions what became of it. An undo that broke off is settled first, and then goes
on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.errors import LONGEST
from session_repair.mongo.connection import reason_of
from session_repair.mongo.expressions import is_as_left, restored
from session_repair.mongo.pace import Pace
from session_repair.mongo.runs import UNDOING, Reach
from session_repair.mongo.store import Store
from session_repair.repair.apply import TRIES
from session_repair.repair.delete import insert_absent, kept_rows
from session_repair.repair.outcomes import APPLIED
from session_repair.repair.past import LEFT_ALONE, REFUSED, RESTORABLE, RESTORED, Past
from session_repair.repair.retry import patiently
from session_repair.repair.rows import Change, States, Work, guarded_merge, write_marks
from session_repair.wording import number_of

log = logging.getLogger(__name__)

Document = dict[str, Any]

LISTED = 20  # sessions that cannot be restored, by name


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


def survey_undo(store: Store, document: Document, change: Change) -> UndoReport:
    """What an undo would do, and after one, what it did. Writes nothing."""
    if "first_at" not in (document.get("progress") or {}):  # no batch was ever begun
        return UndoReport(document["_id"], {}, ())
    past = Past.of(store, document, change)
    counts: Counter[str] = Counter()
    left_alone: list[tuple[str, str, str | None]] = []
    named = {"name": {"$substrCP": ["$plan.session_id", 0, LONGEST]}, "error": "$error"}
    some = {"$firstN": {"input": named, "n": LISTED}}
    by_state = {"$group": {"_id": "$state", "rows": {"$sum": 1}, "some": some}}
    rows = past.plan.rows()
    # As the primary has it: what a dead process wrote last, a majority may not have yet.
    states = [*past.rows_with_state(rows), by_state]
    for group in store.latest_journal.aggregate(states, allowDiskUse=True):
        counts[group["_id"]] = group["rows"]
        if group["_id"] in LEFT_ALONE:
            left_alone += [(it["name"], group["_id"], it.get("error")) for it in group["some"]]
    lost = document["planned"] - store.journal.count_documents(rows)
    return UndoReport(document["_id"], dict(counts), tuple(left_alone[:LISTED]), lost)


def undo_run(work: Work, pace: Pace, change: Change) -> UndoReport:
    """Restore every session that still is as the run left it; the rest is left alone.

    A run that wrote nothing keeps its state.
    """
    document = work.run.read()
    past = Past.of(work.store, document, change)
    reach, is_begun = past.undone, document["state"] == UNDOING
    while batch := next_batch(work, pace, past, reach.after):
        if not is_begun:
            work.run.record(state=UNDOING, undo={"after": "", "begun": "", "counts": {}})
            is_begun = True
        reach = moved(work, reach, Reach(reach.after, batch[-1]), {})
        rows = number_of(len(batch), "row")
        log.info("began to undo a batch of %s", rows)
        counts = undo_batch(work, pace, past, batch)
        told = ", ".join(f"{state} {counts[state]}" for state in counts)
        log.info("ended the undoing of a batch of %s: %s", rows, told)
        reach = moved(work, reach, Reach(batch[-1], batch[-1]), counts)
    return survey_undo(work.store, work.run.read(), change)


def moved(work: Work, was: Reach, now: Reach, counts: Counter[str] | dict[str, int]) -> Reach:
    patiently(work.run.move, "undo", was, now, counts)
    return now


def next_batch(work: Work, pace: Pace, past: Past, after: str) -> list[str]:
    """The _ids of the next applied rows; those that cannot be restored are marked.

    Waits, or raises, where there are some and the pace says so.
    """
    pipeline = [*past.rows_with_state(past.plan.rows(after)), {"$limit": pace.batch_size}]
    found = patiently(undo_states, work.store, pipeline)
    if found:
        pace.before_batch()
    unfit = {row: it for row, (it, is_mark) in found.items() if it in LEFT_ALONE and not is_mark}
    write_marks(work, unfit, {}, "undo")
    return list(found)


def undo_states(
    store: Store, pipeline: list[Document], session: ClientSession | None = None
) -> States:
    """The rows of the pipeline with their state, and whether that is a mark."""
    journal = store.journal if session else store.latest_journal
    told = {"state": 1, "mark": "$undo"}
    found = journal.aggregate([*pipeline, {"$project": told}], session=session)
    return {row["_id"]: (row["state"], "mark" in row) for row in found}


def undo_batch(work: Work, pace: Pace, past: Past, batch: list[str]) -> Counter[str]:
    """Restore the sessions of a batch that is begun; the number of its rows by their state."""
    rows = {"_id": {"$gte": batch[0], "$lte": batch[-1]}}
    # In one session the states are read from what a majority has, this very merge included.
    with work.store.database.client.start_session() as session:
        for _ in range(TRIES):
            restore = insert_back if past.is_deletion else merge_back
            began = time.monotonic()
            errors = restore(work, past, batch, session)
            pace.after_merge(len(batch), time.monotonic() - began)
            patiently(work.lease.renew)
            became = patiently(undo_states, work.store, past.rows_with_state(rows), session)
            untouched = {row for row, (state, _) in became.items() if state == RESTORABLE}
            if untouched <= errors.keys():
                break
    marks = {
        row: REFUSED if row in untouched else state
        for row, (state, is_mark) in became.items()
        if state != RESTORED and not is_mark
    }
    write_marks(work, marks, errors, "undo")
    return Counter(marks.get(row, state) for row, (state, _) in became.items())


def merge_back(work: Work, past: Past, batch: list[str], session: ClientSession) -> dict[str, str]:
    """Write what stood there before into the sessions that still are as the run left them."""
    target = work.store
    guard = is_as_left(target, "$$ROOT", "$$new.plan")
    before = restored(target, "$$ROOT", "$$new.plan")
    ended = {"outcome": {"$exists": False}, "_id": {"$lte": past.applied.after}}
    rows = {"undo": {"$exists": False}, "$or": [{"outcome": APPLIED}, ended]}
    failures = guarded_merge(work, batch, session, rows, guard, before)
    return {row: reason_of(error) for row, error in failures.items()}


def insert_back(work: Work, past: Past, batch: list[str], _: ClientSession) -> dict[str, str]:
    """Insert the documents that a deletion took; why some were refused."""
    rows = {"_id": {"$gte": batch[0], "$lte": batch[-1]}, "undo": {"$exists": False}}
    states = patiently(undo_states, work.store, past.rows_with_state(rows))
    absent = [row for row, (state, _) in states.items() if state == RESTORABLE]
    kept = patiently(kept_rows, work.store, {"_id": {"$in": absent}})
    patiently(work.lease.renew)
    return patiently(insert_absent, work.store, kept)


def settle_undo(work: Work, change: Change) -> None:
    """Mark what was restored of the batch that an interrupted undo had begun; write no session."""
    document = work.run.read()
    reach = Reach.of(document, "undo")
    if reach.begun <= reach.after:
        return
    past = Past.of(work.store, document, change)
    pipeline = past.rows_with_state(past.plan.rows(reach.after, reach.begun))
    states = patiently(undo_states, work.store, pipeline)
    done = [row for row, (it, is_mark) in states.items() if it == RESTORED and not is_mark]
    write_marks(work, dict.fromkeys(done, RESTORED), {}, "undo")
    moved(work, reach, Reach(reach.after, reach.after), {})
