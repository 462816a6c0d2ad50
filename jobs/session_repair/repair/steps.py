"""Steps: the two ways to go through the rows of a run, to apply its plan and to take it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pymongo.client_session import ClientSession

from session_repair.mongo.runs import APPLYING, UNDOING, reached
from session_repair.mongo.store import Store
from session_repair.repair.expiry import Expiry, number_in, require_lasting
from session_repair.repair.journal import Plan, Row
from session_repair.repair.outcomes import (
    APPLIED,
    CHANGED,
    FAILED,
    REFUSED,
    RESTORABLE,
    RESTORED,
    SKIPPED_CHANGED,
)

Document = dict[str, Any]


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
    errors: dict[str, str] = field(default_factory=dict)  # why MongoDB refused the session of a row


class Step(ABC):
    """A way to go through the rows of a run."""

    part: str  # of the run's document, which says how far it came
    mark: str  # of a row whose session was not changed
    state: str  # of the run meanwhile
    done: str  # of a row that needs no mark
    changed: str  # of one whose session is another meanwhile
    refused: str  # of one that MongoDB refuses to change
    nothing: Any = None  # a write such as it makes, which finds no session
    told: str  # what is done to a session

    def __init__(self, store: Store, document: Document) -> None:
        """For the run with this document."""
        self.store, self.plan = store, Plan.of(document)

    @abstractmethod
    def rows(self, after: str) -> Document:
        """The filter of the rows beyond one that are to be gone through."""

    def expiring(self, expiry: Expiry) -> list[Document] | None:
        """Stages that find of rows those whose session a TTL index would delete once done."""
        return None

    @abstractmethod
    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        """Read the sessions of the rows and compare them. Raises TooLarge."""

    def require_lasting(self, document: Document) -> None:
        """Raise BreakerTripped where a TTL index would delete what is still to be done."""

        def count(expiry: Expiry) -> int:
            expiring = self.expiring(expiry)
            if expiring is None:
                return 0
            left = {"$match": self.rows(reached(document, self.part))}
            return number_in(self.store.journal.aggregate([left, *expiring, {"$count": "number"}]))

        require_lasting(self.store, count, self.told)

    def look_back(self, first: str, last: str) -> list[Row]:
        """The rows of a batch that has ended which have to be taken back after all: none."""
        return []


class Apply(Step):
    """Through the plan, to change the sessions that are as it saw them."""

    part, mark, state = "progress", "outcome", APPLYING
    done, changed, refused, told = APPLIED, SKIPPED_CHANGED, FAILED, "written"

    def rows(self, after: str) -> Document:
        return self.plan.rows(after)


class Undo(Step):
    """Through what was applied, to put back the sessions that are as the run left them."""

    part, mark, state = "undo", "undo", UNDOING
    done, changed, refused, told = RESTORED, CHANGED, REFUSED, "put back"

    def __init__(self, store: Store, document: Document) -> None:
        super().__init__(store, document)
        self.applied = reached(document, "progress")

    def rows(self, after: str) -> Document:
        """Those without a mark that were gone through: they were applied."""
        gone_through = self.plan.rows(after, self.applied or self.plan.prefix)
        return {**gone_through, "outcome": {"$exists": False}}

    @abstractmethod
    def compare(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """What is in the place of each row's session: restorable, restored, or another."""

    def states(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """The same, but for what is to be left alone for other reasons."""
        return self.compare(rows, session)

    @abstractmethod
    def put_back(self, row: Row, is_alone: bool) -> list[Any]:
        """The writes that restore the session of the row."""

    def decide(self, rows: list[Row], session: ClientSession | None) -> Decision:
        decision = Decision()
        for row, state in self.states(rows, session):
            decision.states[row.id] = RESTORED if state == RESTORABLE else state
            if state == RESTORABLE:
                decision.writes[row.id] = self.put_back(row, is_alone=session is None)
        return decision
