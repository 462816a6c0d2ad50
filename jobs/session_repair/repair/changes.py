"""Changes: the two that a run can make of its sessions: a correction or a deletion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from pymongo.client_session import ClientSession

from session_repair.mongo.rights import Rights
from session_repair.mongo.store import Store
from session_repair.repair.batches import Step
from session_repair.repair.correction import Correction
from session_repair.repair.deletion import Deletion
from session_repair.repair.journal import Row

Document = dict[str, Any]


class UndoStep(Step, Protocol):
    """A way to go through what was applied, which can also only look."""

    def compare(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """What is in the place of each row's session: restorable, restored, or another."""

    def states(self, rows: list[Row], session: ClientSession | None) -> Iterator[tuple[Row, str]]:
        """The same, but for what a later run wrote: that is left alone."""


class Change(Protocol):
    """What the runs of a verb do to their sessions."""

    verb: str
    rights: Rights
    rights_to_undo: Rights
    needs_transactions: bool
    required: tuple[str, ...]  # fields without whose right name it must not run at all
    is_of_empty_in_both: bool  # its sessions lack pages and count, not either

    def applying(self, store: Store, document: Document) -> Step:
        """The way to carry out the run with this document."""

    def undoing(self, store: Store, document: Document) -> UndoStep:
        """The way to take back the run with this document."""


CHANGES: Mapping[str, Change] = {it.verb: it for it in (Correction(), Deletion())}


def change_of(document: Document) -> Change:
    """What the run with this document does."""
    return CHANGES[document["verb"]]
