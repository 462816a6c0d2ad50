"""Apply: batch by batch, let the server merge the journal into the sessions, compare-and-set.

Each batch is three commands that the server runs alone: keep the whole document as it is, change
it only if it is still that document with the observed values, write down what became of it. Each
of them may run again without harm, so a batch that broke off is simply repeated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pymongo.errors import ConnectionFailure, OperationFailure

from session_repair.mongo.connection import first_line
from session_repair.mongo.expressions import (
    is_as_planned,
    is_missing,
    is_result,
    is_untouched,
    with_new_fields,
)
from session_repair.mongo.lease import Lease
from session_repair.mongo.runs import Run
from session_repair.mongo.target import Target
from session_repair.mongo.throttle import Pace
from session_repair.repair.journal import of_run

Document = dict[str, Any]
Progress = Callable[[int], None]
Result = TypeVar("Result")

ELECTION_TIME = 45.0  # seconds; a default election takes up to 12, a paused primary 20 more
RETRY_PAUSE = 0.5
# Not primary, shutting down, interrupted by a step-down: the command may be sent again.
FAILOVER_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436})
# Validation failed, duplicate key, larger than 16 MB, a value that an expression or an index cannot
# take: such an error is the fault of one document. All others concern the whole run.
ONE_DOCUMENT_CODES = frozenset({2, 14, 121, 10334, 11000, 16493, 17280, 17419, 17420, 40400, 17})

APPLIED, CHANGED, GONE, FAILED = "applied", "skipped_changed", "skipped_gone", "failed"
OUTCOMES = (APPLIED, CHANGED, GONE, FAILED)


@dataclass(frozen=True)
class Change:
    """What a run does to its sessions: how a batch is changed, and how its outcome is told."""

    make: Callable[[Target, Lease, list[str]], None]
    outcomes: Callable[[Target], list[Document]]


def apply_run(
    target: Target, run: Run, lease: Lease, pace: Pace, change: Change, on_progress: Progress
) -> Counter[str]:
    """Change every row of the run's plan that has no outcome yet; the counts of all outcomes.

    A batch that a lost connection broke off is repeated: each of its steps may run again.
    """
    done = run.read()["progress"]
    counts, after, number = Counter(done["counts"]), done["after"], done.get("batches", 0)
    while batch := patiently(next_batch, target, run.run_id, after, pace.batch_size):
        patiently(pace.before_batch, run.run_id)
        began = time.monotonic()
        outcomes = patiently(apply_batch, target, lease, batch, change, number)
        patiently(run.advance, after, batch[-1], outcomes)
        pace.after_batch(time.monotonic() - began)
        counts.update(outcomes)
        after, number = batch[-1], number + 1
        on_progress(sum(counts.values()))
    return counts


def patiently(step: Callable[..., Result], *arguments: Any) -> Result:
    """The step's result; while an election or a cut keeps MongoDB away, try again."""
    deadline = time.monotonic() + ELECTION_TIME
    while True:
        try:
            return step(*arguments)
        except ConnectionFailure:
            if time.monotonic() > deadline:
                raise
        except OperationFailure as error:
            if error.code not in FAILOVER_CODES or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_PAUSE)


def next_batch(target: Target, run_id: str, after: str, size: int) -> list[str]:
    """The _ids of the next rows, in their order."""
    rest = of_run(run_id)
    if after:
        rest["_id"]["$gt"] = after
    rows = target.journal.find(rest, {"_id": 1}).sort("_id", 1).limit(size)
    return [row["_id"] for row in rows]


def apply_batch(
    target: Target, lease: Lease, batch: list[str], change: Change, number: int
) -> Counter[str]:
    """Capture, change, record; the number of rows by outcome."""
    lease.renew()
    run_split(target, batch, capture_stages(target))
    change.make(target, lease, batch)
    lease.renew()  # nothing was changed if the lease was lost: then no outcome may be written
    target.journal.aggregate(
        [{"$match": undecided(batch)}, *outcome_stages(target, change, number)]
    )
    by_outcome = target.journal.aggregate(
        [{"$match": rows_of(batch)}, {"$group": {"_id": "$outcome", "rows": {"$sum": 1}}}]
    )
    return Counter({group["_id"]: group["rows"] for group in by_outcome})


def merge_corrections(target: Target, lease: Lease, batch: list[str]) -> None:
    run_split(target, batch, merge_stages(target, lease))


