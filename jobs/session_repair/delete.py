"""Delete: remove orphan sessions, batch by batch, each in one transaction that looks once more.

MongoDB has no aggregation stage that deletes. The transaction renews the lease, looks for events
of the batch, and deletes only documents that are byte for byte those kept in the journal. An
ingest without transactions may insert an event beside it; so the events are looked for once more
after the commit, and a session that got one is put back as it was.
"""

from __future__ import annotations

from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from session_repair.apply import (
    APPLIED,
    GONE,
    Change,
    Target,
    is_missing,
    same_as_observed,
    undecided,
)
from session_repair.lease import Lease

Document = dict[str, Any]

DUPLICATE_KEY = 11000


def delete_unchanged(target: Target, lease: Lease, batch: list[str]) -> None:
    """Delete the sessions of the batch that are unchanged and still have no event."""
    kept = {
        **undecided(batch),
        "before": {"$exists": True},
        "$expr": {"$and": same_as_observed(target, "$before", "$plan")},
    }
    rows = kept_rows(target, kept)
    sessions = target.database[target.settings.sessions]

    def in_transaction(session: ClientSession) -> None:
        lease.renew(session)
        alive = ids_with_events(target, rows, session)
        deletions = [
            DeleteOne({"_id": row["before"]["_id"], "$expr": is_still(row["before"])})
            for row in rows
            if row["plan"]["session_id"] not in alive
        ]
        if deletions:
            sessions.bulk_write(deletions, session=session)

    with target.database.client.start_session() as session:
        session.with_transaction(in_transaction)
    put_back_late(target, rows)


def is_still(document: Document) -> Document:
    return {"$eq": ["$$ROOT", {"$literal": document}]}


def ids_with_events(
    target: Target, rows: list[Document], session: ClientSession | None = None
) -> set[str]:
    """Those session_ids of the rows that an event names."""
    path = target.settings.event_fields["session_id"]
    wanted = {path: {"$in": [row["plan"]["session_id"] for row in rows]}}
    groups = target.database[target.settings.events].aggregate(
        [{"$match": wanted}, {"$group": {"_id": f"${path}"}}], session=session
    )
    return {group["_id"] for group in groups}


def put_back_late(target: Target, rows: list[Document]) -> None:
    """Insert again what was deleted although an event arrived."""
    alive = ids_with_events(target, rows)
    insert_absent(target, [row for row in rows if row["plan"]["session_id"] in alive])


def kept_rows(target: Target, selected: Document) -> list[Document]:
    """The plan and the kept document of journal rows, as raw bytes, which keep every value."""
    # Dates may be beyond the years that Python knows.
    exact = CodecOptions(RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS)
    raw = target.journal.with_options(codec_options=exact)
    return list(raw.find(selected, {"plan": 1, "before": 1}))


def insert_absent(target: Target, rows: list[Document]) -> None:
    """Insert the kept documents; one whose _id is there is left alone.

    Not by ``$merge``, which sorts the fields of what it inserts.
    """
    if not rows:
        return
    inserts = [InsertOne(row["before"]) for row in rows]
    try:
        target.database[target.settings.sessions].bulk_write(inserts, ordered=False)
    except BulkWriteError as error:
        if any(it["code"] != DUPLICATE_KEY for it in error.details["writeErrors"]):
            raise


def deletion_outcomes(_: Target) -> list[Document]:
    deleted = {"$and": [is_missing("$found"), {"$ne": [{"$type": "$before"}, "missing"]}]}
    return [
        {"case": deleted, "then": APPLIED},
        {"case": is_missing("$found"), "then": GONE},
    ]


DELETION = Change(delete_unchanged, deletion_outcomes)
