"""Census: what the server says of a collection before Spark reads it.

Counts by the index of ``_id`` and a few documents: nothing that scans a collection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId, json_util
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from session_repair.dates import DATE_FIELDS
from session_repair.errors import LONGEST, IncompleteRead, Refused, shortened
from session_repair.mongo.bson_types import (
    INEXACT,
    UNREADABLE,
    is_any_twice,
    parents_of,
    readable,
    type_unless_twice,
)
from session_repair.mongo.dates import dates_beyond
from session_repair.mongo.ends import types_at_both_ends
from session_repair.mongo.names import names_there
from session_repair.mongo.store import Store, raw
from session_repair.mongo.utf8 import is_no_utf8
from session_repair.rules.usual_types import NO_UTF8

Document = dict[str, Any]

ODD_SAMPLES = 20  # _ids of documents with a field of one odd type
SAMPLED_IDS = 500  # among which the bounds of ranges are chosen; the server finds them in 20 ms
FEW_DOCUMENTS = 20_000  # are not worth a second cursor
# To fetch all documents by the index costs the server twice what a scan costs, and to skip one in a
# scan a third of what it costs to hand it on: up to so many scans are cheaper than ranges.
MOST_SCANS = 3
LEAST_ID = ObjectId(bytes(12))
IS_SHORT = {"$lt": [{"$bsonSize": {"v": "$_id"}}, 4 * LONGEST]}
SHORT_ID = {"$cond": [IS_SHORT, "$_id", "an _id of many bytes"]}  # all have to fit into a row


@dataclass(frozen=True)
class Census:
    """What is known of one collection, or of the part of it that ``scope`` names."""

    collection: Collection[Document]
    scope: Document  # the filter of what is read, empty for the whole collection
    mark: datetime  # documents created before it no longer appear, so they can be counted
    documents: int  # of the collection, an estimate; or of the few in scope
    checked: int  # documents in scope older than the mark or of unknown age; 0 where uncounted
    usual: Mapping[str, tuple[str, ...]]  # by field, the types that nearly all documents have
    id_types: frozenset[str]  # types at both ends of the _id index
    sampled_ids: tuple[ObjectId, ...]  # in their order; none where one cursor will do
    shows_marks: bool = False  # its text may be no UTF-8: a read saw it shown with a MARK

    @property
    def has_object_ids(self) -> bool:
        """All _ids are ObjectIds, or there are none."""
        return self.id_types <= {"objectId"}

    def ranges(self, number: int) -> list[Document]:
        """Filters that split the collection by _id into about so many parts of one size.

        Where _ids are of several types a bound of one type would hide all others: there is one
        part. Few parts are each a scan of all documents, many are found by the index.
        """
        if not self.has_object_ids:
            return [{}]
        ids, parts = self.sampled_ids, min(number, len(self.sampled_ids))
        bounds = sorted({ids[len(ids) * part // parts] for part in range(1, parts)})
        pairs = zip((LEAST_ID, *bounds), (*bounds, None), strict=True)
        is_few = len(bounds) < MOST_SCANS
        return [scanned_range(*pair) if is_few else indexed_range(*pair) for pair in pairs]


def indexed_range(first: ObjectId, end: ObjectId | None) -> Document:
    """The ObjectIds from the first to before the end, or all of them; no _id of another type."""
    return {"_id": {"$gte": first, **({} if end is None else {"$lt": end})}}


def scanned_range(first: ObjectId, end: ObjectId | None) -> Document:
    """The same range, told so that the server does not look for it in the index."""
    key = {"$ifNull": ["$_id", None]}
    after_all = False  # sorts after every ObjectId
    is_before = {"$lt": [key, after_all if end is None else end]}
    return {"$expr": {"$and": [{"$gte": [key, first]}, is_before]}}


def take_census(
    collection: Collection[Document],
    scope: Document,
    mark: datetime,
    usual: Mapping[str, tuple[str, ...]],
    is_of_few: bool = False,
) -> Census:
    """The census of one collection, which is there.

    A scope ``is_of_few`` where the server finds its documents by an index that begins with another
    field than _id.
    """
    id_types = types_at_both_ends(collection, "_id", {})
    estimate = collection.estimated_document_count
    number = collection.count_documents(scope) if is_of_few else estimate()
    is_split = id_types == {"objectId"} and not is_of_few and number > FEW_DOCUMENTS
    return Census(
        collection=collection,
        scope=scope,
        mark=mark,
        documents=number,
        checked=count_checked(collection, scope, mark, id_types),
        usual=usual,
        id_types=id_types,
        sampled_ids=sampled_ids(collection) if is_split else (),
    )


def uncounted_census(
    collection: Collection[Document], mark: datetime, usual: Mapping[str, tuple[str, ...]]
) -> Census:
    """The census of a collection of which a look-up reads only what belongs to its suspects."""
    return Census(
        collection=collection,
        scope={},
        mark=mark,
        documents=collection.estimated_document_count(),
        checked=0,
        usual=usual,
        id_types=types_at_both_ends(collection, "_id", {}),
        sampled_ids=(),
    )


def refuse_unreadable(collection: Collection[Document]) -> None:
    database = collection.database
    found = list(database.list_collections(filter={"name": collection.name}))
    if not found:
        raise Refused(
            f"there is no collection {collection.name!r} in database {database.name!r}. "
            f"{names_there(database, collection.name)}"
            "Name the right ones with --database or in the config file."
        )
    if found[0]["type"] != "collection":
        raise Refused(
            f"{collection.full_name} is a {found[0]['type']}, whose rows cannot be counted "
            "and split by _id. Name the collection behind it."
        )


def sampled_ids(collection: Collection[Document]) -> tuple[ObjectId, ...]:
    """Some of the _ids, in their order: they lie as all of them do, however the load came."""
    sample = [{"$sample": {"size": SAMPLED_IDS}}, {"$project": {"_id": 1}}]
    found = [document["_id"] for document in collection.aggregate(sample)]
    return tuple(sorted(key for key in found if isinstance(key, ObjectId)))


def count_checked(
    collection: Collection[Document],
    scope: Document,
    mark: datetime,
    id_types: frozenset[str],
) -> int:
    """How many documents were created before the mark, by their ObjectId, or at an unknown time."""
    end = ObjectId.from_datetime(mark)
    # Of the documents in a scope few have to be looked at, or all: by _id none is found faster.
    older = scanned_range(LEAST_ID, end) if scope else {"_id": {"$lt": end}}
    count = collection.count_documents({"$and": [scope, older]})
    if id_types <= {"objectId"}:
        return count
    ageless = {"_id": {"$not": {"$type": "objectId"}}}
    return count + collection.count_documents({"$and": [scope, ageless]})


def odd_documents(
    collection: Collection[Document],
    paths: Mapping[str, str],
    allowed: Mapping[str, tuple[str, ...]],
    odd: Iterable[tuple[str, str]],
    scope: Document,
    dates: str,
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The _ids of some documents by field and type, of those that the read found to be odd.

    A scan of the collection, and one for each field that is no UTF-8.
    """
    fields = {field for field, kind in odd if kind != NO_UTF8}
    samples: dict[tuple[str, str], tuple[str, ...]] = defaultdict(tuple)
    if fields:
        samples |= of_odd_types(collection, paths, allowed, fields, scope, dates)
    for field in {field for field, kind in odd if kind == NO_UTF8}:
        some = {"$match": {"$and": [scope, is_no_utf8(field, paths[field])]}}
        key = {"$project": {"_id": 0, "key": SHORT_ID}}
        found = raw(collection).aggregate([some, {"$limit": ODD_SAMPLES}, key])
        samples[field, NO_UTF8] = tuple(id_text(it) for it in found)
    return samples


