"""Journal: write the plan once, through the connector, before anything else is written.

Spark is lazy: after the first write an unfrozen plan would be recomputed from healed data. The
_id of a row is its run and its session, so that a task that runs twice writes the same rows; the
write sets only the plan, so that it can never undo what the apply step adds later.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING
from pymongo.database import Database
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.errors import Refused
from session_repair.mongo.connection import spark_uri
from session_repair.rules.envelope import content
from session_repair.rules.schemas import CHANGES, JOURNAL_ROWS
from session_repair.settings import Settings, semantics

Document = dict[str, Any]

# The name a change has in the journal, and in the session's field mapping.
STORED_NAMES = {name: "user_id" if name == "user" else name for name in CHANGES.fieldNames()}


def journal_rows(corrected: DataFrame, run_id: str, expires_at: datetime) -> DataFrame:
    """One row per session to be corrected, shape JOURNAL_ROWS. Pure.

    ``plan`` is one JSON document: session (envelope of its _id), session_id, observed (the fields
    as they were, absent ones absent), new (the fields to write) and findings (codes).
    """
    planned = corrected.where("changes IS NOT NULL")
    plan = json_object(
        {
            "session": F.col("session_key"),
            "session_id": json_text(F.col("session_id")),
            "observed": json_object(observed_fields()),
            "new": json_object(new_fields()),
            "findings": F.to_json(F.col("findings.code")),
        }
    )
    return as_journal_rows(planned, plan, run_id, expires_at)


def deletion_rows(corrected: DataFrame, run_id: str, expires_at: datetime) -> DataFrame:
    """One row per session to be deleted, shape JOURNAL_ROWS, ``plan.delete`` being true. Pure.

    ``plan.canonical`` is the _id of the document that makes it a copy; absent for an orphan.
    """
    is_copy = F.col("canonical_key") != F.col("session_key")
    plan = json_object(
        {
            "session": F.col("session_key"),
            "session_id": json_text(F.col("session_id")),
            "observed": json_object(observed_fields()),
            "delete": F.lit("true"),
            "canonical": F.when(is_copy, F.col("canonical_key")),
            "findings": F.to_json(F.col("findings.code")),
        }
    )
    return as_journal_rows(corrected, plan, run_id, expires_at)


def as_journal_rows(
    planned: DataFrame, plan: Column, run_id: str, expires_at: datetime
) -> DataFrame:
    return planned.select(
        F.concat(F.lit(f"{run_id}:"), F.col("session_key")).alias("_id"),
        F.lit(run_id).alias("run_id"),
        plan.alias("plan"),
        F.lit(expires_at).alias("expires_at"),
    ).select(*JOURNAL_ROWS.fieldNames())


def json_object(members: dict[str, Column]) -> Column:
    """A JSON object of the members that are not null."""
    pairs = [F.concat(F.lit(f'"{name}":'), value) for name, value in members.items()]
    return F.concat(F.lit("{"), F.concat_ws(",", *pairs), F.lit("}"))


def json_text(text: Column) -> Column:
    """A string as quoted and escaped JSON."""
    array = F.to_json(F.array(text))
    return F.substr(array, F.lit(2), F.length(array) - F.lit(2))


def json_number(number: Column) -> Column:
    """An int where the value fits into one, as drivers write it, else a long."""
    kind = F.when(number.between(-(2**31), 2**31 - 1), "$numberInt").otherwise("$numberLong")
    return F.concat(F.lit('{"'), kind, F.lit('":"'), number.cast("string"), F.lit('"}'))


def json_date(date: Column) -> Column:
    milliseconds = F.unix_millis(date).cast("string")
    return F.concat(F.lit('{"$date":{"$numberLong":"'), milliseconds, F.lit('"}}'))


def json_values(owner: str) -> dict[str, Column]:
    """The five fields of a struct as extended JSON, under their stored names; null for null."""
    return {
        "event_count": json_number(F.col(f"{owner}.event_count")),
        "pages": F.to_json(F.col(f"{owner}.pages")),
        "first_event_at": json_date(F.col(f"{owner}.first_event_at")),
        "last_event_at": json_date(F.col(f"{owner}.last_event_at")),
        "user_id": content(F.col(f"{owner}.user")),
    }


def observed_fields() -> dict[str, Column]:
    """The fields as the plan saw them: a missing one is left out, a null one is null."""
    return {
        name: F.when(F.col(f"stored.types.{name}") == "null", "null").otherwise(value)
        for name, value in json_values("stored").items()
    }


def new_fields() -> dict[str, Column]:
    return json_values("changes")


def write_journal(rows: DataFrame, settings: Settings, database: Database[Document]) -> None:
    """Write the rows, acknowledged by a majority."""
    database[settings.journal].create_index([("expires_at", ASCENDING)], expireAfterSeconds=0)
    (
        rows.write.format("mongodb")
        .mode("append")
        .option("connection.uri", spark_uri(settings))
        .option("database", settings.database)
        .option("collection", settings.journal)
        .option("operationType", "update")
        .option("upsertDocument", "true")
        .option("ordered", "false")
        .option("convertJson", "objectOrArrayOnly")
        .save()
    )


def drop_rows(database: Database[Document], settings: Settings, run_id: str) -> None:
    """Delete the rows of a plan that was never whole, and so never applied."""
    database[settings.journal].delete_many(of_run(run_id))


def of_run(run_id: str) -> Document:
    """The journal rows of a run, as a range of the _id index."""
    return {"_id": {"$gt": f"{run_id}:", "$lt": f"{run_id};"}}


def plan_digest(database: Database[Document], settings: Settings, run_id: str, planned: int) -> str:
    """SHA-256 over the plan as it stands in the journal, and the settings it was made with.

    Raises Refused when the journal does not hold the planned number of whole plans and no more.
    """
    journal = settings.journal
    semantic = json.dumps(semantics(settings), sort_keys=True)
    digest = hashlib.sha256(semantic.encode())
    selected = {**of_run(run_id), "plan.session": {"$type": "object"}}
    raw: Any = database.get_collection(journal, codec_options=CodecOptions(RawBSONDocument))
    for row in raw.find(selected, {"plan": 1}).sort("_id", ASCENDING):
        digest.update(row.raw)
    whole = database[journal].count_documents(selected)
    rows = database[journal].count_documents(of_run(run_id))
    if not rows == whole == planned:
        raise Refused(
            f"the journal of run {run_id} holds {rows} rows, {whole} of them whole, where "
            f"{planned} were made. Nothing more was applied; rows were lost, added, edited or have "
            "expired. Plan again."
        )
    return digest.hexdigest()
