"""Apply: batch by batch, let the server merge the journal into the sessions, compare-and-set.

For each batch: look, so that rows whose session is no longer as planned are marked; write down in
the run's document that the batch is begun; merge what is not marked, one write per session, while
the lease is held; ask the sessions themselves what became of it, and mark what is not ``applied``.
The end of a batch and the begin of the next are one update. A row's outcome is its mark, else
``applied`` if an ended batch held it. A batch that broke off is first settled: what was written is
marked so, the rest is planned as before.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.mongo.connection import reason_of
from session_repair.mongo.expressions import corrected, is_as_observed, is_missing, is_result
from session_repair.mongo.pace import Pace
from session_repair.mongo.runs import APPLYING, Reach
from session_repair.mongo.store import Store
from session_repair.repair.outcomes import (
    APPLIED,
    CHANGED_MEANWHILE,
    FAILED,
    SKIPPED_CHANGED,
    SKIPPED_GONE,
)
from session_repair.repair.retry import Failures, patiently
from session_repair.repair.rows import (
    PLANNED,
    UNMARKED,
    Change,
    Work,
    guarded_merge,
    states,
    write_marks,
)
from session_repair.wording import number_of

log = logging.getLogger(__name__)

Document = dict[str, Any]
Progress = Callable[[int], None]

NEVER_WRITTEN = "still as it was planned on: never written, or put back at once"
TRIES = 3  # a failover may lose a merge that a majority did not have yet


def apply_run(work: Work, pace: Pace, change: Change, on_progress: Progress) -> None:
    """Change every row of the run's plan that has no outcome yet.

    A batch that a lost connection broke off is repeated: each of its steps may run again.
    """
    document = work.run.read()
    reach = Reach.of(document, "progress")
    before = done = sum(document["progress"]["counts"].values())
    batch: list[str] = []
    began = time.monotonic()
    while done < document["planned"]:
        if not batch:  # nothing is owed now: the time to wait or to stop
            pace.before_batch()
            batch = begin_batch(work, reach.after, pace.batch_size, change)
            if not batch:
                return
            reach = moved(work, reach, Reach(reach.after, batch[-1]), {})
        rows, at = number_of(len(batch), "row"), time.monotonic()
        log.info("began a batch of %s", rows)
        outcomes = change_batch(work, batch, pace, change)
        told, seconds = ", ".join(f"{it} {outcomes[it]}" for it in outcomes), time.monotonic() - at
        log.info("ended a batch of %s in %.2f s: %s", rows, seconds, told)
        done += sum(outcomes.values())
        ended, following = batch[-1], []
        if done < document["planned"] and not pace.is_due():
            following = begin_batch(work, ended, pace.batch_size, change)
        begun = following[-1] if following else ended
        rate = round((done - before) / max(time.monotonic() - began, 0.001))
        reach = moved(work, reach, Reach(ended, begun), outcomes, rate)
        batch = following
        on_progress(done)


def moved(
    work: Work,
    was: Reach,
    now: Reach,
    counts: Counter[str] | dict[str, int],
    rate: int | None = None,
) -> Reach:
    """The reach that the run's document has from now on, beside the rate in rows per second."""
    told: Document = {"progress.waiting": None, "state": APPLYING}
    if rate is not None:
        told["progress.rows_per_second"] = rate
    patiently(partial(work.run.move, "progress", was, now, counts, **told))
    return now


def begin_batch(work: Work, after: str, size: int, change: Change) -> list[str]:
    """The _ids of the next rows; those whose session is no longer as planned are marked.

    Once a batch is begun, a session that has its result is taken for written by it. So whoever
    healed a session in the same way before is found here.
    """
    look = states(work.store, work.plan.rows(after), change.became(work.store), size)
    became = patiently(look)
    unfit = {
        row: SKIPPED_GONE if outcome == SKIPPED_GONE else SKIPPED_CHANGED
        for row, (outcome, is_mark) in became.items()
        if outcome != PLANNED and not is_mark
    }
    fit = [row for row, (outcome, _) in became.items() if outcome == PLANNED]
    errors = {row: reason_of(error) for row, error in change.keep(work, fit).items()}
    write_marks(work, {**unfit, **dict.fromkeys(errors, FAILED)}, errors)
    return list(became)


def change_batch(work: Work, batch: list[str], pace: Pace, change: Change) -> Counter[str]:
    """Change the sessions of a batch that is begun; the number of its rows by outcome."""
    rows = work.plan.rows(upto=batch[-1])
    rows["_id"] = {"$gte": batch[0], "$lte": batch[-1]}
    # In one session the outcomes are read from what a majority has, this very merge included.
    with work.store.database.client.start_session() as session:
        read = states(work.store, rows, change.became(work.store), len(batch), APPLIED)
        for _ in range(TRIES):
            began = time.monotonic()
            failures = change.make(work, batch, session)
            pace.after_merge(len(batch), time.monotonic() - began)
            patiently(work.lease.renew)  # nothing was changed if the lease was lost
            became = patiently(read, session)
            untouched = {row for row, (outcome, _) in became.items() if outcome == PLANNED}
            if change.left != FAILED or untouched <= failures.keys():
                break
    final = {row: outcome for row, (outcome, _) in became.items()}
    final |= dict.fromkeys(untouched, change.left)
    final |= dict.fromkeys(failures.keys() & final.keys(), FAILED)
    errors = dict.fromkeys(untouched, NEVER_WRITTEN) if change.left == FAILED else {}
    errors |= {row: reason_of(error) for row, error in failures.items()}
    marks = {row: outcome for row, outcome in final.items() if not became[row][1]}
    write_marks(work, marks, errors)
    return +Counter({APPLIED: len(batch) - len(final)}) + Counter(final.values())


def merge_corrections(work: Work, batch: list[str], session: ClientSession) -> Failures:
    """Change the sessions that are still what the plan saw, while the lease is held."""
    guard = is_as_observed(work.store, "$$ROOT", "$$new.plan")
    result = corrected(work.store, "$$ROOT", "$$new.plan")
    return guarded_merge(work, batch, session, UNMARKED, guard, result)


def correction_became(store: Store) -> Document:
    return {
        "$switch": {
            "branches": [
                {"case": is_missing("$found"), "then": SKIPPED_GONE},
                {"case": is_result(store, "$found", "$plan"), "then": APPLIED},
                {"case": is_as_observed(store, "$found", "$plan"), "then": PLANNED},
            ],
            "default": CHANGED_MEANWHILE,
        }
    }


def keep_nothing(_: Work, __: list[str]) -> Failures:
    """A correction is undone by the plan itself."""
    return {}


CORRECTION = Change(keep_nothing, merge_corrections, correction_became, FAILED)
