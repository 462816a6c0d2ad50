"""Apply: batch by batch, let the server merge the journal into the sessions, compare-and-set.

For each batch: look, so that rows whose session is no longer as planned are marked; write down in
the run's document that the batch is begun; merge what is not marked, one write per session, while
the lease is held; ask the sessions themselves what became of it, and mark what is not ``applied``.
The end of a batch and the begin of the next are one update. A row's outcome is its mark, else
``applied`` if an ended batch held it. A batch that broke off is first settled: what was written is
marked so, the rest is planned as before.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.errors import LONGEST
from session_repair.mongo.connection import first_line
from session_repair.mongo.expressions import corrected, is_as_observed, is_missing, is_result
from session_repair.mongo.lease import Lease
from session_repair.mongo.runs import APPLYING, Reach, Run
from session_repair.mongo.target import LATEST, Target
from session_repair.mongo.throttle import Pace
from session_repair.repair.journal import Plan
from session_repair.repair.outcomes import (
    APPLIED,
    CHANGED_MEANWHILE,
    FAILED,
    SKIPPED_CHANGED,
    SKIPPED_GONE,
)
from session_repair.repair.split import Failures, in_parts, patiently

Document = dict[str, Any]
Progress = Callable[[int], None]

PLANNED = "planned"  # stands for a row whose session is as the plan saw it
NEVER_WRITTEN = "still as it was planned on: never written, or put back at once"
UNMARKED: Document = {"outcome": {"$exists": False}}
TRIES = 3  # a failover may lose a merge that a majority did not have yet


@dataclass(frozen=True)
class Work:
    """A run that is to be carried out or undone, and the right to do so."""

    target: Target
    run: Run
    plan: Plan
    lease: Lease


@dataclass(frozen=True)
class Change:
    """What a run does to its sessions.

    ``keep`` comes before a batch is begun, ``make`` changes its sessions; both tell the rows that
    failed. ``became`` is the outcome of a row beside its session, ``planned`` where nothing was
    done to it; ``left`` is the outcome of such a row in the end.
    """

    keep: Callable[[Work, list[str]], Failures]
    make: Callable[[Work, list[str], ClientSession], Failures]
    became: Callable[[Target], Document]
    left: str


def apply_run(work: Work, pace: Pace, change: Change, on_progress: Progress) -> None:
    """Change every row of the run's plan that has no outcome yet.

    A batch that a lost connection broke off is repeated: each of its steps may run again.
    """
    document = work.run.read()
    reach = Reach.of(document, "progress")
    done = sum(document["progress"]["counts"].values())
    batch: list[str] = []
    while True:
        if not batch:  # nothing is owed now: the time to wait or to stop
            pace.before_batch(work.run.run_id)
            batch = begin_batch(work, reach.after, pace.batch_size, change)
            if not batch:
                return
            reach = moved(work, reach, Reach(reach.after, batch[-1]), {})
        outcomes = change_batch(work, batch, pace, change)
        ended, following = batch[-1], []
        if not pace.is_due():
            following = begin_batch(work, ended, pace.batch_size, change)
        begun = following[-1] if following else ended
        reach = moved(work, reach, Reach(ended, begun), outcomes)
        batch, done = following, done + sum(outcomes.values())
        on_progress(done)


def moved(work: Work, was: Reach, now: Reach, counts: Counter[str] | dict[str, int]) -> Reach:
    patiently(partial(work.run.move, "progress", was, now, counts, state=APPLYING))
    return now


def begin_batch(work: Work, after: str, size: int, change: Change) -> list[str]:
    """The _ids of the next rows; those whose session is no longer as planned are marked.

    Once a batch is begun, a session that has its result is taken for written by it. So whoever
    healed a session in the same way before is found here.
    """
    look = states(work.target, work.plan.rows(after), change.became(work.target), size)
    became = patiently(look)
    unfit = {
        row: SKIPPED_GONE if outcome == SKIPPED_GONE else SKIPPED_CHANGED
        for row, (outcome, is_mark) in became.items()
        if outcome != PLANNED and not is_mark
    }
    fit = [row for row, (outcome, _) in became.items() if outcome == PLANNED]
    errors = {row: first_line(error) for row, error in change.keep(work, fit).items()}
    write_marks(work, {**unfit, **dict.fromkeys(errors, FAILED)}, errors)
    return list(became)


def change_batch(work: Work, batch: list[str], pace: Pace, change: Change) -> Counter[str]:
    """Change the sessions of a batch that is begun; the number of its rows by outcome."""
    rows = work.plan.rows(upto=batch[-1])
    rows["_id"] = {"$gte": batch[0], "$lte": batch[-1]}
    # In one session the outcomes are read from what a majority has, this very merge included.
    with work.target.database.client.start_session() as session:
        read = states(work.target, rows, change.became(work.target), len(batch), APPLIED)
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
    errors = {row: first_line(failures[row]) for row in failures.keys() & final.keys()}
    if change.left == FAILED:
        errors |= dict.fromkeys(untouched - failures.keys(), NEVER_WRITTEN)
    marks = {row: outcome for row, outcome in final.items() if not became[row][1]}
    write_marks(work, marks, errors)
    return +Counter({APPLIED: len(batch) - len(final)}) + Counter(final.values())


States = dict[str, tuple[str, bool]]  # by row: its outcome, and whether that is a mark


def states(
    target: Target, rows: Document, became: Document, size: int, but: str = ""
) -> Callable[..., States]:
    """Asks for the outcomes of the first rows, marks first, else by the sessions themselves.

    Within a session of a client from what a majority has, else from what the primary has now.
    """
    pipeline: list[Document] = [
        {"$match": rows},
        {"$sort": {"_id": 1}},
        {"$limit": size},
        *found_session(target),
        {"$project": {"mark": "$outcome", "outcome": {"$ifNull": ["$outcome", became]}}},
        {"$match": {"outcome": {"$ne": but}}},
    ]

    def ask(session: ClientSession | None = None) -> States:
        journal = target.journal if session else target.latest_journal
        found = journal.aggregate(pipeline, session=session)
        return {row["_id"]: (row["outcome"], "mark" in row) for row in found}

    return ask


def write_marks(
    work: Work, marks: dict[str, str], errors: dict[str, str], kind: str = "outcome"
) -> None:
    """Mark rows that have no mark of the kind. Raises LeaseHeld when the lease is lost."""
    if not marks:
        return
    alike = defaultdict(list)
    for row, mark in marks.items():
        alike[mark, errors.get(row)].append(row)
    patiently(work.lease.renew)
    for (mark, error), rows in alike.items():
        told = {kind: mark} if error is None else {kind: mark, "error": error[:LONGEST]}
        patiently(mark_rows, work, rows, kind, told)
    patiently(work.lease.renew)  # else the server has let no mark pass


def mark_rows(work: Work, rows: list[str], kind: str, fields: Document) -> None:
    literal = {name: {"$literal": value} for name, value in fields.items()}
    written = {name: f"$$new.{name}" for name in (*fields, f"{kind}_at")}
    work.target.journal.aggregate(
        [
            {"$match": {"_id": {"$in": rows}, kind: {"$exists": False}}},
            *work.lease.while_held(),
            {"$project": {**literal, f"{kind}_at": "$$NOW"}},
            merge_into(work.target.settings.journal, [{"$set": written}]),
        ]
    )


def settle(work: Work, change: Change) -> None:
    """Write down what became of the batch that an interrupted process had begun.

    No session is written. Rows whose session has the result are marked ``applied``: it was not so
    when the batch began. What is still as planned is planned as before.
    """
    reach = Reach.of(work.run.read(), "progress")
    if reach.begun <= reach.after:
        return
    rows = {**work.plan.rows(reach.after, reach.begun), **UNMARKED}
    outcome = {"outcome": change.became(work.target), "outcome_at": "$$NOW"}
    fields = {name: f"$$new.{name}" for name in outcome}
    pipeline = [
        {"$match": rows},
        *found_session(work.target),
        *work.lease.while_held(),
        {"$project": outcome},
        {"$match": {"outcome": {"$ne": PLANNED}}},
        merge_into(work.target.settings.journal, [{"$set": fields}]),
    ]
    # As the primary has it, even if a majority does not yet: the marks come after it to all.
    journal = work.target.journal.with_options(read_concern=LATEST["read_concern"])
    patiently(journal.aggregate, pipeline)
    patiently(work.lease.renew)
    patiently(work.run.move, "progress", reach, Reach(reach.after, reach.after), {})


def found_session(target: Target) -> list[Document]:
    return [
        {
            "$lookup": {
                "from": target.settings.sessions,
                "localField": "plan.session.v",
                "foreignField": "_id",
                "as": "found",
            }
        },
        {"$set": {"found": {"$first": "$found"}}},
    ]


def merge_into(collection: str, when_matched: list[Document]) -> Document:
    return {
        "$merge": {
            "into": collection,
            "on": "_id",
            "whenMatched": when_matched,
            "whenNotMatched": "discard",
        }
    }


def merge_corrections(work: Work, batch: list[str], session: ClientSession) -> Failures:
    """Change the sessions that are still what the plan saw, while the lease is held."""
    guard = is_as_observed(work.target, "$$ROOT", "$$new.plan")
    result = corrected(work.target, "$$ROOT", "$$new.plan")
    return guarded_merge(work, batch, session, UNMARKED, guard, result)


def guarded_merge(
    work: Work,
    batch: list[str],
    session: ClientSession,
    rows: Document,
    guard: Document,
    document: Document,
) -> Failures:
    """Make each session the document where the guard is true, for such rows of the batch."""
    target = work.target
    replacement = {"$cond": [guard, document, "$$ROOT"]}
    merge = merge_into(target.settings.sessions, [{"$replaceWith": replacement}])

    def merge_part(part: list[str], seconds: float) -> None:
        in_part = {"_id": {"$gte": part[0], "$lte": part[-1]}}
        pipeline = [
            {"$match": {"$and": [in_part, rows]}},
            *work.lease.while_held(),
            {"$project": {"_id": "$plan.session.v", "plan": 1}},
            merge,
        ]
        work.lease.renew()
        with work.lease.merging():
            limit = int(seconds * 1000)
            target.latest_journal.aggregate(pipeline, session=session, maxTimeMS=limit)

    return in_parts(merge_part, batch)


def correction_became(target: Target) -> Document:
    return {
        "$switch": {
            "branches": [
                {"case": is_missing("$found"), "then": SKIPPED_GONE},
                {"case": is_result(target, "$found", "$plan"), "then": APPLIED},
                {"case": is_as_observed(target, "$found", "$plan"), "then": PLANNED},
            ],
            "default": CHANGED_MEANWHILE,
        }
    }


def keep_nothing(_: Work, __: list[str]) -> Failures:
    """A correction is undone by the plan itself."""
    return {}


CORRECTION = Change(keep_nothing, merge_corrections, correction_became, FAILED)
