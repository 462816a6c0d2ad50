"""Delete: remove orphans or empty copies, batch by batch, in transactions that look once more.

MongoDB has no aggregation stage that deletes. The transaction renews the lease, looks for what
makes a session of the batch needed, and deletes only documents that are byte for byte those kept
in the journal. Others may write without transactions beside it; so that is looked for once more
after the commit, and a session that is needed now is put back as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from session_repair.errors import RepairError
from session_repair.mongo.expressions import is_as_observed, is_missing, is_present
from session_repair.mongo.merge import merge_into
from session_repair.mongo.spellings import types_of_events
from session_repair.mongo.store import Store
from session_repair.repair.outcomes import APPLIED, SKIPPED_CHANGED, SKIPPED_GONE
from session_repair.repair.retry import Failures, in_parts, patiently
from session_repair.repair.rows import PLANNED, Change, Work, found_session

Document = dict[str, Any]

DUPLICATE_KEY = 11000
# Raw bytes keep every value; dates may be beyond the years that Python knows.
EXACT: CodecOptions[Any] = CodecOptions(
    RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS
)


def keep_whole(work: Work, batch: list[str]) -> Failures:
    """Keep each session of the batch in its journal row, once, before the first attempt."""

    def keep_part(part: list[str], seconds: float) -> None:
        work.store.journal.aggregate(
            [
                {"$match": {"_id": {"$in": part}, "before": {"$exists": False}}},
                *found_session(work.store),
                {"$match": {"found": {"$exists": True}}},
                {"$project": {"before": "$found"}},
                merge_into(
                    work.store.settings.journal,
                    [{"$set": {"before": {"$ifNull": ["$before", "$$new.before"]}}}],
                ),
            ],
            maxTimeMS=int(seconds * 1000),
        )

    return in_parts(keep_part, batch)


def delete_unchanged(work: Work, batch: list[str], _: ClientSession) -> Failures:
    """Delete the sessions of the batch that are unchanged and still not needed."""
    target = work.store
    kept = {
        "_id": {"$gte": batch[0], "$lte": batch[-1]},
        "outcome": {"$exists": False},
        "before": {"$exists": True},
        "$expr": is_as_observed(target, "$before", "$plan"),
    }
    patiently(delete_rows, work, patiently(kept_rows, target, kept))
    return {}


def delete_rows(work: Work, rows: list[Document]) -> None:
    target = work.store
    sessions = target.database[target.settings.sessions]

    def in_transaction(session: ClientSession) -> None:
        work.lease.renew(session)
        needed = needed_rows(target, rows, session)
        deletions = [
            DeleteOne({"_id": row["before"]["_id"], "$expr": is_still(row["before"])})
            for row in rows
            if row["_id"] not in needed
        ]
        if deletions:
            sessions.bulk_write(deletions, session=session)

    with target.database.client.start_session() as session:
        session.with_transaction(in_transaction, write_concern=sessions.write_concern)
    needed = needed_rows(target, rows)
    refused = insert_absent(target, [row for row in rows if row["_id"] in needed])
    for row, why in refused.items():
        raise RepairError(f"a session that is needed could not be put back: {why} (row {row})")


def is_still(document: Document) -> Document:
    return {"$eq": ["$$ROOT", {"$literal": document}]}


def needed_rows(
    store: Store, rows: list[Document], session: ClientSession | None = None
) -> set[str]:
    """The _ids of rows whose session must stay: one that events name, a copy left alone."""
    copies = [row for row in rows if "canonical" in row["plan"]]
    orphans = [row for row in rows if "canonical" not in row["plan"]]
    needed = set()
    for some in filter(None, (copies, orphans)):
        names = [row["plan"]["session_id"] for row in some]
        kept = types_that_keep(store, names, some is copies, session)
        needed |= {row["_id"] for row in some if row["plan"]["session_id"] in kept}
    if copies:
        there = canonical_documents(store, copies, session)
        needed |= {row["_id"] for row in copies if canonical_of(row["plan"]) not in there}
    return needed


def canonical_documents(
    store: Store, copies: list[Document], session: ClientSession | None
) -> set[bytes]:
    """The canonical documents of the copies that still stand under their session_id, as bytes."""
    wanted = {"_id": {"$in": [row["plan"]["canonical"]["v"] for row in copies]}}
    sessions = store.sessions.with_options(codec_options=EXACT)
    name = {"session_id": f"${store.path('session_id')}"}
    found = sessions.aggregate([{"$match": wanted}, {"$project": name}], session=session)
    return {bson.encode({"_id": it["_id"], "session_id": it.get("session_id")}) for it in found}


def canonical_of(plan: Document) -> bytes:
    """The canonical document of a copy, as bytes, which can be compared whatever the types."""
    return bson.encode({"_id": plan["canonical"]["v"], "session_id": plan["session_id"]})


def types_that_keep(
    store: Store,
    session_ids: Sequence[str],
    are_copies: bool,
    session: ClientSession | None = None,
) -> dict[str, list[str]]:
    """Of the session_ids that must stay: the BSON types in which events name them.

    An orphan has no event. That a copy has some is no reason to keep it, but where one spells
    the session_id in another type it cannot be told whose that is.
    """
    usual = {"string"} if are_copies else set()
    path = store.settings.event_fields["session_id"]
    found = types_of_events(store.events, path, session_ids, session)
    return {name: sorted(types - usual) for name, types in found.items() if types - usual}


def kept_rows(store: Store, selected: Document) -> list[Document]:
    """The plan and the kept document of journal rows, as raw bytes, which keep every value."""
    raw = store.journal.with_options(codec_options=EXACT)
    return list(raw.find(selected, {"plan": 1, "before": 1}))


def insert_absent(store: Store, rows: list[Document]) -> dict[str, str]:
    """Insert the kept documents; one whose _id is there is left alone. Why others were refused.

    Not by ``$merge``, which sorts the fields of what it inserts.
    """
    if not rows:
        return {}
    inserts = [InsertOne(row["before"]) for row in rows]
    try:
        store.sessions.bulk_write(inserts, ordered=False)
    except BulkWriteError as error:
        if error.details["writeConcernErrors"]:
            raise
        return {
            rows[it["index"]]["_id"]: it["errmsg"]
            for it in error.details["writeErrors"]
            if it["code"] != DUPLICATE_KEY or "_id" not in it.get("keyPattern", {})
        }
    return {}


def deletion_became(store: Store) -> Document:
    is_kept = {"$or": [is_missing("$before"), {"$eq": ["$found", "$before"]}]}
    is_unchanged = {"$and": [is_as_observed(store, "$found", "$plan"), is_kept]}
    return {
        "$switch": {
            "branches": [
                {"case": {"$and": [is_missing("$found"), is_present("$before")]}, "then": APPLIED},
                {"case": is_missing("$found"), "then": SKIPPED_GONE},
                {"case": is_unchanged, "then": PLANNED},
            ],
            "default": SKIPPED_CHANGED,
        }
    }


DELETION = Change(keep_whole, delete_unchanged, deletion_became, SKIPPED_CHANGED)
