"""Listing: every row of a run as the journal holds it, with what became of its session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from session_repair.mongo.bson_types import readable
from session_repair.mongo.runs import reached
from session_repair.mongo.store import Store, raw
from session_repair.repair.journal import Plan
from session_repair.repair.outcomes import APPLIED, PLANNED

Document = dict[str, Any]


def rows_of_run(store: Store, document: Document, outcomes: Sequence[str]) -> Iterator[Document]:
    """The rows of the run with this document, in their order; of these outcomes if some are named.

    A row without a mark is ``applied`` where its batch has ended, else ``planned``.
    """
    after = reached(document, "progress")
    unmarked = {"$cond": [{"$lte": ["$_id", after]}, APPLIED, PLANNED]}
    wanted = [{"$match": {"outcome": {"$in": list(outcomes)}}}] if outcomes else []
    rows = [
        {"$match": Plan.of(document).rows()},
        {"$sort": {"_id": 1}},
        {"$set": {"outcome": {"$ifNull": ["$outcome", unmarked]}}},
        *wanted,
    ]
    yield from map(readable, raw(store.journal).aggregate(rows))


def lost_rows(store: Store, document: Document) -> int:
    """How many rows the journal should hold and does not hold any more."""
    held = store.journal.count_documents(Plan.of(document).rows())
    return max(0, document.get("planned", 0) - held)
