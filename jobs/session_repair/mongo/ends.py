"""Ends: what stands at both ends of an index, which the server reads off it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from session_repair.mongo.store import raw

Document = dict[str, Any]

WAYS = (pymongo.ASCENDING, pymongo.DESCENDING)


def documents_at_both_ends(
    collection: Collection[Document], number: int
) -> Iterator[RawBSONDocument]:
    """So many of the least and of the greatest documents by _id; of few some come twice."""
    for way in WAYS:
        yield from raw(collection).find().sort("_id", way).limit(number)


def types_at_both_ends(
    collection: Collection[Document], path: str, wanted: Document
) -> frozenset[str]:
    """The types of the least and the greatest value of the documents that are wanted.

    One type if and only if all are of one, but for numbers: MongoDB sorts by type first.
    """
    project = {"$project": {"_id": 0, "type": {"$type": f"${path}"}}}
    match: list[Document] = [{"$match": wanted}] if wanted else []
    ends = [
        collection.aggregate([*match, {"$sort": {path: way}}, {"$limit": 1}, project])
        for way in WAYS
    ]
    return frozenset(document["type"] for end in ends for document in end)
