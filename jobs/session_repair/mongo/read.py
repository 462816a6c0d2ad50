"""Read: both collections through mongo-spark-connector, typed by the server, nothing coerced.

Each collection is read once. Where a document's fields all have the usual types, their values come
as they are, and no names of types; any other document comes with the names, and with the values
whose types are allowed. So what is malformed is told by the very read that takes the values.

Text that is not UTF-8 comes with a MARK for what is none of it, as sound text may hold one. Which
of both it is the server is asked only once a read has seen a MARK: by ``shows_marks``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import reduce
from math import ceil
from typing import Any

from bson import json_util
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from session_repair.dates import DATE
from session_repair.mongo.bson_types import (
    EVENT_TYPES,
    ID_TYPES,
    SESSION_TYPES,
    USUAL_EVENT_TYPES,
    all_parents,
    allowed_types,
    below,
    has_twice,
    is_usual,
    owners_of,
    type_expression,
    type_unless_twice,
    types_of,
    value_of,
    value_where_typed,
    whole_of,
)
from session_repair.mongo.census import FEW_DOCUMENTS, MOST_SCANS, Census
from session_repair.mongo.columns import event_columns, session_columns
from session_repair.mongo.connection import spark_uri
from session_repair.mongo.dates import exact_dates
from session_repair.mongo.declared import event_tokens, stored_tokens
from session_repair.mongo.ids import odd_id, plain_in, usual_id
from session_repair.mongo.utf8 import unmarked_texts
from session_repair.rules.envelope import creation_time, envelope_of, key_of, key_order, present
from session_repair.rules.held import stored_values, with_declared, with_texts
from session_repair.rules.marks import EVENT_TEXTS, SESSION_TEXTS, joinable_id, told_types
from session_repair.rules.schemas import EXACT, KEY_ORDER
from session_repair.rules.shapes import events_of, sessions_of
from session_repair.rules.usual_types import USUAL_ID, USUAL_TYPES, names_of
from session_repair.settings import Settings
from session_repair.wording import number_of

log = logging.getLogger(__name__)

Document = dict[str, Any]

NOTHING: Mapping[str, Any] = {}
SINGLE_PARTITION = "com.mongodb.spark.sql.connector.read.partitioner.SinglePartitionPartitioner"
RANGES_PER_CORE = 3  # so that none waits long for the slowest; one, where cores are few
DOCUMENTS_PER_RANGE = 5_000_000  # a task that fails has no more than these to read again


def read_sessions(
    spark: SparkSession, settings: Settings, census: Census, events: Census
) -> DataFrame:
    """One row per session document, shape SESSIONS."""
    stages, columns = session_stages(settings, census), session_columns(settings)
    rows = load(spark, settings, census, stages, columns)
    return session_rows(rows, settings, census, plain_in(events))


def read_events(spark: SparkSession, settings: Settings, census: Census) -> DataFrame:
    """One row per event, shape EVENTS."""
    stages, columns = event_stages(settings, census), event_columns(settings)
    return event_rows(load(spark, settings, census, stages, columns), settings, census)


def session_stages(
    settings: Settings, census: Census, more: Mapping[str, Any] = NOTHING, at: str = ""
) -> list[Document]:
    """What makes of session documents the SESSION_COLUMNS, and ``more`` beside them.

    The documents stand in the field ``at`` of others, if that is named.
    """
    paths, written = all_below(at, settings.session_fields), settings.written_fields
    parents = [below(at, it) for it in all_parents(written)]
    own_id = below(at, "_id")
    texts = unmarked_texts(census.shows_marks, {**paths, "_id": own_id}, SESSION_TEXTS)
    shape, size = settings.shape, {"size": {"$bsonSize": "$$ROOT"}}
    usual = {**size, **texts, **stored_tokens(shape, at, may_be_odd=False), **more}
    on_the_way = {"parents": [{"$type": f"${it}"} for it in parents]} if parents else NOTHING
    fields, dates, own = settings.session_fields, settings.session_dates, paths["session_id"]
    of_odd = {**stored_tokens(shape, at, may_be_odd=True), **exact_dates(paths, dates)}
    odd = {**usual, **of_odd, **on_the_way, **odd_id(own)}
    usual |= usual_id(own, census.usual["session_id"])
    key = key_expression(census, own_id)
    types = {name: type_unless_twice(name, path, dates, at) for name, path in fields.items()}
    types["_id"] = {"$type": f"${own_id}"}
    once = [{"$not": has_twice(whole_of(it, at))} for it in owners_of(written.values())]
    is_plain = is_usual(all_below(at, written), census.usual, dates, once)
    return typed_stages(key, paths, SESSION_TYPES, dates, types, is_plain, usual, odd)


def event_stages(
    settings: Settings, census: Census, more: Mapping[str, Any] = NOTHING, at: str = ""
) -> list[Document]:
    """What makes of event documents the EVENT_COLUMNS, and ``more`` beside them."""
    paths, key = all_below(at, settings.event_fields), key_expression(census, below(at, "_id"))
    dates, own = settings.event_dates, paths["session_id"]
    types = {name: type_expression(name, path, dates) for name, path in paths.items()}
    is_plain = is_usual(paths, census.usual, dates)
    texts = unmarked_texts(census.shows_marks, paths, EVENT_TEXTS)
    more = {**texts, **event_tokens(settings.shape, at), **more}
    usual, odd = {**usual_id(own, census.usual["session_id"]), **more}, {**odd_id(own), **more}
    return typed_stages(key, paths, EVENT_TYPES, dates, types, is_plain, usual, odd)


def all_below(parent: str, paths: Mapping[str, str]) -> dict[str, str]:
    return {name: below(parent, path) for name, path in paths.items()}


def session_rows(
    rows: DataFrame, settings: Settings, census: Census, plain: str, *more: str
) -> DataFrame:
    """One row per row of SESSION_COLUMNS, shape SESSIONS and the columns ``more``.

    ``plain`` is the kind of the ids that are their own keys.
    """
    shape, parents = settings.shape, all_parents(settings.written_fields)
    of_objects = F.array(*[F.lit("object") for _ in parents])
    types = told_types(SESSION_TEXTS, {**USUAL_TYPES, **names_of(census.usual), **USUAL_ID})
    kept = {**types_of(settings.session_fields, SESSION_TYPES), **ID_TYPES}
    malformed = malformed_fields(allowed_types(kept, settings.session_dates))
    return (
        with_texts(rows.withColumn("types", types), shape)
        .select(
            envelope_of(F.col("key")).alias("session_key"),
            order_of("key", census),
            joinable_id(census.usual["session_id"][0], plain),
            "exact_id",
            envelope_of(present(F.col("user"))).alias("user"),
            "event_count",
            instant("first_event_at"),
            instant("last_event_at"),
            "pages",
            creation_time(key_of(F.col("key"))).alias("created_at"),
            "size",
            "types",
            (F.coalesce("parents", of_objects) if parents else F.col("parents")).alias("parents"),
            exact(settings.session_dates),
            with_declared(malformed, shape).alias("malformed"),
            *stored_values(shape),
            *more,
        )
        .select(*sessions_of(shape).fieldNames(), *more)
    )


def event_rows(rows: DataFrame, settings: Settings, census: Census, *more: str) -> DataFrame:
    """One row per row of EVENT_COLUMNS, shape EVENTS and the columns ``more``."""
    types = told_types(EVENT_TEXTS, {**names_of(USUAL_EVENT_TYPES), **names_of(census.usual)})
    return (
        rows.withColumn("types", types)
        .select(
            key_of(F.col("key")).alias("event_key"),
            order_of("key", census),
            joinable_id(census.usual["session_id"][0], plain_in(census)),
            key_of(present(F.col("user"))).alias("user"),
            instant("timestamp"),
            "page",
            malformed_fields(
                allowed_types(types_of(settings.event_fields, EVENT_TYPES), settings.event_dates)
            ).alias("malformed"),
            *(["more"] if settings.shape.read else []),
            *more,
        )
        .select(*events_of(settings.shape).fieldNames(), *more)
    )


def load(
    spark: SparkSession,
    settings: Settings,
    census: Census,
    stages: list[Document],
    columns: str,
) -> DataFrame:
    """The rows that the stages make of the collection: one cursor for each range of its _ids."""
    ranges, frames = ranges_of(spark, census), []
    log.info("reading by way of %s: %s", census.collection.name, number_of(len(ranges), "cursor"))
    for part in ranges:
        pipeline = [{"$match": {"$and": [part, census.scope]}}, *stages]
        reader = reader_of(spark, settings, census.collection.name, pipeline)
        reader = reader.option("outputExtendedJson", "true").schema(columns)
        frames.append(reader.option("partitioner", SINGLE_PARTITION).load())
    return reduce(DataFrame.unionAll, frames)


def ranges_of(spark: SparkSession, census: Census) -> list[Document]:
    """The filters of the cursors that share the collection."""
    cores = spark.sparkContext.defaultParallelism
    few, many = (ceil(census.documents / size) for size in (FEW_DOCUMENTS, DOCUMENTS_PER_RANGE))
    return census.ranges(
        max(min(few, cores if cores <= MOST_SCANS else RANGES_PER_CORE * cores), many)
    )


def reader_of(
    spark: SparkSession, settings: Settings, collection: str, pipeline: list[dict[str, Any]]
) -> DataFrameReader:
    """The connector's reader of what the pipeline makes of a collection."""
    text = json_util.dumps(pipeline, json_options=json_util.CANONICAL_JSON_OPTIONS)
    log.debug("pipeline on %s: %s", collection, text)
    return (
        spark.read.format("mongodb")
        .option("connection.uri", spark_uri(settings))
        .option("database", settings.database)
        .option("collection", collection)
        .option("aggregation.pipeline", text)
    )


