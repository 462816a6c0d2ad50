"""Look-up: the sessions that a verb can act on, their copies and their events, and nothing else.

The suspects are found by a filter or by a window, the rest by the indexes on the session id, inside
the pipelines that the connector runs: some suspects at a time, since each look-up costs the server
as much as ten documents. What they bring carries the least of them in ``of``. Suspects with one
session_id may stand in two such groups, which both bring all of it, and only what the first of them
brought may count.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F

from session_repair.mongo.bson_types import type_of_id
from session_repair.mongo.census import Census
from session_repair.mongo.columns import event_columns, session_columns
from session_repair.mongo.empty import by_empty, empty_totals, maybe_empty
from session_repair.mongo.ids import is_looked_up, odd_ids, of_type, plain_in
from session_repair.mongo.read import (
    event_rows,
    event_stages,
    key_expression,
    load,
    ranges_of,
    session_rows,
    session_stages,
)
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow
from session_repair.rules.envelope import key_of
from session_repair.rules.ids import key_of_id
from session_repair.rules.rebuild import is_checked
from session_repair.rules.shapes import events_of
from session_repair.settings import Settings
from session_repair.symptoms import ALL
from session_repair.verbs import DELETE_ORPHANS, VERIFY

Document = dict[str, Any]

SUSPECTS_AT_ONCE = 50  # about; the ids of a group have to fit into one document

# What the stages name what a group of suspects brings, before it is read like any other document.
FOUND = "found"
NAMED = "array<struct<kind: string, session_id: string, exact_id: string>>"  # ids of suspects
IS_FIRST = {"$lte": ["$number", 0]}  # of what a group brings; or it brings nothing


def suspects_of(settings: Settings, in_both: bool) -> Document:
    """The filter of the sessions that are or may be empty, and can be looked up."""
    session_id = settings.session_fields["session_id"]
    return {"$and": [maybe_empty(settings, in_both), is_looked_up(session_id)]}


def count_suspects(store: Store, in_both: bool) -> tuple[int, dict[str, int], dict[str, int]]:
    """How many suspects there are; by type, others that no look-up finds; the totals of empty ones.

    By one pass. No totals where sessions have to be empty ``in_both``: others are not looked at.
    """
    key = None if in_both else by_empty(store.settings)
    parts = {
        "all": [{"$group": {"_id": key, "documents": {"$sum": 1}}}],
        "odd": odd_ids(store.path("session_id")),
    }
    stages = [{"$match": maybe_empty(store.settings, in_both)}, {"$facet": parts}]
    [found] = store.sessions.aggregate(stages)
    odd = {it["_id"]: it["documents"] for it in found["odd"]}
    number = sum(it["documents"] for it in found["all"]) - sum(odd.values())
    return number, odd, {} if in_both else empty_totals(found["all"])


def may_look_up(settings: Settings, verb: str) -> bool:
    """Whether it can be a look-up, as far as the settings tell."""
    return settings.since is not None or needs_all_sessions(settings, verb) is None


def needs_all_sessions(settings: Settings, verb: str) -> str | None:
    """Why the verb has to read all sessions; None where it need not."""
    if settings.session_ids:
        return None
    if verb == VERIFY:
        return "verify looks at all sessions"
    if settings.scope == ALL and verb != DELETE_ORPHANS:  # which has no scope
        return "--scope all looks at all sessions"
    return None


def look_up_sessions(
    spark: SparkSession,
    settings: Settings,
    suspects: Census,
    lookups: int,
    window: ActiveWindow | None,
    events: Census,
    observation: Observation,
) -> DataFrame:
    """One row per suspect and per copy of one, shape SESSIONS, by so many look-ups of each cursor.

    The observation is told ``old_sessions``, the number of suspects that the census has checked.
    """
    if window is None:
        counted = [{"$in": [f"${FOUND}._id", "$suspects"]}, 1, 0]
        old = F.when(is_checked(key_of(F.col("key")), suspects.mark), F.col("counted"))
    else:
        counted, old = [IS_FIRST, {"$size": "$suspects"}, 0], F.col("counted")
    size = {"$bsonSize": f"${FOUND}"}
    more = {"of": of_group(suspects, window), "counted": {"$cond": counted}, "size": size}
    stages = [
        *brought(settings, window, lookups, settings.sessions, settings.session_fields),
        *session_stages(settings, suspects, more, FOUND),
    ]
    columns = f"{session_columns(settings)}, of string, counted bigint"
    rows = load(spark, settings, suspects, stages, columns)
    rows = rows.observe(observation, F.sum(old).alias("old_sessions"))
    first = F.min("of").over(Window.partitionBy("session_id"))
    return (
        session_rows(rows, settings, suspects, plain_in(events), "of")
        .where("session_id IS NOT NULL")  # an array of session ids is looked up by each of them
        .withColumn("first", first)
        .where("of = first")
        .drop("of", "first")
    )


def look_up_events(
    spark: SparkSession,
    settings: Settings,
    suspects: Census,
    lookups: int,
    window: ActiveWindow | None,
    events: Census,
) -> DataFrame:
    """One row per event of a suspect, and one of nulls for each suspect: EVENTS and ``of``."""
    kind = type_of_id("$this")
    each_id = {"$map": {"input": "$session_ids", "in": {"kind": kind, **of_type(kind, "$$this")}}}
    named = {"$cond": [IS_FIRST, each_id, "$$REMOVE"]}
    more = {"of": of_group(suspects, window), "named": named}
    stages = [
        *brought(settings, window, lookups, settings.events, settings.event_fields),
        *event_stages(settings, events, more, FOUND),
    ]
    columns = f"{event_columns(settings)}, of string, named {NAMED}"
    rows = event_rows(load(spark, settings, suspects, stages, columns), settings, events, *more)
    # The event comes first, then each suspect of its group where it is the first that they brought.
    nobody = F.array().cast("array<string>")
    keys = F.transform("named", lambda it: key_of_named(it, plain_in(events)))
    ids = F.concat(F.array("session_id"), F.coalesce(keys, nobody))
    names = events_of(settings.shape).fieldNames()
    others = [name for name in names if name != "session_id"]
    each = rows.select(*others, "of", F.posexplode(ids).alias("place", "session_id"))
    of_events = [F.when(F.col("place") == 0, F.col(name)).alias(name) for name in others]
    # An array of session ids is looked up by each of them; as in a scan, its event is nobody's.
    known = each.where("session_id IS NOT NULL").select("session_id", *of_events, "of")
    return known.select(*names, "of")


def key_of_named(it: Column, plain: str) -> Column:
    """The key of an id that a suspect has."""
    return key_of_id(it["session_id"], it["exact_id"], it["kind"], plain)


def lookups_per_cursor(spark: SparkSession, suspects: Census, number: int) -> int:
    """How many groups each cursor makes of its share of so many suspects."""
    return ceil(number / len(ranges_of(spark, suspects)) / SUSPECTS_AT_ONCE) or 1


def of_group(suspects: Census, window: ActiveWindow | None) -> Document:
    """The key of the least suspect of a group; in a window of the least session_id."""
    return key_expression(suspects, "_id.min") if window is None else {"v": "$_id.min"}


def brought(
    settings: Settings,
    window: ActiveWindow | None,
    lookups: int,
    collection: str,
    paths: Mapping[str, str],
) -> list[Document]:
    """Stages that bring what the collection holds of the suspects' session_ids.

    One document each as ``found``, beside the ``suspects`` and ``session_ids`` of its group and its
    ``number`` among what they bring; one without where they bring nothing. The server hands them on
    one by one, so no document holds a whole session.
    """
    session_id = f"${settings.session_fields['session_id']}" if window is None else "$_id"
    named = {"suspects": {"$push": "$_id"}, "session_ids": {"$push": session_id}}
    found = {"from": collection, "localField": "session_ids", "foreignField": paths["session_id"]}
    each = {"path": f"${FOUND}", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "number"}
    return [
        *([] if window is None else window.session_ids(settings)),
        {"$bucketAuto": {"groupBy": "$_id", "buckets": lookups, "output": named}},
        {"$lookup": {**found, "as": FOUND}},
        {"$unwind": each},
    ]
