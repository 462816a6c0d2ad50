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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from session_repair.errors import LONGEST
from session_repair.mongo.connection import has_transactions, hello_of, reason_of
from session_repair.mongo.lease import Lease
from session_repair.mongo.pace import Pace
from session_repair.mongo.runs import Run, counted, reached
from session_repair.mongo.store import Store
from session_repair.repair.journal import Row, in_batches, lost, read_rows
from session_repair.repair.retry import (
    RETRY_PAUSE,
    in_transaction,
    is_of_all,
    patiently,
)
from session_repair.repair.steps import Decision, Step, TooLarge
from session_repair.wording import number_of

log = logging.getLogger(__name__)

Document = dict[str, Any]


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
        self.done = sum(counted(document, self.step.part).values())
        self.previous: str | None = (document.get(self.step.part) or {}).get("previous")
        self.written: set[str] = set()  # without a transaction: rows not moved past yet

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
        most = self.pace.batch_size
        rows = read_rows(self.store, self.step.rows(self.after), most=most)
        return next(in_batches(rows, most), [])

    def batch(self, rows: list[Row], rate: int | None) -> tuple[int, Counter[str]]:
        """Change the first of these rows, as many as pass; their number, and how many by state.

        A batch that the server refuses is halved until the row at fault stands alone.
        """
        while True:
            try:
                states = self.transaction(rows, rate)
            except TooLarge:
                rows = rows[: len(rows) // 2]
            except OperationFailure as error:
                if is_of_all(error):
                    time.sleep(RETRY_PAUSE)  # who takes the lease over ends first what was open
                    self.lease.end_session()  # a commit that was refused left it open
                    self.lease.renew()
                    raise
                if len(rows) == 1:
                    states = self.refuse(rows[0], error, rate)
                    break
                rows = rows[: len(rows) // 2]
            else:
                break
        self.previous, self.after = self.after, rows[-1].id
        self.written.difference_update(row.id for row in rows)
        self.done += len(rows)
        return len(rows), states

    def transaction(
        self, rows: list[Row], rate: int | None, decided: Decision | None = None
    ) -> Counter[str]:
        """Carry out a batch, as it is decided in it or was before; how many rows by state."""

        def change(session: ClientSession | None) -> Counter[str]:
            began = time.monotonic()
            states = self.change(rows, session, rate, decided)
            if rows:
                self.pace.after_batch(len(rows), time.monotonic() - began)
            return states

        if self.is_atomic:
            return in_transaction(self.lease.session, change, len(rows))
        return patiently(change, None)

    def change(
        self,
        rows: list[Row],
        session: ClientSession | None,
        rate: int | None,
        decided: Decision | None,
    ) -> Counter[str]:
        """The steps of one batch, within its transaction."""
        self.lease.renew(session)
        decision = decided or self.step.decide(rows, session)
        if not rows:
            self.write_nothing(session)
        if session is not None:
            if writes := [it for row in decision.writes.values() for it in row]:
                self.store.sessions.bulk_write(writes, session=session)
        else:
            # What this very batch wrote before its connection broke is not somebody else's.
            decision.states |= dict.fromkeys(self.written & decision.states.keys(), self.step.done)
            self.write_each(decision)
        self.write_marks(decision, session)
        states = Counter(decision.states.values())
        if rows:
            told: Document = {"state": self.step.state, f"{self.step.part}.waiting": None}
            if rate is not None:
                told[f"{self.step.part}.rows_per_second"] = rate
            now = rows[-1].id
            move = partial(self.run.move, self.step.part, self.after, now, states, session, **told)
            move() if self.is_atomic else patiently(move)
        return states

    def write_nothing(self, session: ClientSession | None) -> None:
        """The write of a batch, but of no session: raises the error that any would meet."""
        if self.step.nothing is not None:
            self.store.sessions.bulk_write([self.step.nothing], session=session)

    def write_each(self, decision: Decision) -> None:
        """Without a transaction: each session on its own, and only where it is as it was read.

        What MongoDB refuses is that row's; where it refuses all of a batch, or what would write
        nothing too, the error is raised.
        """
        for row, (first, *rest) in decision.writes.items():
            try:
                done = self.store.sessions.bulk_write([first])
                if not done.matched_count + done.inserted_count:
                    decision.states[row] = self.step.changed
                    continue
                if rest:
                    self.store.sessions.bulk_write(rest)
                self.written.add(row)
            except OperationFailure as error:
                decision.states[row], decision.errors[row] = self.step.refused, reason_of(error)
                if is_of_all(error) or len(decision.errors) == len(decision.writes) > 1:
                    raise
                self.write_nothing(None)

    def write_marks(self, decision: Decision, session: ClientSession | None) -> None:
        """Keep what is deleted in its row, and mark the rows whose session was not changed."""
        journal, mark = self.store.journal, self.step.mark
        kept = [
            UpdateOne({"_id": row}, {"$set": {"before": document}})
            for row, document in decision.kept.items()
        ]
        if kept and journal.bulk_write(kept, session=session).matched_count < len(kept):
            raise lost(self.step.plan, "deleted that")
        if session is None:  # this batch may have been begun before, and marked what is done now
            marked = {"_id": {"$in": list(decision.states)}, mark: {"$exists": True}}
            journal.update_many(
                marked, {"$unset": dict.fromkeys((mark, f"{mark}_at", "error"), "")}
            )
        alike = defaultdict(list)
        for row, state in decision.states.items():
            if state != self.step.done:
                alike[state, decision.errors.get(row)].append(row)
        for (state, error), rows in alike.items():
            told = {mark: state, **({"error": error[:LONGEST]} if error else {})}
            stamped: Document = {"$set": told, "$currentDate": {f"{mark}_at": True}}
            journal.update_many({"_id": {"$in": rows}}, stamped, session=session)

    def refuse(self, row: Row, error: OperationFailure, rate: int | None) -> Counter[str]:
        """Mark a row that fails alone; raises the error where a batch of no row meets it too."""
        self.transaction([], None)
        refused = Decision({row.id: self.step.refused}, errors={row.id: reason_of(error)})
        return self.transaction([row], rate, refused)

    def look_back(self) -> None:
        """Take back what the batch that has ended should not have done, as it turned out since."""
        if self.previous is None:
            return
        for row in patiently(self.step.look_back, self.previous, self.after):
            try:
                in_transaction(self.lease.session, partial(self.take_back, row, ""), 1)
            except OperationFailure as error:
                if is_of_all(error):
                    raise
                why = f"deleted, needed since, and not to be put back: {reason_of(error)}"
                in_transaction(self.lease.session, partial(self.take_back, row, why), 1)

    def take_back(self, row: Row, error: str, session: ClientSession) -> None:
        """Put back the document of a row; where there is an error, only say so."""
        self.lease.renew(session)
        if not error:
            self.store.sessions.insert_one(row.before, session=session)
        state = self.step.refused if error else self.step.changed
        told = Decision({row.id: state}, errors={row.id: error} if error else {})
        self.write_marks(told, session)
        self.run.recount(self.step.part, {self.step.done: -1, state: 1}, session)