def typed_stages(
    key: Document,
    paths: Mapping[str, str],
    allowed: Mapping[str, tuple[str, ...]],
    dates: str,
    types: Document,
    is_plain: Document,
    more_of_usual: Mapping[str, Any],
    more_of_odd: Mapping[str, Any],
) -> list[Document]:
    """One stage: the values of a usual document, else the types and what is of an allowed type.

    An ObjectId comes as its digits, which costs the connector a third of its extended JSON. A value
    of any type comes in an envelope, so that text that looks like JSON stays text. How a session id
    comes, ``more`` says.
    """
    others = {name: it for name, it in paths.items() if name not in ("user_id", "session_id")}
    plain = {name: value_of(name, path, dates) for name, path in others.items()}
    user = f"${paths['user_id']}" if "user_id" in paths else None
    is_user = {"$in": ["$$types.user_id", list(allowed["user_id"])]}
    allowed = allowed_types(allowed, dates)
    guarded = {name: value_where_typed(name, it, allowed, dates) for name, it in others.items()}
    found = {
        "key": key,
        "user": {"v": {"$cond": [is_user, user, None]}},
        **guarded,
        "types": "$$types",
        **more_of_odd,
    }
    expected = {"key": key, "user": {"$toString": user}, **plain, **more_of_usual}
    odd = {"$let": {"vars": {"types": types}, "in": found}}
    return [{"$replaceWith": {"$cond": [is_plain, expected, odd]}}]


