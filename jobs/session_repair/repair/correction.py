"""Correction: write the rebuilt fields of a session, and put back what stood there before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pymongo import UpdateMany, UpdateOne
from pymongo.client_session import ClientSession

from session_repair.mongo.bson_bytes import Element, as_document, elements, nested
from session_repair.mongo.observe import NOWHERE, SIMPLE, by_id, by_ids, observation
from session_repair.mongo.rights import TO_CORRECT
from session_repair.mongo.store import Store, raw
from session_repair.repair.compare import (
    ABSENT,
    ANOTHER,
    AS_LEFT,
    AS_OBSERVED,
    PlannedSession,
    is_still,
    state_of,
)
from session_repair.repair.expiry import Expiry, newly_expired
from session_repair.repair.journal import Row, require_rows
from session_repair.repair.later import LaterRuns
from session_repair.repair.outcomes import (
    ALREADY_RIGHT,
    APPLIED,
    CHANGED,
    GONE,
    RESTORABLE,
    RESTORED,
    SKIPPED_CHANGED,
    SKIPPED_GONE,
    WRITTEN_LATER,
)
from session_repair.repair.steps import Apply, Decision, Undo
from session_repair.verbs import FIX

Document = dict[str, Any]


def seen_sessions(
    store: Store, keys: Iterable[Element], session: ClientSession | None
) -> dict[Element, bytes]:
    """What the server says of each of these sessions that is there, by its _id."""
    wanted = list(keys)
    stages = [{"$match": by_ids(wanted)}, *observation(store)]
    most = len(wanted) + 1  # all in one answer, as far as 16 MB go
    found = raw(store.sessions).aggregate(stages, session=session, collation=SIMPLE, batchSize=most)
    members = (bytes(it.raw) for it in found)
    return {key_in(it): it[4:-1] for it in members}


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


NOTHING = UpdateMany(NOWHERE, {"$unset": {"_": ""}}, collation=SIMPLE)


class ApplyCorrections(Apply):
    """Write each session that is as it was observed."""

    nothing = NOTHING

    def expiring(self, expiry: Expiry) -> list[Document] | None:
        if expiry.filter:
            return newly_expired(self.store, expiry, "new")
        dates = [
            {f"plan.new.{name}": {"$lt": expiry.before}} for name in expiry.dates_in(self.store)
        ]
        return [{"$match": {"$or": dates}}] if dates else None

    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        decision = Decision()
        for row, state in states_of(self.store, rows, session):
            decision.states[row.id] = OUTCOME_OF[state]
            if state == AS_OBSERVED:
                decision.writes[row.id] = [written(row.planned, session is None)]
        require_rows(self.store, self.plan, decision.writes, session)
        return decision


OUTCOME_OF = {
    AS_OBSERVED: APPLIED,
    AS_LEFT: ALREADY_RIGHT,
    ANOTHER: SKIPPED_CHANGED,
    ABSENT: SKIPPED_GONE,
}


def written(planned: PlannedSession, is_alone: bool) -> UpdateOne:
    return UpdateOne(found(planned, is_alone, False), planned.update(), collation=SIMPLE)


def found(planned: PlannedSession, is_alone: bool, is_left: bool) -> Any:
    """The filter of the session; of a write that stands alone, only while it is as it should be."""
    wanted = by_id(planned.key)
    return {"$and": [wanted, is_still(planned, is_left)]} if is_alone else wanted


class UndoCorrections(Undo):
    """Put back the fields of each session that is as the run left it."""

    nothing = NOTHING

    def __init__(self, store: Store, document: Document) -> None:
        super().__init__(store, document)
        self.later = LaterRuns.than(store, document)

    def expiring(self, expiry: Expiry) -> list[Document] | None:
        if expiry.filter:
            return newly_expired(self.store, expiry, "observed")
        dates = [
            {f"plan.new.{name}": {"$exists": True}, f"plan.observed.{name}": {"$lt": expiry.before}}
            for name in expiry.dates_in(self.store)
        ]
        return [{"$match": {"$or": dates}}] if dates else None

    def compare(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        for row, state in states_of(self.store, rows, session):
            yield row, UNDO_FINDS[state]

    def states(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """The same, but for what a later run wrote."""
        overwritten = self.later.overwrote(rows, self.plan, session)
        for row, state in self.compare(rows, session):
            yield row, WRITTEN_LATER if row.id in overwritten else state

    def put_back(self, row: Row, is_alone: bool) -> list[Any]:
        """The fields as they were; then each parent that was made for them, where it is empty."""
        planned = row.planned
        wanted = found(planned, is_alone, is_left=True)
        unmade = [
            UpdateOne(emptied(planned, parent), undo, collation=SIMPLE)
            for parent, undo in planned.made_parents().items()
        ]
        return [UpdateOne(wanted, planned.reverse(), collation=SIMPLE), *unmade]


UNDO_FINDS = {AS_LEFT: RESTORABLE, AS_OBSERVED: RESTORED, ANOTHER: CHANGED, ABSENT: GONE}


def emptied(planned: PlannedSession, parent: str) -> Any:
    """The filter of the session where a parent holds nothing any more."""
    return as_document([planned.key.named("_id"), nested(parent, [])])


class Correction:
    """Empty and wrong sessions get the fields that their events say."""

    verb = FIX
    rights = rights_to_undo = TO_CORRECT
    needs_transactions = False
    limit = "max_changes"
    required: tuple[str, ...] = ("session_id",)
    is_of_empty_in_both = False
    apply, undo = ApplyCorrections, UndoCorrections
