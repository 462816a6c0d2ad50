"""Later: which sessions of a run another one wrote after it: they are not its own any more.

Two runs that overlap in time are each the later one for some sessions. Of one session it is the one
whose plan observed what the other left; where neither plan tells, both leave it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.mongo.runs import reached
from session_repair.mongo.store import Store
from session_repair.repair.compare import PlannedSession
from session_repair.repair.journal import Plan, Row, read_rows
from session_repair.settings import describe

Document = dict[str, Any]

OF_FIELDS = ("session_fields", "aggregates")  # the settings that say what a plan observes


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
        names = [f"settings.{name}" for name in OF_FIELDS]
        wanted = ["progress.after", "undo.after", "attempt", *names]
        return LaterRuns(store, tuple(store.runs.find(others, wanted)))

    def overwrote(self, rows: Iterable[Row], plan: Plan, session: ClientSession | None) -> set[str]:
        """The rows of the plan whose session a later run wrote, and has not put back itself."""
        by_session = {row.id.removeprefix(plan.prefix): row for row in rows}
        overwritten = set()
        for run in self.documents:
            prefix = Plan.of(run).prefix
            written = {"_id": {"$in": [f"{prefix}{key}" for key in by_session]}, **stands(run)}
            for other in read_rows(self.store, written, ["plan"], session=session):
                mine = by_session[other.id.removeprefix(prefix)]
                if not (self.is_alike(run) and observed(mine.planned, other.planned)):
                    overwritten.add(mine.id)
        return overwritten

    def is_alike(self, run: Document) -> bool:
        """Whether its plan says what it observed under the names of fields that are ours too."""
        ours = describe(self.store.settings)
        return all(run["settings"].get(name) == ours[name] for name in OF_FIELDS)


def observed(mine: PlannedSession, other: PlannedSession) -> bool:
    """Whether a plan saw a session as the other run left it, and that one not as it was left."""
    is_later = b"new" in other.members and mine.as_observed == other.as_left
    return is_later and other.as_observed != mine.as_left


def stands(run: Document) -> Document:
    """The filter of a run's rows whose session it wrote and did not put back: both left no mark."""
    is_written = {"_id": {"$lte": reached(run, "progress")}, "outcome": {"$exists": False}}
    is_kept = {"$or": [{"_id": {"$gt": reached(run, "undo")}}, {"undo": {"$exists": True}}]}
    return {"$and": [is_written, is_kept]}