def key_expression(census: Census, path: str) -> Document:
    """The _id at the path: the digits of an ObjectId where all are, else an envelope."""
    return {"$toString": f"${path}"} if census.has_object_ids else {"v": f"${path}"}


def order_of(key: str, census: Census) -> Column:
    """The order of the _ids, at no cost where their text has it."""
    order = F.lit(None).cast(KEY_ORDER) if census.has_object_ids else key_order(F.col(key))
    return order.alias("key_order")


def instant(name: str) -> Column:
    """Milliseconds since 1970 as an instant."""
    return F.timestamp_millis(F.col(name)).alias(name)


def exact(dates: str) -> Column:
    """The dates as they are stored, of what is not usual; null where they are BSON dates."""
    if dates == DATE:
        return F.lit(None).cast(EXACT).alias("exact")
    fields = [present(F.col(f"exact.{name}")).alias(name) for name in EXACT.fieldNames()]
    return F.when(F.col("exact").isNotNull(), F.struct(*fields)).alias("exact")


def malformed_fields(allowed: Mapping[str, tuple[str, ...]]) -> Column:
    """'field: type' of each field whose type is not allowed; null when there is none."""
    found = [
        F.when(
            ~F.col(f"types.{field}").isin(*types),
            F.concat(F.lit(f"{field}: "), F.col(f"types.{field}")),
        )
        for field, types in allowed.items()
    ]
    odd = F.nullif(F.concat_ws(", ", *found), F.lit(""))
    return F.when(F.col("types").isNotNull(), odd)
