"""Journal: write the plan once, through the connector, before anything else is written.

Spark is lazy: after the first write an unfrozen plan would be recomputed from healed data. The
_id of a row is its run, the attempt to plan it and its session: a task that runs twice makes the
same rows, and what a killed planner writes late is in no later plan. No write touches what the
apply step adds to a row.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING
from pymongo.client_session import ClientSession

from session_repair.errors import Refused, RepairError
from session_repair.mongo.bson_bytes import documents_in, elements, text_in
from session_repair.mongo.connection import spark_uri
from session_repair.mongo.store import Store
from session_repair.repair.compare import Layout, PlannedSession
from session_repair.settings import Settings, semantics
from session_repair.wording import either, number_of

if TYPE_CHECKING:  # the verbs without Spark read the journal too
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

Document = dict[str, Any]

FIRST_ATTEMPT = 1
MAX_BATCH_SIZE, ROWS_PER_WRITE = "spark.mongodb.write.maxBatchSize", "2000"
DUPLICATE_KEY = "E11000"
ROWS_AT_ONCE = 1_000  # rows at a time, where nothing is written
MOST_BYTES = 8 * 1024 * 1024  # of a batch: of its journal rows, and of the sessions it reads whole
WHOLE = b"\x03session\0"  # what a plan begins with: the _id of its session, in a document


@dataclass(frozen=True)
class Plan:
    """The rows of one attempt to plan a run, as a range of the journal's _id index."""

    run_id: str
    attempt: int

    @staticmethod
    def of(document: Document) -> Plan:
        """The plan of a run's document."""
        return Plan(document["_id"], document["attempt"])

    @property
    def prefix(self) -> str:
        """What the _id of a row has before that of the session."""
        return f"{self.run_id}:{self.attempt}:"

    def rows(self, after: str = "", upto: str = "") -> Document:
        """The filter that finds the rows beyond ``after``, which is an _id, and up to ``upto``."""
        end = {"$lte": upto} if upto else {"$lt": f"{self.run_id}:{self.attempt};"}
        return {"_id": {"$gt": after or self.prefix, **end}}


def write_journal(rows: DataFrame, store: Store) -> None:
    """Write the rows, acknowledged by a majority.

    They are inserted, which costs the server a fifth of an upsert. A task that runs twice finds its
    rows there already, and fails; then all are written again by upserts, which set only the plan.
    """
    store.journal.create_index([("expires_at", ASCENDING)], expireAfterSeconds=0)
    try:
        write_rows(rows, store.settings, "insert")
    except Exception as error:  # py4j's, which those who read the journal only need not have
        if DUPLICATE_KEY not in str(error):
            raise
        log.warning("a task of Spark ran twice: the journal is written again, row over row")
        write_rows(rows, store.settings, "update")


def write_rows(rows: DataFrame, settings: Settings, operation: str) -> None:
    """Write by an operation of the connector; in order, so that one error of many is told."""
    (
        rows.write.format("mongodb")
        .mode("append")
        .option("connection.uri", spark_uri(settings))
        .option("database", settings.database)
        .option("collection", settings.journal)
        .option("operationType", operation)
        .option("upsertDocument", "true")
        .option("ordered", "true")
        .option("maxBatchSize", rows.sparkSession.conf.get(MAX_BATCH_SIZE, ROWS_PER_WRITE))
        .option("convertJson", "objectOrArrayOnly")
        .save()
    )


def require_rows(
    store: Store, plan: Plan, rows: Collection[str], session: ClientSession | None
) -> None:
    """Raise RepairError unless the journal has these rows still: what they keep has no copy."""
    wanted: list[Document] = [{"$match": {"_id": {"$in": list(rows)}}}, {"$count": "rows"}]
    found = list(store.journal.aggregate(wanted, session=session)) if rows else []
    if sum(it["rows"] for it in found) < len(rows):
        raise lost(plan, "written whose old values")


