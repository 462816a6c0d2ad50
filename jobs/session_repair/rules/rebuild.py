"""Rebuild: what every session should be, from its events alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from session_repair.rules.envelope import (
    creation_time,
    envelope_of,
    is_object_id,
    object_id_before,
)
from session_repair.rules.schemas import MALFORMED_EVENTS, REBUILT

# BSON keeps each element of an array with its type, its index as text, its length and a NUL.
ELEMENT_BYTES = 16


def is_checked(key: Column, counted_before: datetime) -> Column:
    """True when the server's count covers the row: made before the mark, or at an unknown time."""
    return object_id_before(key, counted_before) | ~is_object_id(key)


def rebuild_looked_up(events: DataFrame, counted_before: datetime, horizon: datetime) -> DataFrame:
    """One row per session_id that was looked up: (session_id, rebuilt), null without an event.

    Where several sessions ``of`` one session_id brought its events, those of the first count.
    """
    has_event = F.col("rebuilt.event_count") + F.col("rebuilt.malformed_events") > 0
    return (
        rebuild(events, counted_before, horizon, "of")
        .groupBy("session_id")
        .agg(F.min_by(F.when(has_event, F.col("rebuilt")), "of").alias("rebuilt"))
    )


def rebuild(
    events: DataFrame, counted_before: datetime, horizon: datetime, *more_keys: str
) -> DataFrame:
    """One row per session_id among the events, the null one included: (session_id, rebuilt).

    Events with a malformed field are counted apart and reach no other figure. An event without a
    timestamp counts, gives no date, and its page comes after the dated ones. An event without a
    user says nothing about the user. A timestamp or an ObjectId beyond the ``horizon`` is the error
    of a clock, and no sign of activity; nor is an ObjectId that is older than the mark.

    Events are shuffled once, by session_id, which serves both groupings and the join after them.
    Pages are first reduced per (session, page), so a session of a million events holds no more than
    its distinct pages in memory. With ``more_keys`` there is a row for each value of those too, and
    they stand in it.
    """
    keys = ("session_id", *more_keys)
    return (
        events.repartition("session_id")
        .transform(visits, keys, counted_before, horizon)
        .transform(sessions_of_visits, keys)
    )


def visits(
    events: DataFrame, keys: Sequence[str], counted_before: datetime, horizon: datetime
) -> DataFrame:
    """One row per keys, page and malformed among the events, with partial figures."""
    first_visit = F.struct(F.col("timestamp").isNull(), "timestamp", "key_order", "event_key")
    key = F.col("event_key")
    checked = is_checked(key, counted_before)
    created = F.when(~checked & object_id_before(key, horizon), creation_time(key))
    active = F.when(F.col("timestamp") <= F.lit(horizon), F.col("timestamp"))
    return events.groupBy(*keys, "page", "malformed").agg(
        F.count("event_key").alias("events"),
        F.min(first_visit).alias("first_visit"),
        F.min("timestamp").alias("first_event_at"),
        F.max("timestamp").alias("last_event_at"),
        F.max(active).alias("last_active_at"),
        F.min("user").alias("least_user"),
        F.max("user").alias("greatest_user"),
        F.max(created).alias("last_created_at"),
        F.count(F.when(checked, 1)).alias("checked_events"),
    )


def sessions_of_visits(visits: DataFrame, keys: Sequence[str]) -> DataFrame:
    """One row per keys: the merged figures of their visits, as the struct ``rebuilt``."""
    sound = F.col("malformed").isNull()
    of_sound = {name: F.when(sound, F.col(name)) for name in visits.columns}
    # Pages of events without a session_id are nobody's, and may be very many.
    is_visit = sound & F.col("page").isNotNull() & F.col("session_id").isNotNull()
    visited = F.when(is_visit, F.struct("first_visit", "page"))
    page_size = F.octet_length("page") + ELEMENT_BYTES
    least_user, greatest_user = F.min(of_sound["least_user"]), F.max(of_sound["greatest_user"])
    figures = {
        "event_count": F.coalesce(F.sum(of_sound["events"]), F.lit(0)),
        "pages": F.sort_array(F.collect_list(visited)).getField("page"),
        "first_event_at": F.min(of_sound["first_event_at"]),
        "last_event_at": F.max(of_sound["last_event_at"]),
        "user": F.when(least_user == greatest_user, envelope_of(least_user)),
        "user_conflict": F.coalesce(least_user != greatest_user, F.lit(False)),
        "last_created_at": F.max("last_created_at"),
        "last_active_at": F.max("last_active_at"),
        "malformed_events": F.coalesce(F.sum(F.when(~sound, F.col("events"))), F.lit(0)),
        "malformed": merged(F.collect_list(F.when(~sound, F.struct("malformed", "events")))),
        "checked_events": F.sum("checked_events"),
        "pages_size": F.coalesce(F.sum(F.when(sound, page_size)), F.lit(0)),
    }
    return visits.groupBy(*keys).agg(
        F.struct(*[figures[name].alias(name) for name in REBUILT.fieldNames()]).alias("rebuilt")
    )


def merged(counts: Column) -> Column:
    """The numbers of malformed events, added up and in the order of their types."""

    def total(types: Column) -> Column:
        same = F.filter(counts, lambda it: it["malformed"] == types)
        return F.aggregate(same, F.lit(0).cast("bigint"), lambda sum_, it: sum_ + it["events"])

    distinct = F.sort_array(F.array_distinct(counts["malformed"]))
    odd = F.transform(distinct, lambda it: F.struct(it.alias("types"), total(it).alias("events")))
    nothing = F.array().cast(ArrayType(MALFORMED_EVENTS))
    return F.when(F.size(counts) > 0, odd).otherwise(nothing)  # Spark interprets a transform
