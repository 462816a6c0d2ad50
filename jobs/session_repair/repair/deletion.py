"""Deletion: remove orphans or empty copies, and put back the documents as they were.

The whole document goes into its journal row in the transaction that deletes it. Events may be
written beside it without transactions; so what makes a session needed is looked for once more after
the commit, and one that is needed by then is put back as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import DeleteMany, DeleteOne, InsertOne
from pymongo.client_session import ClientSession

from session_repair.mongo.bson_bytes import Element, elements, has_field_twice
from session_repair.mongo.observe import NOWHERE, SIMPLE, by_id, by_ids
from session_repair.mongo.rights import TO_DELETE, TO_PUT_BACK
from session_repair.mongo.spellings import comparable, ids_there, scalar_in, types_of_events
from session_repair.mongo.store import Store, raw
from session_repair.repair.compare import ABSENT, AS_OBSERVED
from session_repair.repair.correction import seen_sessions, states_of
from session_repair.repair.expiry import Expiry
from session_repair.repair.journal import MOST_BYTES, Row, read_rows
from session_repair.repair.outcomes import (
    APPLIED,
    CHANGED,
    RESTORABLE,
    RESTORED,
    SKIPPED_CHANGED,
    SKIPPED_GONE,
)
from session_repair.repair.steps import Apply, Decision, TooLarge, Undo
from session_repair.verbs import DELETE_ORPHANS

Document = dict[str, Any]


def whole_sessions(
    store: Store, rows: list[Row], session: ClientSession | None
) -> Iterator[tuple[Element, RawBSONDocument]]:
    """Each session of the rows that is there, by its _id and to the byte."""
    if not rows:
        return
    wanted = by_ids(row.planned.key for row in rows)
    for document in raw(store.sessions).find(wanted, session=session, collation=SIMPLE):
        yield id_of(document), document


def id_of(document: RawBSONDocument) -> Element:
    """The _id under the name that a plan gives it."""
    key = next(it for it in elements(document.raw) if it.name == b"_id")
    return key.named("v")


class ApplyDeletions(Apply):
    """Delete each session that is as it was observed, and not needed."""

    nothing = DeleteMany(NOWHERE, collation=SIMPLE)

    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        decision = Decision()
        needed = needed_rows(self.store, rows, session)
        documents = self.documents(rows, session)
        for row, state in states_of(self.store, rows, session):
            if state == ABSENT:
                decision.states[row.id] = SKIPPED_GONE
                continue
            document = documents[row.planned.key]
            if state != AS_OBSERVED or row.id in needed or has_field_twice(document.raw):
                decision.states[row.id] = SKIPPED_CHANGED
                continue
            decision.states[row.id] = APPLIED
            decision.kept[row.id] = document
            decision.writes[row.id] = [DeleteOne(by_id(row.planned.key), collation=SIMPLE)]
        return decision

    def documents(
        self, rows: list[Row], session: ClientSession | None
    ) -> dict[Element, RawBSONDocument]:
        """The sessions of the rows. Raises TooLarge where fewer could be held at a time."""
        documents, size = {}, 0
        for key, document in whole_sessions(self.store, rows, session):
            documents[key] = document
            size += len(document.raw)
            if size > MOST_BYTES and len(rows) > 1:
                raise TooLarge
        return documents

    def look_back(self, first: str, last: str) -> list[Row]:
        """Those that were deleted and are needed now: an event came in the very moment."""
        deleted = {**self.plan.rows(first, last), "outcome": {"$exists": False}}
        rows = list(read_rows(self.store, deleted, ["plan"]))
        needed = needed_rows(self.store, rows, None) if rows else set()
        kept = {"_id": {"$in": sorted(needed)}}
        again = list(read_rows(self.store, kept)) if needed else []
        there = {key for key, _ in whole_sessions(self.store, again, None)}
        ids = [row.planned.session_id for row in again]
        made_anew = ids_there(self.store.sessions, self.store.path("session_id"), ids)
        return [
            row
            for row in again
            if row.planned.key not in there and comparable(row.planned.session_id) not in made_anew
        ]


class UndoDeletions(Undo):
    """Put back each document whose place is empty."""

    def expiring(self, expiry: Expiry) -> list[Document] | None:
        kept = {"$match": {"before": {"$exists": True}}}
        return [kept, {"$replaceWith": "$before"}, {"$match": expiry.deletes}]

    def compare(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        wanted = by_ids(row.planned.key for row in rows)
        seen = raw(self.store.sessions).find(wanted, ["_id"], session=session, collation=SIMPLE)
        there = {id_of(document) for document in seen}
        taken = [row for row in rows if row.planned.key in there]
        before = {row.planned.key: self.kept_in(row).raw for row in taken}
        is_same = {
            key: key in before and document.raw == before[key]
            for key, document in whole_sessions(self.store, taken, session)
        }
        found = {None: RESTORABLE, True: RESTORED, False: CHANGED}
        for row in rows:
            yield row, found[is_same.get(row.planned.key)]

    def kept_in(self, row: Row) -> Any:
        """The document that was deleted."""
        [kept] = [row] if row.keeps_document else read_rows(self.store, {"_id": row.id})
        return kept.before

    def put_back(self, row: Row, is_alone: bool) -> list[Any]:
        return [InsertOne(row.before)]


class Deletion:
    """Orphans, or empty copies, go."""

    verb = DELETE_ORPHANS
    rights, rights_to_undo = TO_DELETE, TO_PUT_BACK
    needs_transactions = True
    limit = "max_delete"
    # What makes a session empty: where it is not known by its name, filled ones would be deleted.
    required: tuple[str, ...] = ("session_id", "event_count", "pages")
    is_of_empty_in_both = True
    apply, undo = ApplyDeletions, UndoDeletions


def needed_rows(store: Store, rows: list[Row], session: ClientSession | None) -> set[str]:
    """The rows whose session must stay: one that events name, a copy left alone."""
    copies = [row for row in rows if b"canonical" in row.planned.members]
    orphans = [row for row in rows if b"canonical" not in row.planned.members]
    needed: set[str] = set()
    path = store.settings.event_fields["session_id"]
    for some in filter(None, (copies, orphans)):
        ids = {row.id: row.planned.session_id for row in some}
        # An orphan has no event. That a copy has some is no reason to keep it, but where one spells
        # the session_id in another type it cannot be told whose that is.
        named = types_of_events(store.events, path, ids, session, but_own=some is copies)
        needed |= named.keys()
    if copies:
        there = seen_sessions(store, [canonical_of(row) for row in copies], session)
        for row in copies:
            seen = there.get(canonical_of(row))
            if seen is None or comparable(row.planned.session_id) != id_in(seen):
                needed.add(row.id)
    return needed


def canonical_of(row: Row) -> Element:
    """The _id of the document that makes the session a copy."""
    return next(elements(row.planned.members[b"canonical"].value))


def id_in(seen: bytes) -> Any:
    """The session_id in what the server says of a session, comparable."""
    members = {it.name: it for it in elements(bytes(4) + seen + b"\0")}
    held = members.get(b"session_id")
    return held and comparable(scalar_in(held))
