"""Batches: carry out a run, or take it back, batch by batch, each batch one transaction.

In it: renew the lease, read the sessions, compare them with what the journal says, write those that
are as they should be, mark the rows of the others, and move the run's progress. So whatever breaks
off, the run's document says exactly what was written. A server without transactions does the same
one by one, and each write carries the condition that in a transaction the snapshot sees to.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pymongo import ASCENDING, InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from session_repair.errors import LONGEST
from session_repair.mongo.connection import has_transactions, hello_of
from session_repair.mongo.lease import Lease
from session_repair.mongo.pace import Pace
from session_repair.mongo.runs import Run, reached
from session_repair.mongo.store import Store, raw
from session_repair.repair.compare import Layout, PlannedSession
from session_repair.repair.retry import (
    Conflicting,
    in_transaction,
    is_of_all,
    patiently,
    why_refused,
)
from session_repair.wording import number_of

log = logging.getLogger(__name__)

Document = dict[str, Any]

LOOKED_AT = 1_000  # rows, where nothing is written
MOST_BYTES = 8 * 1024 * 1024  # of a batch: of its journal rows, and of the sessions it reads whole


class Row(NamedTuple):
    """A row of the journal: its _id, its plan, and the deleted document that it keeps, if any."""

    id: str
    planned: PlannedSession
    before: Any = None


class TooLarge(Exception):
    """The sessions of a batch do not fit into the memory that a batch may take."""


@dataclass
class Decision:
    """What is to be done to a batch: the state of each row, and the writes to its session.

    The writes of a row stand in their order; where the first finds nothing, the rest do not either.
    """

    states: dict[str, str] = field(default_factory=dict)
    writes: dict[str, list[Any]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)  # what a row keeps of its session: before


class Step(Protocol):
    """One of the ways to go through the rows of a run: to apply or to undo what it is about."""

    part: str  # of the run's document, which says how far it came: progress or undo
    mark: str  # of a row whose session was not changed: outcome or undo
    state: str  # of the run while it is at it
    done: str  # the state of a row that needs no mark
    changed: str  # that of one whose session is another meanwhile
    refused: str  # that of one that MongoDB refuses to change

    def rows(self, after: str) -> Document:
        """The filter of the rows beyond one that are to be gone through."""

    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        """Read the sessions of the rows and compare them. Raises TooLarge."""

    def look_back(self, first: str, last: str) -> list[Row]:
        """The rows of a batch that has ended which have to be taken back after all."""


@dataclass
class Batches:
    """The loop over a run's rows, for whoever holds the lease."""

    store: Store
    run: Run
    lease: Lease
    pace: Pace
    step: Step

    def __post_init__(self) -> None:
        self.is_atomic = has_transactions(hello_of(self.store))
        document = self.run.read()
        self.after = reached(document, self.step.part)
        told = document.get(self.step.part) or {}
        self.done = sum((told.get("counts") or {}).values())
        self.previous: str | None = told.get("previous")

    def carry_out(self, on_progress: Callable[[int], None] = lambda _: None) -> None:
        """Go through every row that is left; raises where the pace says that it has to stop."""
        if not self.is_atomic:
            log.warning(
                "This server has no transactions: each session is written on its own. After a kill "
                "those of one batch may count as already_right, and undo leaves them alone."
            )
        before, began = self.done, time.monotonic()
        self.look_back()  # a process may have died right after its last batch
        while rows := patiently(self.next_rows):
            self.pace.before_batch()
            at = time.monotonic()
            rate = round((self.done - before) / max(at - began, 0.001)) or None
            number, states = self.batch(rows, rate)
            told = ", ".join(f"{it} {states[it]}" for it in states)
            log.info(
                "a batch of %s took %.2f s: %s",
                number_of(number, "row"),
                time.monotonic() - at,
                told,
            )
            self.look_back()
            on_progress(self.done)

    def next_rows(self) -> list[Row]:
        """The next rows of the journal, no more than fit into a batch."""
        wanted = self.step.rows(self.after)
        return list(taken(read_rows(self.store, wanted, self.pace.batch_size)))

    def batch(self, rows: list[Row], rate: int | None) -> tuple[int, Counter[str]]:
        """Change the first of these rows, as many as pass; their number, and how many by state.

        A batch that the server refuses is halved until the row at fault stands alone.
        """
        while True:
            try:
                states = self.transaction(rows, rate)
            except TooLarge:
                rows = rows[: len(rows) // 2]
            except (Conflicting, OperationFailure) as raised:
                error = raised.cause if isinstance(raised, Conflicting) else raised
                if is_of_all(error):
                    self.lease.renew()  # whoever took it over has ended what this one had open
                    raise error from None
                if len(rows) == 1:
                    states = self.refuse(rows[0], error, rate)
                    break
                rows = rows[: len(rows) // 2]
            else:
                break
        self.previous, self.after = self.after, rows[-1].id
        self.done += len(rows)
        return len(rows), states

    def transaction(self, rows: list[Row], rate: int | None, error: str = "") -> Counter[str]:
        def change(session: ClientSession | None) -> Counter[str]:
            began = time.monotonic()
            states = self.change(rows, session, rate, error)
            self.pace.after_batch(len(rows), time.monotonic() - began)
            return states

        if self.is_atomic:
            return in_transaction(self.lease.session, change, len(rows))
        return patiently(change, None)

    def change(
        self, rows: list[Row], session: ClientSession | None, rate: int | None, error: str
    ) -> Counter[str]:
        """The steps of one batch, within its transaction; with an ``error``, mark its one row."""
        self.lease.renew(session)
        if error:
            decision = Decision({rows[0].id: self.step.refused})
        else:
            decision = self.step.decide(rows, session)
            self.write(decision, session)
        self.write_marks(decision, session, error)
        states = Counter(decision.states.values())
        if rows:
            told: Document = {"state": self.step.state, f"{self.step.part}.waiting": None}
            if rate is not None:
                told[f"{self.step.part}.rows_per_second"] = rate
            now = rows[-1].id
            self.run.move(self.step.part, self.after, now, states, session, **told)
        return states

    def write(self, decision: Decision, session: ClientSession | None) -> None:
        """Write the sessions; alone, one after the other, each only where it is as it was read."""
        sessions = self.store.sessions
        if session is not None:
            writes = [it for row in decision.writes.values() for it in row]
            if writes:
                sessions.bulk_write(writes, session=session)
            return
        for row, (first, *rest) in decision.writes.items():
            done = sessions.bulk_write([first])
            if not done.matched_count + done.inserted_count:
                decision.states[row] = self.step.changed
            elif rest:
                sessions.bulk_write(rest)

    def write_marks(self, decision: Decision, session: ClientSession | None, error: str) -> None:
        """Keep what is deleted in its row, and mark the rows whose session was not changed."""
        journal, mark = self.store.journal, self.step.mark
        kept = [
            UpdateOne({"_id": row}, {"$set": {"before": document}})
            for row, document in decision.kept.items()
        ]
        if kept:
            journal.bulk_write(kept, session=session)
        alike = defaultdict(list)
        for row, state in decision.states.items():
            if state != self.step.done:
                alike[state].append(row)
        for state, rows in alike.items():
            told = {mark: state, **({"error": error[:LONGEST]} if error else {})}
            stamped: Document = {"$set": told, "$currentDate": {f"{mark}_at": True}}
            journal.update_many({"_id": {"$in": rows}}, stamped, session=session)

    def refuse(self, row: Row, error: OperationFailure, rate: int | None) -> Counter[str]:
        """Mark a row that fails alone; raises the error where a batch of no row meets it too."""
        self.transaction([], None)
        return self.transaction([row], rate, why_refused(error))

    def look_back(self) -> None:
        """Take back what the batch that has ended should not have done, as it turned out since."""
        if self.previous is None:
            return
        rows = patiently(self.step.look_back, self.previous, self.after)
        if rows:
            in_transaction(
                self.lease.session, lambda session: self.take_back(rows, session), len(rows)
            )

    def take_back(self, rows: list[Row], session: ClientSession) -> None:
        self.lease.renew(session)
        self.store.sessions.bulk_write([InsertOne(row.before) for row in rows], session=session)
        decision = Decision(dict.fromkeys((row.id for row in rows), self.step.changed))
        self.write_marks(decision, session, "")
        counts = {self.step.done: -len(rows), self.step.changed: len(rows)}
        self.run.recount(self.step.part, counts, session)


def read_rows(
    store: Store, wanted: Document, most: int = 0, but: str = ""
) -> Iterator[tuple[Row, int]]:
    """The rows that are wanted, in their order, and the bytes of each; no more than ``most``."""
    layout = Layout(store.settings.session_fields, store.parents)
    names = [it for it in ("plan", "before") if it != but]
    found = raw(store.journal).find(wanted, names).sort("_id", ASCENDING)
    for row in found.limit(most).batch_size(most):  # 0 is all, and as the server likes
        planned = PlannedSession(row["plan"].raw, layout)
        yield Row(row["_id"], planned, row.get("before")), len(row.raw)


def rows_in_batches(store: Store, wanted: Document, but: str = "") -> Iterator[list[Row]]:
    """All rows that are wanted, in their order, as many at a time as fit into a batch."""
    after: Document = {}
    while some := list(taken(read_rows(store, {"$and": [wanted, after]}, LOOKED_AT, but))):
        yield some
        after = {"_id": {"$gt": some[-1].id}}


def taken(rows: Iterable[tuple[Row, int]]) -> Iterator[Row]:
    """The first rows, as many as a batch may hold; at least one, if there is one."""
    room = MOST_BYTES
    for row, size in rows:
        if size > room < MOST_BYTES:
            return
        room -= size
        yield row
