"""Later: which sessions of a run another one wrote after it: they are not its own any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.mongo.runs import reached
from session_repair.mongo.store import Store
from session_repair.repair.journal import Plan

Document = dict[str, Any]


@dataclass(frozen=True)
class LaterRuns:
    """The documents of the runs that wrote after a run had begun to."""

    store: Store
    documents: tuple[Document, ...]

    @staticmethod
    def than(store: Store, document: Document) -> LaterRuns:
        """Those after the run with this document."""
        began = (document.get("progress") or {}).get("first_at")
        if began is None:
            return LaterRuns(store, ())
        same = {f"settings.{name}": document["settings"][name] for name in ("sessions", "journal")}
        wrote_since = {"verb": {"$exists": True}, "progress.last_at": {"$gt": began}}
        others = {"_id": {"$ne": document["_id"]}, **wrote_since, **same}
        wanted = ["progress.after", "undo.after", "attempt"]
        return LaterRuns(store, tuple(store.runs.find(others, wanted)))

    def overwrote(self, rows: Iterable[str], plan: Plan, session: ClientSession | None) -> set[str]:
        """The rows of the plan whose session a later run wrote, and has not put back itself."""
        if not self.documents:
            return set()
        keys = [row.removeprefix(plan.prefix) for row in rows]
        overwritten = set()
        for run in self.documents:
            prefix = Plan.of(run).prefix
            written = {"_id": {"$in": [f"{prefix}{key}" for key in keys]}, **stands(run)}
            found = self.store.journal.find(written, ["_id"], session=session)
            overwritten |= {f"{plan.prefix}{row['_id'].removeprefix(prefix)}" for row in found}
        return overwritten


def stands(run: Document) -> Document:
    """The filter of a run's rows whose session it wrote and did not put back: both left no mark."""
    is_written = {"_id": {"$lte": reached(run, "progress")}, "outcome": {"$exists": False}}
    is_kept = {"$or": [{"_id": {"$gt": reached(run, "undo")}}, {"undo": {"$exists": True}}]}
    return {"$and": [is_written, is_kept]}
