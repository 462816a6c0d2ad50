"""Read back: ask the database, after the write, what is there now."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument

from session_repair.errors import RepairError, shortened
from session_repair.home import COMMAND
from session_repair.mongo.census import empty_sessions
from session_repair.mongo.expressions import is_as_observed, is_missing
from session_repair.mongo.runs import Reach
from session_repair.mongo.store import Store
from session_repair.repair.journal import Plan, Seal, raw_rows
from session_repair.repair.outcomes import APPLIED, OUTCOMES, WHY, Outcomes
from session_repair.repair.report import Left, Verification
from session_repair.repair.rows import PLANNED, Change, found_session

Document = dict[str, Any]

LISTED = 20  # sessions of each outcome, by name


@dataclass(frozen=True)
class Account:
    """What the journal says of a run that has ended: its outcomes, some sessions of each."""

    outcomes: Outcomes
    left: tuple[Left, ...]


def account_for(store: Store, document: Document) -> Account:
    """Read the whole journal of a run again.

    Raises Refused when the plan is not the one that was sealed, RepairError when its rows and
    marks are not what the run's document says.
    """
    plan, after = Plan.of(document), Reach.of(document, "progress").after
    seal = Seal(store.settings, plan)
    counts: Counter[str] = Counter()
    left: dict[str, list[Left]] = defaultdict(list)
    for row in raw_rows(store, plan, ["plan", "outcome", "error"]):
        seal.add(row)
        outcome = row.get("outcome", APPLIED if row["_id"] <= after else PLANNED)
        counts[outcome] += 1
        if outcome in WHY and len(left[outcome]) < LISTED:
            left[outcome].append(Left(name_in(row["plan"]), outcome, row.get("error")))
    is_whole = seal.digest(document["planned"]) == document["digest"]
    if not is_whole or counts != Counter(document["progress"]["counts"]):
        raise RepairError(
            f"run {plan.run_id} counted {document['progress']['counts']} while it wrote, but its "
            f"journal now holds {dict(counts)}{'' if is_whole else ', and an edited plan'}. "
            f"Look at it with: {COMMAND} runs {plan.run_id}"
        )
    outcomes = Outcomes(planned=document["planned"], **{name: counts[name] for name in OUTCOMES})
    return Account(outcomes, tuple(it for name in WHY for it in left[name]))


def name_in(plan: RawBSONDocument) -> str | None:
    session_id: str | None = plan.get("session_id")
    return None if session_id is None else shortened(session_id)


def verify_sessions(
    store: Store, document: Document, change: Change, is_of_all: bool
) -> Verification:
    """The corrected sessions read again; and, by scans, totals of all sessions where asked for."""
    sessions = store.sessions
    filled, empty = {store.path("event_count"): {"$gt": 0}}, empty_sessions(store.settings)
    again = read_back(store, document, change)
    count = sessions.count_documents
    return Verification(
        sessions=count({}) if is_of_all else sessions.estimated_document_count(),
        with_events=count(filled) if is_of_all else None,
        empty_remaining=count(empty) if is_of_all else None,
        as_planned=again["as_planned"],
        put_back=again["put_back"],
        moved_on=again["moved_on"],
        gone=again["gone"],
    )


def read_back(store: Store, document: Document, change: Change) -> Counter[str]:
    """Read every changed session again: as planned, put back to what it was, moved on, gone."""
    counted = {"$group": {"_id": "$state", "rows": {"$sum": 1}}}
    groups = store.journal.aggregate([*states_again(store, document, change), counted])
    return Counter({group["_id"]: group["rows"] for group in groups})


def moved_on(store: Store, document: Document, change: Change, most: int) -> tuple[str, ...]:
    """The session ids of changed sessions that moved on since, up to so many."""
    stages = [
        *states_again(store, document, change),
        {"$match": {"state": "moved_on"}},
        {"$limit": most},
    ]
    return tuple(row["session_id"] for row in store.journal.aggregate(stages))


def states_again(store: Store, document: Document, change: Change) -> list[Document]:
    """Stages that tell of each changed session its ``session_id`` and its ``state``."""
    is_deletion = {"$eq": ["$plan.delete", True]}
    is_kept = {"$and": [is_deletion, {"$eq": ["$found", "$before"]}]}
    is_before = {"$and": [{"$not": is_deletion}, is_as_observed(store, "$found", "$plan")]}
    state = {
        "$switch": {
            "branches": [
                {"case": {"$eq": [change.became(store), APPLIED]}, "then": "as_planned"},
                {"case": is_missing("$found"), "then": "gone"},
                {"case": {"$or": [is_kept, is_before]}, "then": "put_back"},
            ],
            "default": "moved_on",
        }
    }
    applied = {"$or": [{"outcome": APPLIED}, {"outcome": {"$exists": False}}]}
    return [
        {"$match": {**Plan.of(document).rows(), **applied}},
        *found_session(store),
        {"$project": {"_id": 0, "session_id": "$plan.session_id", "state": state}},
    ]
