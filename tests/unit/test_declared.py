"""Declared aggregates: however many there are, Spark compiles what finds and mends them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from session_repair.aggregates import BASICS, Shape, read_aggregates
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import diagnose
from session_repair.rules.rebuild import rebuild
from session_repair.rules.shapes import events_of, sessions_of
from tests.harness.declared import TWELVE
from tests.unit.frames import ALICE, NOW, SETTLE, event, frame, key_of, oid, session

FALLBACK = "spark.sql.codegen.fallback"


@pytest.fixture
def compiled(spark: SparkSession) -> Iterator[None]:
    """What Spark cannot compile is an error, and not interpreted."""
    spark.conf.set(FALLBACK, False)
    yield
    spark.conf.unset(FALLBACK)


@pytest.mark.needs("many_runs")
@pytest.mark.usefixtures("compiled")
def test_findings_of_twelve_are_compiled(spark: SparkSession) -> None:
    shape = Shape(BASICS, read_aggregates([it.table for it in TWELVE]))
    assert len(shape.declared) == 12
    short = {"event_key": key_of(oid(1)), "user": key_of(ALICE)}
    said = {"landing": "/home", "revenue": '{"v": {"$numberInt": "5"}}', "stats_purchases": 1}
    events = frame(spark, [{**event(1), **short, "more": said}], events_of(shape))
    held = {"landing": {"token": "/x", "key": "/x"}}
    stored = {**session(100, event_count=0, pages=[]), "more": held}
    sessions = frame(spark, [stored], sessions_of(shape))
    found = diagnose(sessions, rebuild(events, NOW, NOW, shape), NOW, SETTLE, shape=shape)
    [row] = (
        correct(found, "all", False, (), shape).select("changes.more", "findings.code").collect()
    )
    assert row["more"].asDict(recursive=True) == {
        **dict.fromkeys([it.name for it in shape.declared]),
        "stats_purchases": {"number": 1.0, "exact": 1},
        "revenue": {"number": 5.0, "exact": 5, "size": 0.0, "is_decimal": False},
        "landing": {"token": "/home", "key": "/home"},
    }
    of_declared = ["stats_purchases_mismatch", "revenue_mismatch", "landing_mismatch"]
    dates = ["last_event_mismatch"]
    assert row["code"] == ["empty_pages", "zero_events", *dates, *of_declared]
