"""What the frame tests share: one sound session and its events, and snippets laid over them.

The session ``s`` and its two events agree in every field. A test spells only what it changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from session_repair.rules.schemas import EVENTS, REBUILT, SESSIONS
from session_repair.rules.usual_types import USUAL_ID, USUAL_TYPES

Row = dict[str, Any]

NOW = datetime(2025, 10, 20, 12, tzinfo=timezone.utc)
SETTLE = timedelta(minutes=15)


def at(time: str) -> datetime:
    """That time of a day long before NOW."""
    return datetime.fromisoformat(f"2025-10-01T{time}+00:00")


def oid(number: int, made: datetime | None = None) -> str:
    """The envelope of an ObjectId with that number, made at nine unless said otherwise."""
    return f'{{"v": {{"$oid": "{oid_digits(number, made)}"}}}}'


def oid_digits(number: int, made: datetime | None = None) -> str:
    seconds = int((made or at("09:00")).timestamp())
    return f"{seconds:08x}{number:016x}"


ALICE, BOB = oid(0xA), oid(0xB)
TYPES_OF_SOUND = {**USUAL_TYPES, **USUAL_ID}


def event(number: int = 1, **snippet: Any) -> Row:
    """A row of EVENTS, but for its envelopes; ``events_frame`` makes keys of them."""
    base = {
        "event_key": oid(number),
        "key_order": None,
        "session_id": "s",
        "user": ALICE,
        "timestamp": at("10:00"),
        "page": "/home",
        "malformed": None,
    }
    return laid_over(base, snippet)


def session(number: int = 100, **snippet: Any) -> Row:
    """A row of SESSIONS; a snippet of ``types`` changes only the types that it names."""
    base = {
        "session_key": oid(number),
        "key_order": None,
        "session_id": "s",
        "exact_id": None,
        "user": ALICE,
        "event_count": 2,
        "first_event_at": at("10:00"),
        "last_event_at": at("10:05"),
        "pages": ["/home", "/cart"],
        "created_at": at("09:00"),
        "size": 300,
        "types": {**TYPES_OF_SOUND, **snippet.pop("types", {})},
        "parents": None,
        "exact": None,
        "malformed": None,
    }
    return laid_over(base, snippet)


def rebuilt(**snippet: Any) -> Row:
    """The struct ``rebuilt`` of the sound session."""
    base = {
        "event_count": 2,
        "pages": ["/home", "/cart"],
        "first_event_at": at("10:00"),
        "last_event_at": at("10:05"),
        "user": ALICE,
        "user_conflict": False,
        "last_created_at": at("09:00"),
        "last_active_at": at("10:05"),
        "malformed_events": 0,
        "malformed": [],
        "checked_events": 2,
        "pages_size": 31,
    }
    return laid_over(base, snippet)


def malformed_events(*types: str) -> list[Row]:
    """An event for each combination of wrong types."""
    return [{"types": it, "events": 1} for it in types]


def laid_over(base: Row, snippet: Row) -> Row:
    unknown = snippet.keys() - base.keys()
    if unknown:
        raise KeyError(f"{unknown} is in no row of this kind")
    return {**base, **snippet}


REBUILT_SESSIONS = StructType().add(SESSIONS["session_id"]).add("rebuilt", REBUILT)


def frame(spark: SparkSession, rows: Sequence[Row], schema: StructType | str) -> DataFrame:
    """The rows in one partition, made by the JVM; createDataFrame would start Python."""
    text = json.dumps(rows, default=datetime.isoformat)
    array = f"array<struct<{schema}>>" if isinstance(schema, str) else ArrayType(schema)
    parsed = F.from_json(F.lit(text), array, {"mode": "FAILFAST"})
    return spark.range(0, 1, 1, 1).select(F.inline(parsed))


def events_frame(spark: SparkSession, *rows: Row) -> DataFrame:
    keys = ("event_key", "user")
    short = [{**row, **{name: key_of(row[name]) for name in keys}} for row in rows]
    return frame(spark, short, EVENTS)


def key_of(envelope: str | None) -> str | None:
    """The digits of an ObjectId, any other envelope as it is."""
    is_object_id = envelope is not None and envelope.startswith('{"v": {"$oid": ')
    return envelope[16:40] if envelope and is_object_id else envelope


def sessions_frame(spark: SparkSession, *rows: Row) -> DataFrame:
    return frame(spark, rows, SESSIONS)


def rebuilt_frame(spark: SparkSession, **by_session: Row) -> DataFrame:
    """What ``rebuild`` would give, by session_id."""
    rows = [{"session_id": name, "rebuilt": figures} for name, figures in by_session.items()]
    return frame(spark, rows, REBUILT_SESSIONS)


def assert_rows(actual: DataFrame, *expected: Row) -> None:
    """The frame has exactly these rows, in any order, in the columns that they spell."""
    selected = actual.select(*expected[0]).coalesce(1)  # a sort of one partition is not shuffled
    assert_df_equality(
        selected,
        frame(actual.sparkSession, expected, selected.schema).coalesce(1),
        ignore_row_order=True,
        ignore_nullable=True,
        ignore_metadata=True,
    )


def shape(schema: StructType) -> list[tuple[str, str]]:
    """Names and types of a schema, whatever may be null."""
    return [(field.name, field.dataType.simpleString()) for field in schema.fields]
