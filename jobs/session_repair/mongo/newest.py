"""Newest: the documents of the runs in the order in which the runs began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from session_repair.mongo.lease import LONG_AGO
from session_repair.mongo.store import Store

Document = dict[str, Any]

LAST = "last"  # stands for the id of a run
RUNS: Document = {"verb": {"$exists": True}}  # beside them stands the lease
WROTE: Document = {"progress.counts.applied": {"$gt": 0}}
SECOND = len("r20251103-031500")  # letters of a run's _id that tell when it began


def newest(store: Store, wanted: Document, fields: Sequence[str]) -> Iterator[Document]:
    """The runs that are wanted, with these fields, the newest first.

    The index of _id has them by the second in which they began, a document tells the millisecond.
    """

    def began(document: Document) -> tuple[datetime, str]:
        return document.get("started_at") or LONG_AGO, document["_id"]

    found = store.runs.find({**RUNS, **wanted}, [*fields, "started_at"]).sort("_id", -1)
    for _, of_second in groupby(found, lambda it: it["_id"][:SECOND]):
        yield from sorted(of_second, key=began, reverse=True)
