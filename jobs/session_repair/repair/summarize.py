"""Summarize: collect from the corrected frame what the report shows; a few small actions."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from session_repair.repair.report import (
    OTHER,
    Correction,
    Day,
    FieldChange,
    Sample,
    Symptoms,
    Totals,
)
from session_repair.rules.rebuild import is_checked
from session_repair.rules.schemas import CHANGES
from session_repair.rules.symptoms import CODES, SYMPTOMS, shortened

SAMPLES = 5  # of each symptom, and of the corrections
DAYS = 366  # the days with most findings are named, a year of them; the rest is one row


def summarize_totals(corrected: DataFrame, mark: datetime) -> tuple[Totals, dict[str, int]]:
    """The totals, and the number of old rows read of each collection, to compare with counts."""
    is_session = F.col("session_key").isNotNull()
    is_potentially_empty = F.col("names_no_page") | F.col("counts_nothing")
    has_deferred = F.exists("findings", lambda finding: finding["action"] == "defer")
    first_of_session = F.coalesce(F.col("session_key") == F.col("canonical_key"), ~is_session)
    # Duplicates are all joined with the same events, which are counted once.
    row = corrected.agg(
        F.count(F.when(is_session, 1)).alias("sessions"),
        F.sum(F.when(first_of_session, F.col("events"))).alias("events"),
        F.count(F.when(F.col("names_no_page"), 1)).alias("names_no_page"),
        F.count(F.when(F.col("counts_nothing"), 1)).alias("counts_nothing"),
        F.count(F.when(is_potentially_empty, 1)).alias("potentially_empty"),
        F.sum(F.when(~is_session, F.col("events"))).alias("events_without_session"),
        F.count("changes").alias("planned"),
        F.count(F.when(has_deferred, 1)).alias("deferred"),
        F.count(F.when(is_session & is_checked(F.col("session_key"), mark), 1)).alias("old"),
        F.sum(F.when(first_of_session, F.col("checked_events"))).alias("old_events"),
    ).first()
    assert row is not None
    figures = {name: value or 0 for name, value in row.asDict().items()}
    checked = {"sessions": figures.pop("old"), "events": figures.pop("old_events")}
    return Totals(**figures), checked


def summarize_symptoms(corrected: DataFrame) -> tuple[Symptoms, ...]:
    """Every symptom of the table, in its order, those not found included."""
    found = corrected.select("session_id", "session_key", F.inline("findings"))
    counts = {
        row["code"]: row
        for row in found.groupBy("code")
        .agg(
            F.count("*").alias("found"),
            F.count(F.when(F.col("action") == "correct", 1)).alias("to_correct"),
            F.count(F.when(F.col("action") == "defer", 1)).alias("deferred"),
        )
        .collect()
    }
    rank = F.row_number().over(Window.partitionBy("code").orderBy("session_key", "session_id"))
    samples = defaultdict(list)
    some = found.withColumn("rank", rank).where(F.col("rank") <= SAMPLES)
    for name in ("session_key", "session_id"):
        some = some.withColumn(name, shortened(F.col(name)))
    for row in some.collect():
        sample = Sample(**{name: row[name] for name in Sample.__dataclass_fields__})
        samples[row["code"]].append((row["rank"], sample))
    return tuple(
        Symptoms(
            code=code,
            found=counts[code]["found"] if code in counts else 0,
            to_correct=counts[code]["to_correct"] if code in counts else 0,
            deferred=counts[code]["deferred"] if code in counts else 0,
            samples=tuple(sample for _, sample in sorted(samples[code], key=lambda it: it[0])),
        )
        for code in CODES
    )


def summarize_days(corrected: DataFrame) -> tuple[Day, ...]:
    """The days on which sessions with findings began, in order; OTHER, if any, comes last.

    However many days there are, no more than DAYS rows and their total reach the driver.
    """
    date = F.to_date("started_at")
    is_named = date.between("0001-01-01", "9999-12-31")  # what Python and others call a date
    figures = [
        F.count("*").alias("sessions"),
        F.count("changes").alias("to_correct"),
        *(
            F.count(F.when(F.array_contains("findings.code", code), 1)).alias(code)
            for code in CODES
        ),
    ]
    rows = (
        corrected.where(F.size("findings") > 0)
        .select(F.when(is_named, date.cast("string")).otherwise(OTHER).alias("day"), "*")
        .rollup("day")
        .agg(*figures)
        # The total comes first, its day being null, and OTHER last.
        .orderBy(F.col("day") == OTHER, F.col("sessions").desc(), F.col("day").desc())
        .limit(DAYS + 1)
        .collect()
    )
    if not rows:
        return ()
    total, *days = [row.asDict() for row in rows]
    named = sorted((day for day in days if day["day"] != OTHER), key=lambda day: day["day"])
    rest = {
        name: total[name] - sum(day[name] for day in named)
        for name in ("sessions", "to_correct", *CODES)
    }
    return tuple(
        Day(
            day=day["day"],
            sessions=day["sessions"],
            to_correct=day["to_correct"],
            found={code: day[code] for code in CODES if day[code]},
        )
        for day in [*named, {"day": OTHER, **rest}]
        if day["sessions"]
    )


def sample_corrections(corrected: DataFrame) -> tuple[Correction, ...]:
    """The first planned corrections by _id, each with its fields old and new."""
    planned = corrected.where("changes IS NOT NULL").orderBy("session_key").limit(SAMPLES)
    name = shortened(F.col("session_id")).alias("session_id")
    return tuple(
        Correction(
            session_id=row["session_id"],
            changes=tuple(FieldChange(**change.asDict()) for change in row["changed"]),
        )
        for row in planned.select(name, changed_fields().alias("changed")).collect()
    )


def changed_fields() -> Column:
    """The fields to be written, as text: what is stored and what will be."""
    text_of = {symptom.field: symptom.text for symptom in SYMPTOMS if symptom.field}
    changed = [
        F.when(
            F.col(f"changes.{name}").isNotNull(),
            F.struct(
                F.lit(name).alias("field"),
                text_of[name](F.col(f"stored.{name}")).alias("stored"),
                text_of[name](F.col(f"changes.{name}")).alias("rebuilt"),
            ),
        )
        for name in CHANGES.fieldNames()
    ]
    return F.array_compact(F.array(*changed))
