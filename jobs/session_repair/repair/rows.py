"""Rows: a plan's rows beside their sessions, and what is done with some of them.

A row's outcome is its mark, else what its session says. Marks and merges pass the server only
while the lease is held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.errors import LONGEST
from session_repair.mongo.lease import Lease
from session_repair.mongo.merge import merge_into
from session_repair.mongo.runs import Reach, Run
from session_repair.mongo.store import LATEST, Store
from session_repair.repair.journal import Plan
from session_repair.repair.retry import Failures, in_parts, patiently

Document = dict[str, Any]

PLANNED = "planned"  # stands for a row whose session is as the plan saw it
UNMARKED: Document = {"outcome": {"$exists": False}}


@dataclass(frozen=True)
class Work:
    """A run that is to be carried out or undone, and the right to do so."""

    store: Store
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
    became: Callable[[Store], Document]
    left: str


def found_session(store: Store) -> list[Document]:
    return [
        {
            "$lookup": {
                "from": store.settings.sessions,
                "localField": "plan.session.v",
                "foreignField": "_id",
                "as": "found",
            }
        },
        {"$set": {"found": {"$first": "$found"}}},
    ]


States = dict[str, tuple[str, bool]]  # by row: its outcome, and whether that is a mark


def states(
    store: Store, rows: Document, became: Document, size: int, but: str = ""
) -> Callable[..., States]:
    """Asks for the outcomes of the first rows, marks first, else by the sessions themselves.

    Within a session of a client from what a majority has, else from what the primary has now.
    """
    pipeline: list[Document] = [
        {"$match": rows},
        {"$sort": {"_id": 1}},
        {"$limit": size},
        *found_session(store),
        {"$project": {"mark": "$outcome", "outcome": {"$ifNull": ["$outcome", became]}}},
        {"$match": {"outcome": {"$ne": but}}},
    ]

    def ask(session: ClientSession | None = None) -> States:
        journal = store.journal if session else store.latest_journal
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
    work.store.journal.aggregate(
        [
            {"$match": {"_id": {"$in": rows}, kind: {"$exists": False}}},
            *work.lease.while_held(),
            {"$project": {**literal, f"{kind}_at": "$$NOW"}},
            merge_into(work.store.settings.journal, [{"$set": written}]),
        ]
    )


def guarded_merge(
    work: Work,
    batch: list[str],
    session: ClientSession,
    rows: Document,
    guard: Document,
    document: Document,
) -> Failures:
    """Make each session the document where the guard is true, for such rows of the batch."""
    target = work.store
    replacement = {"$cond": [guard, document, "$$ROOT"]}
    merge = merge_into(target.settings.sessions, [{"$replaceWith": replacement}])

    def merge_part(part: list[str], seconds: float) -> None:
        in_part: Document = {"$gte": part[0], "$lte": part[-1]} if part else {"$in": []}
        pipeline = [
            {"$match": {"$and": [{"_id": in_part}, rows]}},
            *work.lease.while_held(),
            {"$project": {"_id": "$plan.session.v", "plan": 1}},
            merge,
        ]
        work.lease.renew()
        with work.lease.merging():
            limit = int(seconds * 1000)
            target.latest_journal.aggregate(pipeline, session=session, maxTimeMS=limit)

    return in_parts(merge_part, batch)


def settle(work: Work, change: Change) -> None:
    """Write down what became of the batch that an interrupted process had begun.

    No session is written. Rows whose session has the result are marked ``applied``: it was not so
    when the batch began. What is still as planned is planned as before.
    """
    reach = Reach.of(work.run.read(), "progress")
    if reach.begun <= reach.after:
        return
    rows = {**work.plan.rows(reach.after, reach.begun), **UNMARKED}
    outcome = {"outcome": change.became(work.store), "outcome_at": "$$NOW"}
    fields = {name: f"$$new.{name}" for name in outcome}
    pipeline = [
        {"$match": rows},
        *found_session(work.store),
        *work.lease.while_held(),
        {"$project": outcome},
        {"$match": {"outcome": {"$ne": PLANNED}}},
        merge_into(work.store.settings.journal, [{"$set": fields}]),
    ]
    # As the primary has it, even if a majority does not yet: the marks come after it to all.
    journal = work.store.journal.with_options(read_concern=LATEST["read_concern"])
    patiently(journal.aggregate, pipeline)
    patiently(work.lease.renew)
    patiently(work.run.move, "progress", reach, Reach(reach.after, reach.after), {})