def run_split(target: Target, batch: list[str], stages: list[Document]) -> None:
    """Run the stages over the batch; split it until the row that breaks them stands alone."""
    try:
        target.journal.aggregate([{"$match": undecided(batch)}, *stages])
    except OperationFailure as error:
        if error.code not in ONE_DOCUMENT_CODES:
            raise
        if len(batch) == 1:
            failure = {"error": first_line(error)[:500]}  # its outcome is told by the document
            target.journal.update_one({"_id": batch[0]}, {"$set": failure})
            return
        half = len(batch) // 2
        run_split(target, batch[:half], stages)
        run_split(target, batch[half:], stages)


def rows_of(batch: list[str]) -> Document:
    return {"_id": {"$gte": batch[0], "$lte": batch[-1]}}


def undecided(batch: list[str]) -> Document:
    return {**rows_of(batch), "outcome": {"$exists": False}}


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


def capture_stages(target: Target) -> list[Document]:
    """Keep the whole document in the journal, once, before the first attempt to change it."""
    return [
        {"$match": {"before": {"$exists": False}}},
        *found_session(target),
        {"$match": {"found": {"$exists": True}}},
        {"$project": {"before": "$found"}},
        merge_into(
            target.settings.journal,
            [{"$set": {"before": {"$ifNull": ["$before", "$$new.before"]}}}],
        ),
    ]


def while_held(lease: Lease) -> list[Document]:
    """Stages that let the rows pass only while the lease is held, by the server's own clock."""
    held = {"from": lease.collection.name, "pipeline": [{"$match": lease.current()}], "as": "held"}
    return [{"$lookup": held}, {"$match": {"held": {"$ne": []}}}]


def merge_stages(target: Target, lease: Lease) -> list[Document]:
    """Change the sessions that are still what the plan saw, while the lease is held."""
    return [
        {"$match": {"before": {"$exists": True}}},
        *while_held(lease),
        {"$project": {"_id": "$plan.session.v", "plan": 1, "before": 1}},
        merge_into(
            target.settings.sessions,
            [
                {
                    "$replaceWith": {
                        "$cond": [
                            is_as_planned(target, "$$new"),
                            with_new_fields(target, "$$ROOT", "$$new"),
                            "$$ROOT",
                        ]
                    }
                }
            ],
        ),
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


def outcome_stages(target: Target, change: Change, number: int) -> list[Document]:
    """Compare each session with the plan's result, and write the outcome into the journal."""
    outcome = {"$switch": {"branches": change.outcomes(target), "default": CHANGED}}
    return [
        *found_session(target),
        {"$project": {"outcome": outcome, "decided_at": "$$NOW", "batch": {"$literal": number}}},
        merge_into(
            target.settings.journal,
            [
                {
                    "$set": {
                        "outcome": "$$new.outcome",
                        "decided_at": "$$new.decided_at",
                        "batch": "$$new.batch",
                    }
                }
            ],
        ),
    ]


def correction_outcomes(target: Target) -> list[Document]:
    return [
        {"case": is_missing("$found"), "then": GONE},
        {"case": is_result(target), "then": APPLIED},
        {"case": {"$or": [has_error(), is_untouched(target)]}, "then": FAILED},
    ]


def has_error() -> Document:
    return {"$not": is_missing("$error")}


def read_back(target: Target, run_id: str, change: Change) -> Counter[str]:
    """Read every changed session again: as planned, put back to what it was, moved on, gone."""
    as_planned = next(it["case"] for it in change.outcomes(target) if it["then"] == APPLIED)
    state = {
        "$switch": {
            "branches": [
                {"case": as_planned, "then": "as_planned"},
                {"case": is_missing("$found"), "then": "gone"},
                {"case": {"$eq": ["$found", "$before"]}, "then": "put_back"},
            ],
            "default": "moved_on",
        }
    }
    groups = target.journal.aggregate(
        [
            {"$match": {**of_run(run_id), "outcome": APPLIED}},
            *found_session(target),
            {"$group": {"_id": state, "rows": {"$sum": 1}}},
        ]
    )
    return Counter({group["_id"]: group["rows"] for group in groups})


def outcome_counts(target: Target, run_id: str) -> Counter[str]:
    """The rows of the run by outcome, counted in the journal itself."""
    groups: Iterable[Document] = target.journal.aggregate(
        [
            {"$match": of_run(run_id)},
            {"$group": {"_id": {"$ifNull": ["$outcome", "planned"]}, "rows": {"$sum": 1}}},
        ]
    )
    return Counter({group["_id"]: group["rows"] for group in groups})


CORRECTION = Change(merge_corrections, correction_outcomes)
