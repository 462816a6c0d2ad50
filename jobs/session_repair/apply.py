"""Apply: batch by batch, let the server merge the journal into the sessions, compare-and-set.

Each batch is three commands that the server runs alone: keep the whole document as it is, change
it only if it is still that document with the observed values, write down what became of it. Each
of them may run again without harm, so a batch that broke off is simply repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from session_repair.journal import STORED_NAMES, of_run
from session_repair.runs import Lease, Run
from session_repair.settings import Settings

Document = dict[str, Any]
Progress = Callable[[int], None]

APPLIED, CHANGED, GONE, FAILED = "applied", "skipped_changed", "skipped_gone", "failed"
OUTCOMES = (APPLIED, CHANGED, GONE, FAILED)


@dataclass(frozen=True)
class Target:
    """Where a run reads its plan and writes its corrections."""

    database: Database[Document]
    settings: Settings

    @property
    def journal(self) -> Any:
        return self.database[self.settings.journal]

    def path(self, name: str) -> str:
        return self.settings.session_fields[name]


def apply_run(target: Target, run: Run, lease: Lease, on_progress: Progress) -> Counter[str]:
    """Apply every row of the run's plan that has no outcome yet; the counts of all outcomes."""
    done = run.read()["progress"]
    counts, after = Counter(done["counts"]), done["after"]
    while batch := next_batch(target, run.run_id, after):
        outcomes = apply_batch(target, lease, batch)
        run.advance(after, batch[-1], outcomes)
        counts.update(outcomes)
        after = batch[-1]
        on_progress(sum(counts.values()))
    return counts


def next_batch(target: Target, run_id: str, after: str) -> list[str]:
    """The _ids of the next rows, in their order."""
    rest = of_run(run_id)
    if after:
        rest["_id"]["$gt"] = after
    rows = target.journal.find(rest, {"_id": 1}).sort("_id", 1).limit(target.settings.batch_size)
    return [row["_id"] for row in rows]


def apply_batch(target: Target, lease: Lease, batch: list[str]) -> Counter[str]:
    """Capture, merge, record; the number of rows by outcome."""
    lease.renew()
    for step in (capture_stages(target), merge_stages(target, lease)):
        run_split(target, batch, step)
    lease.renew()  # the merge did nothing if the lease was lost: then no outcome may be written
    target.journal.aggregate([{"$match": undecided(batch)}, *outcome_stages(target)])
    by_outcome = target.journal.aggregate(
        [{"$match": rows_of(batch)}, {"$group": {"_id": "$outcome", "rows": {"$sum": 1}}}]
    )
    return Counter({group["_id"]: group["rows"] for group in by_outcome})


def run_split(target: Target, batch: list[str], stages: list[Document]) -> None:
    """Run the stages over the batch; split it until the row that breaks them stands alone."""
    try:
        target.journal.aggregate([{"$match": undecided(batch)}, *stages])
    except OperationFailure as error:
        if error.has_error_label("RetryableWriteError") or error.code in NOT_OF_A_ROW:
            raise
        if len(batch) == 1:
            failure = {"outcome": FAILED, "error": str(error)[:500]}
            target.journal.update_one({"_id": batch[0]}, {"$set": failure})
            return
        half = len(batch) // 2
        run_split(target, batch[:half], stages)
        run_split(target, batch[half:], stages)


# Rights, missing namespaces and interruptions concern the whole run, not one document.
NOT_OF_A_ROW = {13, 18, 26, 50, 91, 189, 262, 11600, 11602, 10107, 13435, 13436}


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


def merge_stages(target: Target, lease: Lease) -> list[Document]:
    """Change the sessions that are still what the plan saw, while the lease is held."""
    held = {"from": lease.collection.name, "pipeline": [{"$match": lease.current()}], "as": "held"}
    return [
        {"$match": {"before": {"$exists": True}}},
        {"$lookup": held},
        {"$match": {"held": {"$ne": []}}},
        {"$project": {"_id": "$plan.session.v", "plan": 1, "before": 1}},
        merge_into(
            target.settings.sessions,
            [
                {
                    "$replaceWith": {
                        "$cond": [is_as_planned(target, "$$new"), with_new_fields(target), "$$ROOT"]
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


def is_as_planned(target: Target, row: str) -> Document:
    """The document is the one that was kept, and its fields are what the plan observed."""
    same = [{"$eq": ["$$ROOT", f"{row}.before"]}]
    for name in STORED_NAMES.values():
        same.append({"$eq": [f"${target.path(name)}", f"{row}.plan.observed.{name}"]})
    return {"$and": same}


def with_new_fields(target: Target) -> Document:
    """The document with the planned fields in place, nested ones inside their parents."""
    tree: Document = {}
    for name in STORED_NAMES.values():
        *parents, leaf = target.path(name).split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = name
    return merged_tree(tree, "$$ROOT", "")


def merged_tree(tree: Document, document: str, prefix: str) -> Document:
    fields: Document = {}
    for key, name in tree.items():
        path = f"{prefix}{key}"
        if isinstance(name, dict):
            fields[key] = merged_tree(name, f"${path}", f"{path}.")
        else:
            new = f"$$new.plan.new.{name}"
            fields[key] = {"$cond": [{"$eq": [{"$type": new}, "missing"]}, f"${path}", new]}
    return {"$mergeObjects": [document, fields]}


def outcome_stages(target: Target) -> list[Document]:
    """Compare each session with the plan's result, and write the outcome into the journal."""
    outcome = {
        "$switch": {
            "branches": [
                {"case": {"$eq": [{"$type": "$found"}, "missing"]}, "then": GONE},
                {"case": is_result(target), "then": APPLIED},
                {"case": is_untouched(target), "then": FAILED},
            ],
            "default": CHANGED,
        }
    }
    return [
        *found_session(target),
        {"$project": {"outcome": outcome, "decided_at": "$$NOW"}},
        merge_into(
            target.settings.journal,
            [{"$set": {"outcome": "$$new.outcome", "decided_at": "$$new.decided_at"}}],
        ),
    ]


def is_untouched(target: Target) -> Document:
    """The session found could have been changed and was not."""
    same = [{"$eq": ["$found", "$before"]}]
    for name in STORED_NAMES.values():
        same.append({"$eq": [f"$found.{target.path(name)}", f"$plan.observed.{name}"]})
    return {"$and": same}


def is_result(target: Target) -> Document:
    """Every planned field of the session found has its planned value."""
    return {
        "$and": [
            {
                "$or": [
                    {"$eq": [{"$type": f"$plan.new.{name}"}, "missing"]},
                    {"$eq": [f"$found.{target.path(name)}", f"$plan.new.{name}"]},
                ]
            }
            for name in STORED_NAMES.values()
        ]
    }


def read_back(target: Target, run_id: str) -> Counter[str]:
    """Read every corrected session again: as planned, put back to what it was, moved on, gone."""
    state = {
        "$switch": {
            "branches": [
                {"case": {"$eq": [{"$type": "$found"}, "missing"]}, "then": "gone"},
                {"case": is_result(target), "then": "as_planned"},
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