def lost(plan: Plan, what: str) -> RepairError:
    """The error where rows of a plan have gone that were to keep something."""
    return RepairError(
        f"rows of the journal of run {plan.run_id} are lost or have expired: nothing is {what} "
        "they could not keep. Plan again."
    )


def drop_other_attempts(store: Store, plan: Plan) -> None:
    """Delete the rows of plans of this run that were never whole, and so never applied."""
    every = {"_id": {"$gt": f"{plan.run_id}:", "$lt": f"{plan.run_id};"}}
    store.journal.delete_many({"$and": [every, {"$nor": [plan.rows()]}]})


class Row:
    """A row of the journal, as bytes."""

    def __init__(self, raw: bytes, layout: Layout) -> None:
        self.fields = {it.name: it for it in elements(raw)}
        self.layout = layout
        self.id = text_in(self.fields[b"_id"])

    @cached_property
    def planned(self) -> PlannedSession:
        """What its plan says of the session."""
        return PlannedSession(self.fields[b"plan"].value, self.layout)

    @property
    def is_whole(self) -> bool:
        """Whether it holds a plan of a session."""
        plan = self.fields.get(b"plan")
        return plan is not None and plan.value.startswith(WHOLE, 4)

    @property
    def keeps_document(self) -> bool:
        return b"before" in self.fields

    @property
    def before(self) -> Any:
        """The document that was deleted, which the row keeps."""
        return RawBSONDocument(self.fields[b"before"].value)

    def text(self, name: str) -> str | None:
        """Its ``outcome``, its ``undo`` or its ``error``, if it has one."""
        found = self.fields.get(name.encode())
        return None if found is None else text_in(found)


def read_rows(
    store: Store,
    wanted: Document,
    names: Sequence[str] = ("plan", "before"),
    most: int = 0,
    session: ClientSession | None = None,
) -> Iterator[Row]:
    """These fields of the rows that are wanted, in their order; no more than ``most``, if named."""
    settings = store.settings
    layout = Layout(settings.written_fields, store.parents, settings.shape.names)
    found = store.journal.find_raw_batches(
        wanted,
        list(names),
        sort=[("_id", ASCENDING)],
        limit=most,
        batch_size=most,
        session=session,
    )
    return (Row(raw, layout) for raw in documents_in(found))


def in_batches(rows: Iterable[Row], most: int = ROWS_AT_ONCE) -> Iterator[list[Row]]:
    """The rows in their order, as many at a time as a batch may hold; at least one."""
    batch: list[Row] = []
    room = MOST_BYTES
    for row in rows:
        size = sum(len(it.value) for it in row.fields.values())
        if batch and (size > room or len(batch) == most):
            yield batch
            batch, room = [], MOST_BYTES
        batch.append(row)
        room -= size
    if batch:
        yield batch


class Seal:
    """SHA-256 over a plan as it stands in the journal, and the settings it was made with."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        semantic = json.dumps(semantics(settings), sort_keys=True)
        self.rows, self.whole = 0, 0
        self._run_id, self._digest = plan.run_id, hashlib.sha256(semantic.encode())

    def add(self, row: Row) -> None:
        self.rows += 1
        if row.is_whole:
            self.whole += 1
            self._digest.update(row.id.encode())
            self._digest.update(row.fields[b"plan"].value)

    def digest(self, planned: int) -> str:
        """Raises Refused when there are not just as many whole plans as were made."""
        if not self.rows == self.whole == planned:
            raise Refused(
                f"the journal of run {self._run_id} holds {number_of(self.rows, 'row')}, "
                f"{self.whole} whole, where {planned} {either(planned, 'was', 'were')} made. "
                "Nothing more was applied; rows were lost, added, edited or have expired. "
                "Plan again."
            )
        return self._digest.hexdigest()


def plan_digest(store: Store, plan: Plan, planned: int) -> str:
    """The digest of the planned number of rows. Raises Refused when the journal holds others."""
    seal = Seal(store.settings, plan)
    for row in read_rows(store, plan.rows(), ["plan"]):
        seal.add(row)
    return seal.digest(planned)
