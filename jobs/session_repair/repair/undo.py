"""Undo: put back whole documents as the journal kept them, where the run's result still stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from session_repair.mongo.expressions import is_missing, is_result, with_new_fields
from session_repair.mongo.lease import Lease
from session_repair.mongo.target import Target
from session_repair.repair.apply import (
    APPLIED,
    found_session,
    merge_into,
    patiently,
    rows_of,
    while_held,
)
from session_repair.repair.delete import insert_absent, kept_rows
from session_repair.repair.journal import of_run
from session_repair.repair.report import LONGEST

Document = dict[str, Any]

RESTORABLE, RESTORED, CHANGED, GONE = "restorable", "restored", "changed since", "gone since"
LISTED = 20  # sessions that cannot be restored, by name


@dataclass(frozen=True)
class UndoReport:
    """The applied rows of a run by what their undoing finds; some that cannot be restored."""

    run_id: str
    counts: dict[str, int]
    left_alone: tuple[tuple[str, str], ...]  # session_id, why

    @property
    def is_whole(self) -> bool:
        """Nothing of the run stands any more; asked after an undo."""
        return not any(self.counts.get(state, 0) for state in (RESTORABLE, CHANGED, GONE))


def survey_undo(target: Target, run_id: str) -> UndoReport:
    """What an undo would do, and after one, what it did. Writes nothing."""
    counts: Counter[str] = Counter()
    left_alone: list[tuple[str, str]] = []
    name = {"$substrCP": ["$plan.session_id", 0, LONGEST]}
    groups = target.journal.aggregate(
        [
            {"$match": {**of_run(run_id), "outcome": {"$in": [APPLIED, None]}}},
            *found_session(target),
            {"$match": {"$expr": {"$or": [{"$eq": ["$outcome", APPLIED]}, was_changed(target)]}}},
            {
                "$group": {
                    "_id": state(target),
                    "rows": {"$sum": 1},
                    "some": {"$firstN": {"input": name, "n": LISTED}},
                }
            },
        ],
        allowDiskUse=True,
    )
    for group in groups:
        counts[group["_id"]] = group["rows"]
        if group["_id"] in (CHANGED, GONE):
            left_alone += [(session_id, group["_id"]) for session_id in group["some"]]
    return UndoReport(run_id, dict(counts), tuple(left_alone[:LISTED]))


def state(target: Target) -> Document:
    """What became of the run's result: it still stands, was undone, was changed, is gone."""
    is_deletion = {"$eq": ["$plan.delete", True]}
    result = with_new_fields(target, "$before", "$$ROOT")
    return {
        "$switch": {
            "branches": [
                {"case": {"$and": [is_missing("$found"), is_deletion]}, "then": RESTORABLE},
                {"case": is_missing("$found"), "then": GONE},
                {"case": {"$eq": ["$found", "$before"]}, "then": RESTORED},
                {
                    "case": {"$and": [{"$not": is_deletion}, {"$eq": ["$found", result]}]},
                    "then": RESTORABLE,
                },
            ],
            "default": CHANGED,
        }
    }


def was_changed(target: Target) -> Document:
    """The run changed or deleted the session, whether or not it came to write that down."""
    is_deletion = {"$eq": ["$plan.delete", True]}
    is_done = {"$cond": [is_deletion, is_missing("$found"), is_result(target)]}
    return {"$and": [{"$not": is_missing("$before")}, is_done]}


def decide_interrupted(target: Target, run_id: str, lease: Lease) -> None:
    """Write down as applied what a batch did that broke off before its outcomes were written."""
    lease.renew()
    target.journal.aggregate(
        [
            {"$match": {**of_run(run_id), "outcome": {"$exists": False}}},
            *found_session(target),
            {"$match": {"$expr": was_changed(target)}},
            {"$project": {"outcome": {"$literal": APPLIED}, "decided_at": "$$NOW"}},
            merge_into(
                target.settings.journal,
                [{"$set": {"outcome": "$$new.outcome", "decided_at": "$$new.decided_at"}}],
            ),
        ]
    )


def undo_run(target: Target, run_id: str, lease: Lease) -> UndoReport:
    """Restore every document that still equals the run's result; the rest is left alone."""
    patiently(decide_interrupted, target, run_id, lease)
    after = ""
    while batch := patiently(next_applied, target, run_id, after):
        patiently(undo_batch, target, lease, batch)
        after = batch[-1]
    return survey_undo(target, run_id)


def next_applied(target: Target, run_id: str, after: str) -> list[str]:
    rest = {**of_run(run_id), "outcome": APPLIED}
    if after:
        rest["_id"]["$gt"] = after
    rows = target.journal.find(rest, {"_id": 1}).sort("_id", 1).limit(target.settings.batch_size)
    return [row["_id"] for row in rows]


def undo_batch(target: Target, lease: Lease, batch: list[str]) -> None:
    """Merge the kept documents over those that were corrected, insert those that were deleted."""
    lease.renew()
    selected = {**rows_of(batch), "outcome": APPLIED}
    result = with_new_fields(target, "$$new.before", "$$new")
    unchanged = {"$cond": [{"$eq": ["$$ROOT", result]}, "$$new.before", "$$ROOT"]}
    target.journal.aggregate(
        [
            {"$match": {**selected, "plan.delete": {"$ne": True}}},
            *while_held(lease),
            {"$project": {"_id": "$plan.session.v", "plan": 1, "before": 1}},
            merge_into(target.settings.sessions, [{"$replaceWith": unchanged}]),
        ]
    )
    insert_absent(target, kept_rows(target, {**selected, "plan.delete": True}))
    lease.renew()
