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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING

from session_repair.errors import Refused
from session_repair.mongo.connection import spark_uri
from session_repair.mongo.store import Store, raw
from session_repair.settings import Settings, semantics
from session_repair.wording import either, number_of

if TYPE_CHECKING:  # the verbs without Spark read the journal too
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

Document = dict[str, Any]

FIRST_ATTEMPT = 1
MAX_BATCH_SIZE, ROWS_PER_WRITE = "spark.mongodb.write.maxBatchSize", "2000"
DUPLICATE_KEY = "E11000"


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


def drop_other_attempts(store: Store, plan: Plan) -> None:
    """Delete the rows of plans of this run that were never whole, and so never applied."""
    every = {"_id": {"$gt": f"{plan.run_id}:", "$lt": f"{plan.run_id};"}}
    store.journal.delete_many({"$and": [every, {"$nor": [plan.rows()]}]})


def raw_rows(store: Store, plan: Plan, fields: Iterable[str]) -> Iterator[RawBSONDocument]:
    """These fields of the rows of a plan in their order, as the bytes that they are."""
    rows: Iterator[RawBSONDocument] = (
        raw(store.journal).find(plan.rows(), list(fields)).sort("_id", ASCENDING)
    )
    return rows


class Seal:
    """SHA-256 over a plan as it stands in the journal, and the settings it was made with."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        semantic = json.dumps(semantics(settings), sort_keys=True)
        self.rows, self.whole = 0, 0
        self._run_id, self._digest = plan.run_id, hashlib.sha256(semantic.encode())

    def add(self, row: RawBSONDocument) -> None:
        plan = row.get("plan")
        self.rows += 1
        if isinstance(plan, RawBSONDocument) and isinstance(plan.get("session"), RawBSONDocument):
            self.whole += 1
            self._digest.update(row["_id"].encode())
            self._digest.update(plan.raw)

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
    for row in raw_rows(store, plan, ["plan"]):
        seal.add(row)
    return seal.digest(planned)
