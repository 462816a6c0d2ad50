"""Rebuild: what every session should be, from its events alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from session_repair.aggregates import BASIC_SHAPE, Shape
from session_repair.rules.declared import (
    part_of,
    partial_figures,
    rebuilt_values,
    with_values,
)
from session_repair.rules.envelope import (
    creation_time,
    envelope_of,
    is_object_id,
    object_id_before,
)
from session_repair.rules.schemas import MALFORMED_EVENTS
from session_repair.rules.shapes import rebuilt_of

# BSON keeps each element of an array with its type, its index as text, its length and a NUL.
ELEMENT_BYTES = 16


def is_checked(key: Column, counted_before: datetime) -> Column:
    """True when the server's count covers the row: made before the mark, or at an unknown time."""
    return object_id_before(key, counted_before) | ~is_object_id(key)


def rebuild_looked_up(
    events: DataFrame, counted_before: datetime, horizon: datetime, shape: Shape = BASIC_SHAPE
) -> DataFrame:
    """One row per session_id that was looked up: (session_id, rebuilt), null without an event.

    Where several sessions ``of`` one session_id brought its events, those of the first count.
    """
    has_event = F.col("rebuilt.event_count") + F.col("rebuilt.malformed_events") > 0
    return (
        rebuild(events, counted_before, horizon, shape, "of")
        .groupBy("session_id")
        .agg(F.min_by(F.when(has_event, F.col("rebuilt")), "of").alias("rebuilt"))
    )


def rebuild(
    events: DataFrame,
    counted_before: datetime,
    horizon: datetime,
    shape: Shape = BASIC_SHAPE,
    *more_keys: str,
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
        events.transform(with_values, shape)  # a stage of its own: Spark compiles no larger one
        .repartition("session_id")
        .transform(with_listed, shape)
        .transform(visits, keys, counted_before, horizon, shape)
        .transform(sessions_of_visits, keys, shape)
    )


def with_listed(events: DataFrame, shape: Shape) -> DataFrame:
    """The events; beside each, for each list that is declared, a row of what it adds to that.

    ``list`` is the number of the list in the shape, and ``page`` what is added; 0 is the event's
    own row, which alone has its declared values. Lists are so many groups more, not so many times
    more.
    """
    if not shape.lists:
        return events
    said = [(part_of(it.name, "token"), part_of(it.name, "key")) for it in shape.lists]
    values = [F.col("page"), *(F.when(token.isNotNull(), key) for token, key in said)]
    added = [F.struct(F.lit(n).alias("list"), it.alias("page")) for n, it in enumerate(values)]
    others = [name for name in events.columns if name != "page"]
    is_own = F.col("list") == 0
    return (
        events.select(*others, F.inline(F.array(*added)))
        .where(is_own | F.col("page").isNotNull())
        .withColumn("more", F.when(is_own, F.col("more")))
    )


def visits(
    events: DataFrame,
    keys: Sequence[str],
    counted_before: datetime,
    horizon: datetime,
    shape: Shape,
) -> DataFrame:
    """One row per keys, list, page and malformed among the events, with partial figures."""
    first_visit = F.struct(F.col("timestamp").isNull(), "timestamp", "key_order", "event_key")
    key = F.col("event_key")
    checked = is_checked(key, counted_before)
    created = F.when(~checked & object_id_before(key, horizon), creation_time(key))
    active = F.when(F.col("timestamp") <= F.lit(horizon), F.col("timestamp"))
    own, counted = key, checked
    if shape.lists:
        is_own = F.col("list") == 0
        own, counted = F.when(is_own, key), checked & is_own
    return events.groupBy(*keys, *list_of(shape), "page", "malformed").agg(
        F.count(own).alias("events"),
        F.min(first_visit).alias("first_visit"),
        F.min("timestamp").alias("first_event_at"),
        F.max("timestamp").alias("last_event_at"),
        F.max(active).alias("last_active_at"),
        F.min("user").alias("least_user"),
        F.max("user").alias("greatest_user"),
        F.max(created).alias("last_created_at"),
        F.count(F.when(counted, 1)).alias("checked_events"),
        *partial_figures(shape),
    )


def list_of(shape: Shape) -> list[str]:
    """The column that tells to which list a page belongs, where there are several."""
    return ["list"] if shape.lists else []


def sessions_of_visits(visits: DataFrame, keys: Sequence[str], shape: Shape) -> DataFrame:
    """One row per keys: the merged figures of their visits, as the struct ``rebuilt``."""
    sound = F.col("malformed").isNull()
    of_sound = {name: F.when(sound, F.col(name)) for name in visits.columns}
    # Pages of events without a session_id are nobody's, and may be very many.
    is_visit = sound & F.col("page").isNotNull() & F.col("session_id").isNotNull()

    def listed(number: int) -> Column:
        is_of_it = is_visit & (F.col("list") == number) if shape.lists else is_visit
        visited = F.when(is_of_it, F.struct("first_visit", "page"))
        return F.sort_array(F.collect_list(visited)).getField("page")

    page_size = F.octet_length("page") + ELEMENT_BYTES
    least_user, greatest_user = F.min(of_sound["least_user"]), F.max(of_sound["greatest_user"])
    figures = {
        "event_count": F.coalesce(F.sum(of_sound["events"]), F.lit(0)),
        "pages": listed(0),
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
    if shape.declared:
        lists = {it.name: listed(n) for n, it in enumerate(shape.lists, start=1)}
        figures["more"] = rebuilt_values(shape, sound, {**figures, **lists})
    names = rebuilt_of(shape).fieldNames()
    return visits.groupBy(*keys).agg(
        F.struct(*[figures[name].alias(name) for name in names]).alias("rebuilt")
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