def of_odd_types(
    collection: Collection[Document],
    paths: Mapping[str, str],
    allowed: Mapping[str, tuple[str, ...]],
    fields: set[str],
    scope: Document,
    dates: str,
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The same of the fields' types that are not allowed."""
    maybe: list[Document] = [{"$expr": is_any_twice(paths[field] for field in fields)}]
    odd_fields = []
    for field in sorted(fields):
        beyond = dates_beyond(paths[field], dates) if field in DATE_FIELDS else ()
        maybe.append(is_maybe_odd(paths[field], allowed[field], beyond))
        found = type_unless_twice(field, paths[field], dates)
        odd = [{"field": field, "type": found}]
        odd_fields.append({"$cond": [{"$in": [found, list(allowed[field])]}, [], odd]})
    some = {"$firstN": {"input": SHORT_ID, "n": ODD_SAMPLES}}
    pipeline: list[Document] = [
        {"$match": {"$and": [scope, {"$or": maybe}]}},
        {"$project": {"odd": {"$concatArrays": odd_fields}}},
        {"$unwind": "$odd"},
        {"$group": {"_id": "$odd", "some": some}},
        {"$unwind": "$some"},
        {"$project": {"some": {"key": "$some"}}},
    ]
    samples: dict[tuple[str, str], tuple[str, ...]] = defaultdict(tuple)
    for row in raw(collection).aggregate(pipeline, allowDiskUse=True):
        samples[row["_id"]["field"], row["_id"]["type"]] += (id_text(row["some"]),)
    return samples


def id_text(holder: RawBSONDocument) -> str:
    """The _id in it as the report writes it: an ObjectId's digits, others' extended JSON."""
    held = readable(holder)
    key = held["key"] if isinstance(held, dict) else held
    if key == UNREADABLE:
        return UNREADABLE
    if isinstance(key, ObjectId):
        return str(key)
    return shortened(json_util.dumps(key, json_options=json_util.CANONICAL_JSON_OPTIONS))


def is_maybe_odd(path: str, types: tuple[str, ...], beyond: Iterable[Document] = ()) -> Document:
    """A quick filter that lets pass every document whose field is of another type, or ``beyond``.

    A filter looks into arrays: one that holds a string passes for a string. So all that holds an
    array, in the field or on the way to it, has to be looked at; in pages, its elements.
    """
    present = [name for name in types if name not in ("missing", *INEXACT)]  # which may be no id
    other: Document = {path: {"$not": {"$type": present}}}
    if "missing" in types:
        other = {path: {"$exists": True, "$not": {"$type": present}}}
    odd: list[Document] = [other, {path: {"$type": "array"}}, *beyond]
    if "array" in types:
        odd[1] = {path: {"$elemMatch": {"$not": {"$type": "string"}}}}
    for parent in parents_of(path):
        odd.append({parent: {"$exists": True, "$not": {"$type": ["object", "null"]}}})
        odd.append({parent: {"$type": "array"}})
    return {"$or": odd}


def require_all_rows(census: Census, rows: int) -> None:
    """Raise IncompleteRead unless Spark saw as many old documents as the server counts.

    Documents created before the mark can only disappear. So where the rows are not as many as the
    server counted before the read, they must lie between that and what it counts now.
    """
    if rows != census.checked:
        after = count_checked(census.collection, census.scope, census.mark, census.id_types)
        require_between(rows, census.checked, after, f"documents of {census.collection.name!r}")


def require_between(rows: int, before: int, after: int, what: str) -> None:
    """Raise IncompleteRead unless the rows are as many as the server counts, before or after."""
    least, most = sorted((before, after))
    if not least <= rows <= most:
        raise IncompleteRead(
            f"Spark read {rows} {what} where the server counts {before} before and {after} after. "
            "Nothing was written; run it again."
        )


def estimated_documents(store: Store) -> int:
    """About how many sessions and events there are, by MongoDB's own books."""
    return sum(it.estimated_document_count() for it in (store.sessions, store.events))
