"""Past: the rows that a run applied, and what their undoing would find, as stages of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from session_repair.mongo.expressions import is_as_left, is_missing, is_present, is_restored
from session_repair.mongo.runs import UNDONE, Reach, Run
from session_repair.mongo.store import Store
from session_repair.repair.journal import Plan
from session_repair.repair.outcomes import APPLIED, CHANGED_MEANWHILE
from session_repair.repair.rows import Change, found_session
from session_repair.verbs import DELETE_ORPHANS

Document = dict[str, Any]

RESTORABLE, RESTORED, CHANGED, GONE = "restorable", "restored", "changed since", "gone since"
WRITTEN_LATER, REFUSED = "written by a later run", "refused by MongoDB"
LEFT_ALONE = (CHANGED, GONE, WRITTEN_LATER, REFUSED)


@dataclass(frozen=True)
class Past:
    """What is to be undone: the rows of a run, how far they were written, who wrote later."""

    store: Store
    plan: Plan
    is_deletion: bool
    applied: Reach
    undone: Reach
    change: Change
    later: tuple[Document, ...]  # runs that may have written after it began to write

    @staticmethod
    def of(store: Store, document: Document, change: Change) -> Past:
        """That of a run's document."""
        run = Run(store.runs, document["_id"])
        return Past(
            store,
            Plan.of(document),
            document["verb"] == DELETE_ORPHANS,
            Reach.of(document, "progress"),
            Reach.of(document, "undo"),
            change,
            tuple(later_runs(run, document)),
        )

    def was_applied(self) -> Document:
        """The run changed the session, whether or not it came to write that down."""
        is_unmarked = is_missing("$outcome")
        result = {"$eq": [self.change.became(self.store), APPLIED]}
        begun = {"$and": [{"$lte": ["$_id", self.applied.begun]}, result]}
        ended = {"$lte": ["$_id", self.applied.after]}
        unmarked = {"$and": [is_unmarked, {"$or": [ended, begun]}]}
        return {"$or": [{"$eq": ["$outcome", APPLIED]}, unmarked]}

    def rows_with_state(self, rows: Document) -> list[Document]:
        """Stages to the applied rows among the rows, each with its ``state``."""
        ended = {"$lte": ["$_id", self.undone.after]}
        branches = [
            {"case": is_present("$undo"), "then": "$undo"},
            {"case": ended, "then": RESTORED},
            {"case": self.is_written_later(), "then": WRITTEN_LATER},
        ]
        state = {"$switch": {"branches": [*branches, *self.by_session()], "default": CHANGED}}
        return [
            {"$match": rows},
            {"$sort": {"_id": 1}},
            *found_session(self.store),
            {"$match": {"$expr": self.was_applied()}},
            *self.rows_of_later_runs(),
            {"$set": {"state": state}},
        ]

    def by_session(self) -> list[Document]:
        """Branches by what stands in the place of the session."""
        if self.is_deletion:
            return [
                {"case": is_missing("$found"), "then": RESTORABLE},
                {"case": {"$eq": ["$found", "$before"]}, "then": RESTORED},
            ]
        return [
            {"case": is_missing("$found"), "then": GONE},
            {"case": is_as_left(self.store, "$found", "$plan"), "then": RESTORABLE},
            {"case": is_restored(self.store, "$found", "$plan"), "then": RESTORED},
        ]

    def rows_of_later_runs(self) -> list[Document]:
        """Stages that find the rows of later runs for the same session, by their _ids."""
        if not self.later:
            return []
        head = len(self.plan.prefix.encode())
        key = {"$substrBytes": ["$_id", head, -1]}
        others = [{"$concat": [prefix_of(run), key]} for run in self.later]
        lookup = {
            "from": self.store.settings.journal,
            "localField": "others",
            "foreignField": "_id",
            "as": "others",
        }
        return [{"$set": {"others": others}}, {"$lookup": lookup}]

    def is_written_later(self) -> Document | bool:
        """A later run wrote the session, or may have, and has not put it back itself."""
        written = []
        for run in self.later:
            is_of_run = {"$eq": ["$$other.run_id", run["_id"]]}
            is_ended = {"$lte": ["$$other._id", Reach.of(run, "progress").begun]}
            is_unmarked = {"$and": [is_missing("$$other.outcome"), is_ended]}
            is_marked = {"$in": ["$$other.outcome", [APPLIED, CHANGED_MEANWHILE]]}
            is_undone: Any = {"$eq": [{"$ifNull": ["$$other.undo", RESTORED]}, RESTORED]}
            stands = {"$not": is_undone} if run["state"] == UNDONE else True
            written.append({"$and": [is_of_run, {"$or": [is_marked, is_unmarked]}, stands]})
        if not written:
            return False
        found = {"input": "$others", "as": "other", "cond": {"$or": written}}
        return {"$ne": [{"$filter": found}, []]}


def prefix_of(run: Document) -> str:
    """What a row's _id has before that of the session, in any format."""
    return Plan.of(run).prefix if "attempt" in run else f"{run['_id']}:"


def later_runs(run: Run, document: Document) -> list[Document]:
    """The documents of the other runs that may have written after this one began to."""
    began = (document.get("progress") or {}).get("first_at")
    if began is None:
        return []
    older_format = {"journal_format": {"$exists": False}, "updated_at": {"$gt": began}}
    wrote_since = {"$or": [{"progress.last_at": {"$gt": began}}, older_format]}
    same = {f"settings.{name}": document["settings"][name] for name in ("sessions", "journal")}
    others = {"_id": {"$ne": run.run_id}, "verb": {"$exists": True}, **same, **wrote_since}
    return list(run.collection.find(others, {"progress": 1, "state": 1, "attempt": 1}))
