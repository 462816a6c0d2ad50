"""Summarize: the figures and samples of the report."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from session_repair.mongo.bson_types import SESSION_TYPES
from session_repair.repair.report import (
    OTHER,
    Correction,
    Day,
    FieldChange,
    Sample,
    Symptoms,
    Totals,
)
from session_repair.repair.samples import sample_corrections, sample_findings
from session_repair.repair.summarize import (
    DAYS,
    EVENT,
    SESSION,
    count_findings,
    count_odd_types,
    observed,
    passed,
    symptoms_of,
    totals_of,
)
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import diagnose
from session_repair.settings import SAMPLES
from tests.harness.table import CODES
from tests.unit.frames import (
    BOB,
    NOW,
    SETTLE,
    at,
    malformed_events,
    oid,
    oid_digits,
    rebuilt,
    rebuilt_frame,
    session,
    sessions_frame,
)

EMPTY: dict[str, Any] = {"event_count": 0, "pages": []}


@pytest.fixture
def diagnosed(spark: SparkSession) -> DataFrame:
    """Two empty sessions, one of them in flight; a duplicate, an orphan and events alone."""
    sessions = [
        session(1, session_id="empty", **EMPTY),
        session(2, session_id="busy", **EMPTY, created_at=NOW),
        session(3, session_id="twice", event_count=3, pages=["/x", "/cart"]),
        session(4, session_id="twice", pages=[]),
        session(5, session_id="orphan", event_count=None, pages=[], types={"event_count": "null"}),
        session(
            7,
            session_id="not told",
            event_count=None,
            types={"event_count": "double"},
            malformed="event_count: double",
        ),
        session(8, session_id="phantom"),
        session(6, session_id="sound"),
    ]
    events = {name: rebuilt(checked_events=1) for name in ("empty", "busy", "twice", "sound")}
    lost = rebuilt(event_count=7, malformed_events=1, malformed=malformed_events("page: int"))
    return diagnose(
        sessions_frame(spark, *sessions), rebuilt_frame(spark, **events, lost=lost), NOW, SETTLE
    )


@pytest.fixture
def corrected(diagnosed: DataFrame) -> DataFrame:
    return kept(diagnosed)


def kept(diagnosed: DataFrame, scope: str = "all") -> DataFrame:
    """What a survey keeps: the corrected rows with findings."""
    return correct(diagnosed.where("size(symptoms) > 0"), scope, False).persist()


def summarized(corrected: DataFrame) -> dict[str, Symptoms]:
    found = symptoms_of(count_findings(corrected), sample_findings(corrected))
    assert tuple(symptom.code for symptom in found) == CODES
    return {symptom.code: symptom for symptom in found}


def test_the_totals_count_every_document_and_every_event_once(diagnosed: DataFrame) -> None:
    observation = Observation()
    found = count_findings(kept(observed(diagnosed, observation, at("12:00"))))
    seen = passed(observation)
    assert totals_of(seen, found) == Totals(
        sessions=8,
        events=4 * 2 + 8,
        names_no_page=4,
        counts_nothing=3,
        potentially_empty=4,
        events_without_session=8,
        planned=2,
        deferred=1,
        filled_without_events=1,
        sessions_read=8,
        sessions_malformed=1,
        events_read=4 * 2 + 8,
        events_malformed=1,
    )
    assert (seen["old_sessions"], seen["old_events"]) == (7, 4 * 1 + 2)


def test_every_symptom_is_counted_by_what_is_done_about_it(corrected: DataFrame) -> None:
    symptoms = summarized(corrected)
    counts = {it.code: (it.found, it.to_correct, it.deferred) for it in symptoms.values()}
    assert {code: figures for code, figures in counts.items() if figures[0]} == {
        "empty_pages": (2, 1, 1),
        "zero_events": (2, 1, 1),
        "count_mismatch": (1, 0, 0),
        "pages_missing": (1, 1, 0),
        "pages_extra": (1, 0, 0),
        "duplicate_session": (1, 0, 0),
        "orphan_session": (1, 0, 0),
        "phantom_session": (1, 0, 0),
        "orphan_events": (1, 0, 0),
        "malformed": (1, 0, 0),
    }
    samples = {code: symptom.samples for code, symptom in symptoms.items()}
    assert samples["zero_events"] == (
        Sample("empty", oid(1), "0", "2", None),
        Sample("busy", oid(2), "0", "2", None, "in_flight"),
    )
    assert samples["duplicate_session"] == (
        Sample("twice", oid(4), None, None, f"canonical _id {oid_digits(3)}", "copy"),
    )
    assert samples["orphan_events"] == (
        Sample("lost", None, None, None, "8 events, event page: int", "no_session"),
    )
    left = {it.code: it.left for it in symptoms.values() if it.left}
    assert left == {
        "empty_pages": {"in_flight": 1},
        "zero_events": {"in_flight": 1},
        "count_mismatch": {"shrink": 1},
        "pages_extra": {"shrink": 1},
        "duplicate_session": {"copy": 1},
        "orphan_session": {"no_events": 1},
        "phantom_session": {"phantom": 1},
        "orphan_events": {"no_session": 1},
        "malformed": {"malformed": 1},
    }
    assert samples["user_conflict"] == ()


def test_odd_types_are_counted_by_document_and_field_whatever_copies_there_are(
    spark: SparkSession,
) -> None:
    odd: dict[str, Any] = {"types": {"pages": "array of int"}, "malformed": "pages: array of int"}
    sessions = [
        session(1, session_id="twice", **odd),
        session(2, session_id="twice", event_count=9),
        session(3, session_id="other", **odd),
        session(4, session_id="sound"),
    ]
    of_events = malformed_events("page: int", "timestamp: string, page: int", "user_id: bool")
    wrong = rebuilt(malformed_events=3, malformed=of_events)
    found = diagnose(
        sessions_frame(spark, *sessions),
        rebuilt_frame(spark, twice=wrong, lost=wrong, sound=rebuilt()),
        NOW,
        SETTLE,
    )
    assert count_odd_types(kept(found), SESSION_TYPES) == {
        (SESSION, "pages", "array of int"): 2,
        (EVENT, "page", "int"): 4,
        (EVENT, "timestamp", "string"): 2,
        (EVENT, "user_id", "bool"): 2,
    }


def test_a_sample_correction_shows_what_will_be_written(corrected: DataFrame) -> None:
    assert sample_corrections(corrected) == (
        Correction(
            "empty",
            (
                FieldChange("event_count", "0", "2"),
                FieldChange("pages", "[]", '["/home","/cart"]'),
            ),
        ),
        # Not the pages of the events: those that the session keeps, and the one that it lacks.
        Correction(
            "twice",
            (
                FieldChange(
                    "pages",
                    '["/x","/cart"]',
                    '["/x","/cart","/home"]',
                    ("2 alike", '+ "/home"'),
                ),
            ),
        ),
    )


def test_samples_are_the_first_by_id_and_few(spark: SparkSession) -> None:
    numbers = range(SAMPLES + 2)
    sessions = [session(number, session_id=f"s{number}", user=BOB) for number in numbers]
    events = {f"s{number}": rebuilt() for number in numbers}
    found = diagnose(
        sessions_frame(spark, *reversed(sessions)), rebuilt_frame(spark, **events), NOW, SETTLE
    )
    planned = kept(found)
    first = [f"s{number}" for number in range(SAMPLES)]
    assert [correction.session_id for correction in sample_corrections(planned)] == first
    mismatch = summarized(planned)["user_mismatch"]
    assert mismatch.found == SAMPLES + 2
    assert [sample.session_id for sample in mismatch.samples] == first


def test_a_frame_without_rows_has_totals_of_0(spark: SparkSession) -> None:
    found = diagnose(sessions_frame(spark), rebuilt_frame(spark), NOW, SETTLE)
    observation = Observation()
    counted = count_findings(kept(observed(found, observation, at("12:00"))))
    seen = passed(observation)
    assert totals_of(seen, counted) == Totals(*[0] * 13)
    assert (seen["old_sessions"], seen["old_events"]) == (0, 0)


def test_findings_are_counted_by_the_day_on_which_their_session_began(spark: SparkSession) -> None:
    first, second = (datetime(2025, 10, day, 23, 59, tzinfo=timezone.utc) for day in (1, 2))
    early = datetime(1, 1, 1, tzinfo=timezone.utc)
    sessions = [
        session(1, session_id="a", **EMPTY),
        session(2, session_id="b", **EMPTY),
        session(3, session_id="c", user=BOB),
        session(4, session_id="d", first_event_at=early, event_count=7),
        session(5, session_id="sound"),
        session(6, session_id="no date", **EMPTY, first_event_at=None, created_at=None),
    ]
    events = {
        name: rebuilt(first_event_at=began)
        for name, began in {"a": first, "b": second, "c": second, "d": early}.items()
    }
    found = diagnose(
        sessions_frame(spark, *sessions),
        rebuilt_frame(spark, **events, sound=rebuilt()),
        NOW,
        SETTLE,
    )
    moved = "first_event_mismatch"
    assert count_findings(kept(found, "empty")).days == (
        Day("0001-01-01", 1, 0, {"count_mismatch": 1}),
        Day("2025-10-01", 1, 1, {"empty_pages": 1, "zero_events": 1, moved: 1}),
        Day("2025-10-02", 2, 1, {"empty_pages": 1, "zero_events": 1, moved: 2, "user_mismatch": 1}),
        Day(OTHER, 1, 0, {"orphan_session": 1}),
    )


def test_few_days_are_named_however_many_there_are(spark: SparkSession) -> None:
    """Each session begins on a day of its own; the last day has two."""
    code, action = F.lit("orphan_session").alias("code"), F.lit("report").alias("action")
    found = F.array(F.struct(code, action, F.lit("no_events").alias("why")))
    began = F.expr("timestamp_seconds(86400 * least(id, 998))")
    years = F.when(F.col("id") < 3, F.lit(200_000 * 365)).otherwise(0)  # far beyond any date
    corrected = spark.range(1000).select(
        F.col("id").cast("string").alias("session_key"),
        (began + F.make_dt_interval(years)).alias("started_at"),
        F.lit(None).cast("int").alias("changes"),
        found.alias("findings"),
    )
    days = count_findings(corrected).days
    assert len(days) == DAYS + 1
    last = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(days=998)
    assert days[-2] == Day(f"{last:%Y-%m-%d}", 2, 0, {"orphan_session": 2})
    assert days[-1] == Day(OTHER, 633, 0, {"orphan_session": 633})
    assert sum(day.sessions for day in days) == 1000


def test_events_without_a_session_stand_on_their_day_and_are_no_session(
    spark: SparkSession,
) -> None:
    found = diagnose(
        sessions_frame(spark, session(1, session_id="a", **EMPTY)),
        rebuilt_frame(spark, a=rebuilt(), lost=rebuilt(), lost_too=rebuilt(first_event_at=NOW)),
        NOW,
        SETTLE,
    )
    assert count_findings(kept(found)).days == (
        Day("2025-10-01", 1, 1, {"empty_pages": 1, "zero_events": 1, "orphan_events": 1}),
        Day("2025-10-20", 0, 0, {"orphan_events": 1}),
    )


def test_a_frame_without_findings_has_no_days(spark: SparkSession) -> None:
    found = diagnose(
        sessions_frame(spark, session(1)), rebuilt_frame(spark, s=rebuilt()), NOW, SETTLE
    )
    assert count_findings(kept(found)).days == ()
