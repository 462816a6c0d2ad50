"""Read: both collections through mongo-spark-connector, typed by the server, nothing coerced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import json_util
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from session_repair.mongo.bson_types import (
    EVENT_TYPES,
    SESSION_TYPES,
    TYPES,
    type_expressions,
    value_where_typed,
)
from session_repair.mongo.collections import Census
from session_repair.mongo.connection import spark_uri
from session_repair.mongo.target import parent_paths
from session_repair.rules.envelope import creation_time, in_envelope, key_order, present
from session_repair.rules.schemas import EVENTS, KEY_ORDER, SESSIONS
from session_repair.settings import Settings

NOTHING: Mapping[str, Any] = {}
SINGLE_PARTITION = "com.mongodb.spark.sql.connector.read.partitioner.SinglePartitionPartitioner"

# What the connector hands over: dates as milliseconds, which no time zone or calendar can bend.
SESSION_COLUMNS = """
    session_key string, user string, session_id string, event_count bigint, first_event_at bigint,
    last_event_at bigint, pages array<string>, size bigint, types struct<session_id: string,
    user_id: string, event_count: string, first_event_at: string, last_event_at: string,
    pages: string>, parents array<string>
"""
PLAIN_EVENT_COLUMNS = "_id string, user string, session_id string, timestamp bigint, page string"
GUARDED_EVENT_COLUMNS = """
    event_key string, user string, session_id string, timestamp bigint, page string,
    types struct<session_id: string, user_id: string, timestamp: string, page: string>
"""


def read_sessions(spark: SparkSession, settings: Settings, census: Census) -> DataFrame:
    """One row per session document, shape SESSIONS."""
    parents = [{"$type": f"${parent}"} for parent in parent_paths(settings.session_fields)]
    more = {"size": {"$bsonSize": "$$ROOT"}, "parents": parents or {"$literal": None}}
    pipeline = guarded_pipeline("session_key", settings.session_fields, SESSION_TYPES, more)
    rows = load(spark, settings, census, pipeline, SESSION_COLUMNS)
    return rows.select(
        "session_key",
        order_of("session_key", census),
        "session_id",
        present(F.col("user")).alias("user"),
        "event_count",
        instant("first_event_at"),
        instant("last_event_at"),
        "pages",
        creation_time(F.col("session_key")).alias("created_at"),
        "size",
        "types",
        "parents",
        malformed_fields(SESSION_TYPES).alias("malformed"),
    ).select(*SESSIONS.fieldNames())


def read_events(spark: SparkSession, settings: Settings, census: Census) -> DataFrame:
    """One row per event, shape EVENTS.

    Where the census found only expected types and ObjectIds, the server copies the fields as they
    are; else it checks each event, at twice the cost.
    """
    paths = settings.event_fields
    if census.odd or census.id_types != {"objectId"}:
        pipeline = guarded_pipeline("event_key", paths, EVENT_TYPES)
        rows = load(spark, settings, census, pipeline, GUARDED_EVENT_COLUMNS)
        malformed = malformed_fields(EVENT_TYPES)
        user = present(F.col("user"))
    else:
        plain = {name: f"${path}" for name, path in paths.items() if name != "user_id"}
        pipeline = [{"$project": {**plain, "user": f"${paths['user_id']}"}}]
        rows = load(spark, settings, census, pipeline, PLAIN_EVENT_COLUMNS)
        rows = rows.withColumn("event_key", in_envelope(F.col("_id")))
        malformed = F.lit(None).cast("string")
        user = in_envelope(F.col("user"))
    return rows.select(
        "event_key",
        order_of("event_key", census),
        "session_id",
        user.alias("user"),
        instant("timestamp"),
        "page",
        malformed.alias("malformed"),
    ).select(*EVENTS.fieldNames())


def load(
    spark: SparkSession,
    settings: Settings,
    census: Census,
    pipeline: list[dict[str, Any]],
    columns: str,
) -> DataFrame:
    """The rows that the pipeline makes of the collection, through the connector."""
    scope = [{"$match": census.scope}] if census.scope else []
    reader = reader_of(spark, settings, census.collection, [*scope, *pipeline])
    reader = reader.option("outputExtendedJson", "true").option("aggregation.allowDiskUse", "true")
    if census.needs_one_cursor:
        reader = reader.option("partitioner", SINGLE_PARTITION)
    return reader.schema(columns).load()


def reader_of(
    spark: SparkSession, settings: Settings, collection: str, pipeline: list[dict[str, Any]]
) -> DataFrameReader:
    """The connector's reader of what the pipeline makes of a collection."""
    return (
        spark.read.format("mongodb")
        .option("connection.uri", spark_uri(settings))
        .option("database", settings.database)
        .option("collection", collection)
        .option(
            "aggregation.pipeline",
            json_util.dumps(pipeline, json_options=json_util.CANONICAL_JSON_OPTIONS),
        )
    )


def guarded_pipeline(
    key: str,
    paths: Mapping[str, str],
    allowed: Mapping[str, tuple[str, ...]],
    more: Mapping[str, Any] = NOTHING,
) -> list[dict[str, Any]]:
    """Stages that name each field's type, and hand on its value only where the type is allowed."""
    values = {
        name: value_where_typed(name, path, allowed)
        for name, path in paths.items()
        if name != "user_id"
    }
    # A value of any type travels in an envelope, so that text that looks like JSON stays text.
    user = {
        "v": {
            "$cond": [
                {"$in": [f"${TYPES}.user_id", list(allowed["user_id"])]},
                f"${paths['user_id']}",
                None,
            ]
        }
    }
    fields = {key: {"v": "$_id"}, "user": user, **values, "types": f"${TYPES}", **more}
    return [{"$set": {TYPES: type_expressions(paths)}}, {"$project": {"_id": 0, **fields}}]


def order_of(key: str, census: Census) -> Column:
    """The order of the _ids, at no cost where their text has it."""
    is_textual = census.id_types <= {"objectId"}
    order = F.lit(None).cast(KEY_ORDER) if is_textual else key_order(F.col(key))
    return order.alias("key_order")


def instant(name: str) -> Column:
    """Milliseconds since 1970 as an instant."""
    return F.timestamp_millis(F.col(name)).alias(name)


def malformed_fields(allowed: Mapping[str, tuple[str, ...]]) -> Column:
    """'field: type' of each field whose type is not allowed; null when there is none."""
    found = [
        F.when(
            ~F.col(f"types.{field}").isin(*types),
            F.concat(F.lit(f"{field}: "), F.col(f"types.{field}")),
        )
        for field, types in allowed.items()
    ]
    return F.nullif(F.concat_ws(", ", *found), F.lit(""))
