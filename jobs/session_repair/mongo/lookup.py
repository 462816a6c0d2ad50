"""Look-up: the sessions that a verb can act on, their copies and their events, and nothing else.

The suspects are found by a filter or by a window, the rest by the indexes on the session id, inside
the pipelines that the connector runs. What a suspect brings along carries its key in ``of``: its
_id, or in a window its session_id. Two suspects with one session_id both bring all of it, and only
what the first of them brought may count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F

from session_repair.mongo.collections import Census, empty_sessions
from session_repair.mongo.read import (
    EVENT_COLUMNS,
    SESSION_COLUMNS,
    event_rows,
    event_stages,
    key_expression,
    load,
    session_rows,
    session_stages,
)
from session_repair.mongo.window import ActiveWindow
from session_repair.rules.envelope import key_of
from session_repair.rules.rebuild import is_checked
from session_repair.rules.schemas import EVENTS
from session_repair.settings import Settings

Document = dict[str, Any]

SUSPECT = "session_repair_suspect"  # where a pipeline keeps the suspect beside what it brings
NUMBER = "session_repair_number"  # of what a suspect brings, from 0; null where it brings nothing
SIZE = "session_repair_size"  # of that document, in bytes


def suspects_of(settings: Settings, in_both: bool) -> Document:
    """The filter of the empty sessions that can be looked up.

    Only strings: null would find all that has no session id, an array would match on both sides.
    """
    path = settings.session_fields["session_id"]
    is_string = {"$expr": {"$eq": [{"$type": f"${path}"}, "string"]}}
    return {"$and": [empty_sessions(settings, in_both), is_string]}


def look_up_sessions(
    spark: SparkSession,
    settings: Settings,
    suspects: Census,
    window: ActiveWindow | None,
    observation: Observation,
) -> DataFrame:
    """One row per suspect and per copy of one, shape SESSIONS.

    The observation is told ``old_sessions``, the number of suspects that the census has checked.
    """
    # Without what the pipeline keeps beside the document; else a scan would see another size.
    more = {"of": f"${SUSPECT}.key", "number": f"${NUMBER}", "size": f"${SIZE}"}
    stages = [
        *brought(settings, suspects, window, settings.sessions, settings.session_fields),
        *session_stages(settings, suspects, more),
    ]
    columns = f"{SESSION_COLUMNS}, of string, number bigint"
    rows = load(spark, settings, suspects, stages, columns)
    if window is None:
        is_old = is_checked(key_of(F.col("key")), suspects.mark)
        is_counted = (F.col("key") == F.col("of")) & is_old
    else:
        is_counted = F.coalesce("number", F.lit(0)) == 0
    rows = rows.observe(observation, F.count(F.when(is_counted, 1)).alias("old_sessions"))
    first = F.min("of").over(Window.partitionBy("session_id"))
    return (
        session_rows(rows, settings, suspects, "of", "number")
        .where("session_id IS NOT NULL")  # an array of session ids is looked up by each of them
        .withColumn("first", first)
        .where("of = first")
        .drop("of", "number", "first")
    )


def look_up_events(
    spark: SparkSession,
    settings: Settings,
    suspects: Census,
    window: ActiveWindow | None,
    events: Census,
) -> DataFrame:
    """One row per event of a suspect, and one of nulls for a suspect without: EVENTS and ``of``.

    The session_id is that of the suspect, however the event spells it.
    """
    more = {"of": f"${SUSPECT}.key", "suspect_id": f"${SUSPECT}.session_id"}
    stages = [
        *brought(settings, suspects, window, settings.events, settings.event_fields),
        *event_stages(settings, events, more),
    ]
    columns = f"{EVENT_COLUMNS}, of string, suspect_id string"
    rows = event_rows(load(spark, settings, suspects, stages, columns), events, *more)
    # An array of session ids is looked up by each of them; as in a scan, its event is nobody's.
    is_event = F.col("session_id").isNotNull()
    others = [name for name in EVENTS.fieldNames() if name != "session_id"]
    of_events = [F.when(is_event, F.col(name)).alias(name) for name in others]
    named = rows.select(F.col("suspect_id").alias("session_id"), *of_events, "of")
    return named.select(*EVENTS.fieldNames(), "of")


def brought(
    settings: Settings,
    suspects: Census,
    window: ActiveWindow | None,
    collection: str,
    paths: Mapping[str, str],
) -> list[Document]:
    """Stages that bring what the collection holds of each suspect's session_id, in any spelling.

    One document each, the suspect's key and session_id beside its fields; only those, where there
    is none. The server hands them on one by one, so no document holds a whole session.
    """
    session_id = f"${settings.session_fields['session_id']}" if window is None else "$_id"
    key = key_expression(suspects) if window is None else session_id
    suspect = {"key": key, "session_id": session_id}
    found = {"from": collection, "localField": "spellings", "foreignField": paths["session_id"]}
    each = {"path": "$found", "preserveNullAndEmptyArrays": True, "includeArrayIndex": NUMBER}
    kept = {SUSPECT: f"${SUSPECT}", NUMBER: f"${NUMBER}", SIZE: {"$bsonSize": "$found"}}
    return [
        *([] if window is None else window.session_ids(settings)),
        {"$project": {"_id": 0, SUSPECT: suspect, "spellings": spellings_expression(session_id)}},
        {"$lookup": {**found, "as": "found"}},
        {"$unwind": each},
        {"$replaceWith": {"$mergeObjects": ["$found", kept]}},
    ]


def spellings_expression(text: str) -> Document:
    """The string, and the ObjectId that others spell it as; see ``spellings``."""
    object_id = {"$convert": {"input": text, "to": "objectId", "onError": None}}
    is_digits = {"$eq": [{"$toString": "$$object_id"}, text]}
    both = {"$cond": [is_digits, [text, "$$object_id"], [text]]}
    return {"$let": {"vars": {"object_id": object_id}, "in": both}}
