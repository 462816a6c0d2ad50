"""Correction: write the rebuilt fields of a session, and put back what stood there before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pymongo import UpdateOne
from pymongo.client_session import ClientSession

from session_repair.mongo.bson_bytes import Element, as_document, documents_in, elements, nested
from session_repair.mongo.observe import SIMPLE, by_id, by_ids, observation
from session_repair.mongo.rights import TO_CORRECT
from session_repair.mongo.runs import APPLYING, UNDOING, reached
from session_repair.mongo.store import Store
from session_repair.repair.batches import Decision
from session_repair.repair.compare import (
    ABSENT,
    AS_LEFT,
    AS_OBSERVED,
    OTHER,
    PlannedSession,
    is_still,
    state_of,
)
from session_repair.repair.journal import Plan, Row
from session_repair.repair.later import LaterRuns
from session_repair.repair.outcomes import (
    ALREADY_RIGHT,
    APPLIED,
    CHANGED,
    FAILED,
    GONE,
    REFUSED,
    RESTORABLE,
    RESTORED,
    SKIPPED_CHANGED,
    SKIPPED_GONE,
    WRITTEN_LATER,
)
from session_repair.verbs import FIX

Document = dict[str, Any]


def seen_sessions(
    store: Store, keys: Iterable[Element], session: ClientSession | None
) -> dict[Element, bytes]:
    """What the server says of each of these sessions that is there, by its _id."""
    stages = [{"$match": by_ids(keys)}, *observation(store)]
    found = store.sessions.aggregate_raw_batches(stages, session=session, collation=SIMPLE)
    return {key_in(it): it[4:-1] for it in documents_in(found)}


def key_in(seen: bytes) -> Element:
    """The _id in what is said of a session, of which it is the first member."""
    return next(elements(next(elements(seen)).value))


def states_of(
    store: Store, rows: list[Row], session: ClientSession | None
) -> Iterator[tuple[Row, str]]:
    """What the session of each row is beside its plan."""
    seen = seen_sessions(store, [row.planned.key for row in rows], session)
    for row in rows:
        yield row, state_of(row.planned, seen.get(row.planned.key))


@dataclass(frozen=True)
class ApplyCorrections:
    """Go through the plan, and write each session that is as it was observed."""

    store: Store
    plan: Plan

    part, mark, state = "progress", "outcome", APPLYING
    done, changed, refused = APPLIED, SKIPPED_CHANGED, FAILED

    def rows(self, after: str) -> Document:
        return self.plan.rows(after)

    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        decision = Decision()
        for row, state in states_of(self.store, rows, session):
            decision.states[row.id] = OUTCOME_OF[state]
            if state == AS_OBSERVED:
                decision.writes[row.id] = [written(row.planned, session is None)]
        return decision

    def look_back(self, first: str, last: str) -> list[Row]:
        """Nothing: in a transaction, what is written is what was to be."""
        return []


class Correction:
    """Empty and wrong sessions get the fields that their events say."""

    verb = FIX
    rights = rights_to_undo = TO_CORRECT
    needs_transactions = False
    required: tuple[str, ...] = ("session_id",)
    is_of_empty_in_both = False

    def applying(self, store: Store, document: Document) -> ApplyCorrections:
        return ApplyCorrections(store, Plan.of(document))

    def undoing(self, store: Store, document: Document) -> UndoCorrections:
        later = LaterRuns.than(store, document)
        return UndoCorrections(store, Plan.of(document), reached(document, "progress"), later)


OUTCOME_OF = {
    AS_OBSERVED: APPLIED,
    AS_LEFT: ALREADY_RIGHT,
    OTHER: SKIPPED_CHANGED,
    ABSENT: SKIPPED_GONE,
}


def written(planned: PlannedSession, is_alone: bool) -> UpdateOne:
    return UpdateOne(found(planned, is_alone, False), planned.update(), collation=SIMPLE)


def found(planned: PlannedSession, is_alone: bool, is_left: bool) -> Any:
    """The filter of the session; of a write that stands alone, only while it is as it should be."""
    wanted = by_id(planned.key)
    return {"$and": [wanted, is_still(planned, is_left)]} if is_alone else wanted


@dataclass(frozen=True)
class UndoCorrections:
    """Go through what was applied, and put back each session that is as the run left it."""

    store: Store
    plan: Plan
    applied: str  # the last row that was gone through
    later: LaterRuns

    part, mark, state = "undo", "undo", UNDOING
    done, changed, refused = RESTORED, CHANGED, REFUSED

    def rows(self, after: str) -> Document:
        """Those without a mark that were gone through: they were applied."""
        gone_through = self.plan.rows(after, self.applied or self.plan.prefix)
        return {**gone_through, "outcome": {"$exists": False}}

    def compare(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """What is in the place of each row's session: restorable, restored, or another."""
        for row, state in states_of(self.store, rows, session):
            yield row, FOUND[state]

    def states(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """The same, but for what a later run wrote: that is left alone."""
        overwritten = self.later.overwrote([row.id for row in rows], self.plan, session)
        for row, state in self.compare(rows, session):
            yield row, WRITTEN_LATER if row.id in overwritten else state

    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        decision = Decision()
        for row, state in self.states(rows, session):
            decision.states[row.id] = RESTORED if state == RESTORABLE else state
            if state == RESTORABLE:
                decision.writes[row.id] = put_back(row.planned, session is None)
        return decision

    def look_back(self, first: str, last: str) -> list[Row]:
        """Nothing: in a transaction, what is put back is what was to be."""
        return []


FOUND = {AS_LEFT: RESTORABLE, AS_OBSERVED: RESTORED, OTHER: CHANGED, ABSENT: GONE}


def put_back(planned: PlannedSession, is_alone: bool) -> list[UpdateOne]:
    """The fields as they were; then each parent that was made for them goes, where it is empty."""
    restored = UpdateOne(found(planned, is_alone, True), planned.reverse(), collation=SIMPLE)
    unmade = [
        UpdateOne(emptied(planned, parent), undo, collation=SIMPLE)
        for parent, undo in planned.made_parents().items()
    ]
    return [restored, *unmade]


def emptied(planned: PlannedSession, parent: str) -> Any:
    """The filter of the session where a parent holds nothing any more."""
    return as_document([planned.key.named("_id"), nested(parent, [])])
