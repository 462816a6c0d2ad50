"""Dates as numbers: what of an instant a session can hold, and how that is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bson import Decimal128, Int64, json_util
from pyspark.sql import SparkSession

from session_repair.aggregates import Shape
from session_repair.dates import EPOCH_MS, EPOCH_S
from session_repair.rules.diagnose import OF_ALL, diagnose
from session_repair.rules.journal_rows import journal_rows
from session_repair.rules.schemas import CORRECTED
from session_repair.rules.usual_types import USUAL_TYPES
from tests.unit.frames import (
    NOW,
    SETTLE,
    Row,
    assert_rows,
    at,
    frame,
    rebuilt,
    rebuilt_frame,
    session,
    sessions_frame,
)
from tests.unit.test_journal_rows import EXACT, LEFT_ALONE, PLAN, planned, read_by_the_connector

INSTANT, MS = at("10:00:00.123"), 1759312800123
LONG_AGO, BEFORE = at("10:00").replace(year=1), -62111973600000  # of the Gregorian calendar
WRITTEN: list[tuple[str, str, Any, Any]] = [  # unit, type; an instant of today and one of year 1
    (EPOCH_MS, "int", Int64(MS), Int64(BEFORE)),  # no int holds it
    (EPOCH_MS, "long", Int64(MS), Int64(BEFORE)),
    (EPOCH_MS, "double", float(MS), float(BEFORE)),
    (EPOCH_MS, "decimal", Decimal128(str(MS)), Decimal128(str(BEFORE))),
    (EPOCH_S, "int", MS // 1000, Int64(BEFORE // 1000)),
    (EPOCH_S, "long", Int64(MS // 1000), Int64(BEFORE // 1000)),
    (EPOCH_S, "double", 1759312800.123, BEFORE / 1000),
    (EPOCH_S, "decimal", Decimal128("1759312800.123"), Decimal128(f"{BEFORE // 1000}.000")),
]


@pytest.mark.parametrize(("unit", "kind", "now", "then"), WRITTEN)
def test_a_date_is_written_in_the_stored_type_and_else_in_the_usual_one(
    spark: SparkSession, unit: str, kind: str, now: Any, then: Any
) -> None:
    """And is observed as what it was, be it by its own bytes."""
    own = {"first_event_at": INSTANT, "last_event_at": INSTANT}
    kept = {"types": {"first_event_at": kind, "last_event_at": "double"}}
    exact = {"first_event_at": None, "last_event_at": '{"v": {"$numberDouble": "0.1"}}'}
    absent = {"types": {"first_event_at": "missing", "last_event_at": "null"}}
    rows = [
        planned(1, stored={**own, **kept, "exact": exact}, changes={**LEFT_ALONE, **own}),
        planned(2, stored=absent, changes={**LEFT_ALONE, **dict.fromkeys(own, LONG_AGO)}),
    ]
    usual = {**USUAL_TYPES, "first_event_at": kind, "last_event_at": kind}
    plan = replace(PLAN, usual=usual, shape=Shape(dates=unit))
    made = journal_rows(frame(spark, rows, CORRECTED), plan)
    texts = [row["plan"] for row in made.orderBy("_id").collect()]
    found = [json_util.loads(text, json_options=EXACT) for text in texts]
    assert [read_by_the_connector(spark, text) for text in texts] == found
    double = 1759312800.123 if unit == EPOCH_S else float(MS)
    assert exactly(found[0]["observed"]) == exactly({"first_event_at": now, "last_event_at": 0.1})
    assert exactly(found[0]["new"]) == exactly({"first_event_at": now, "last_event_at": double})
    assert exactly(found[1]["observed"]) == exactly({"last_event_at": None})
    assert exactly(found[1]["new"]) == exactly(dict.fromkeys(own, then))


def exactly(values: Row) -> list[tuple[str, Any, type]]:
    return [(name, value, type(value)) for name, value in values.items()]


HELD = [  # unit; stored and usual type; whether only the second counts
    (EPOCH_S, "int", "double", True),
    (EPOCH_S, "long", "double", True),
    (EPOCH_S, "double", "int", False),
    (EPOCH_S, "decimal", "int", False),
    (EPOCH_S, "null", "int", True),
    (EPOCH_S, "missing", "double", False),
    (EPOCH_MS, "int", "int", False),
    (EPOCH_MS, "null", "long", False),
]


@pytest.mark.parametrize(("unit", "stored", "usual", "is_whole"), HELD)
def test_a_session_that_holds_whole_seconds_is_held_against_such(
    spark: SparkSession, unit: str, stored: str, usual: str, is_whole: bool
) -> None:
    second = at("10:00:00")
    is_there = stored not in ("null", "missing")
    own = dict.fromkeys(("first_event_at", "last_event_at"), second if is_there else None)
    types = dict.fromkeys(own, stored)
    sessions = sessions_frame(spark, session(**own, types=types))
    events = dict.fromkeys(own, INSTANT)
    usual_types = {**USUAL_TYPES, **dict.fromkeys(own, usual)}
    how = (NOW, SETTLE, OF_ALL, usual_types, Shape(dates=unit))
    found = diagnose(sessions, rebuilt_frame(spark, s=rebuilt(**events)), *how)
    is_wrong = not (is_there and is_whole)
    codes = ["first_event_mismatch", "last_event_mismatch"] if is_wrong else []
    assert_rows(found.select("symptoms"), {"symptoms": codes})
    if is_wrong:
        dates = found.select("rebuilt.first_event_at", "rebuilt.last_event_at")
        assert_rows(dates, dict.fromkeys(own, second if is_whole else INSTANT))
