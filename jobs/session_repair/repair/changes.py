"""Changes: the two that a run can make of its sessions: a correction or a deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from session_repair.mongo.rights import Rights
from session_repair.repair.correction import Correction
from session_repair.repair.deletion import Deletion
from session_repair.repair.steps import Apply, Undo

Document = dict[str, Any]


class Change(Protocol):
    """What the runs of a verb do to their sessions."""

    verb: str
    rights: Rights
    rights_to_undo: Rights
    needs_transactions: bool
    limit: str  # the setting that says how many sessions a run may change
    required: tuple[str, ...]  # fields without whose right name it must not run at all
    is_of_empty_in_both: bool  # its sessions lack pages and count, not either

    @property
    def apply(self) -> type[Apply]:
        """The way to carry out a run."""

    @property
    def undo(self) -> type[Undo]:
        """The way to take it back."""


CHANGE_OF_VERB: Mapping[str, Change] = {it.verb: it for it in (Correction(), Deletion())}


def change_of(document: Document) -> Change:
    """What the run with this document does."""
    return CHANGE_OF_VERB[document["verb"]]
