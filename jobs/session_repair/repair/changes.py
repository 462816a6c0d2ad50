"""Changes: the two that a run can make of its sessions, and how each is applied and undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pymongo.client_session import ClientSession

from session_repair.mongo.rights import TO_CORRECT, TO_DELETE, TO_PUT_BACK, Rights
from session_repair.mongo.store import Store
from session_repair.repair.batches import Step
from session_repair.repair.correction import ApplyCorrections, UndoCorrections
from session_repair.repair.deletion import ApplyDeletions, UndoDeletions
from session_repair.repair.journal import Plan, Row
from session_repair.verbs import DELETE_ORPHANS, FIX

Document = dict[str, Any]


class UndoStep(Step, Protocol):
    """A way to go through what was applied, which can also only look."""

    def compare(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """What is in the place of each row's session: restorable, restored, or another."""

    def states(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """What the undo finds of each row's session: restorable, or why it is left alone."""


@dataclass(frozen=True)
class Change:
    """What the runs of a verb do to their sessions."""

    rights: Rights
    rights_to_undo: Rights
    needs_transactions: bool
    apply: Any
    undo: Any


CHANGES: Mapping[str, Change] = {
    FIX: Change(TO_CORRECT, TO_CORRECT, False, ApplyCorrections, UndoCorrections),
    DELETE_ORPHANS: Change(TO_DELETE, TO_PUT_BACK, True, ApplyDeletions, UndoDeletions),
}


def applying(store: Store, document: Document) -> Step:
    """The way to carry out the run with this document."""
    step: Step = CHANGES[document["verb"]].apply(store, Plan.of(document))
    return step


def undoing(store: Store, document: Document) -> UndoStep:
    """The way to take back the run with this document."""
    step: UndoStep = CHANGES[document["verb"]].undo.of(store, document)
    return step
