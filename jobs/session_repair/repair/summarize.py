"""Summarize: what the report shows of a survey, by two actions.

The totals are observed while all rows pass by; the rest is read off the rows that are kept, which
are those with findings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, Window
from pyspark.sql import functions as F

from session_repair.aggregates import BASIC_SHAPE, Shape
from session_repair.reasons import IN_FLIGHT
from session_repair.repair.report import (
    OTHER,
    Correction,
    Day,
    FieldChange,
    Sample,
    Symptoms,
    Totals,
)
from session_repair.rules.held import wrong_held
from session_repair.rules.ids import is_enveloped, name_of_id
from session_repair.rules.predicates import changed_to, held_of
from session_repair.rules.shown import in_short, texts_of
from session_repair.settings import SAMPLES
from session_repair.symptoms import Symptom, known_symptoms, names_of_changes

DAYS = 366  # the days with most findings are named, a year of them; the rest is one row


OBSERVED = (
    "sessions",
    "events",
    "names_no_page",
    "counts_nothing",
    "potentially_empty",
    "events_without_session",
    "filled_without_events",
)


OLD = ("old_sessions", "old_events", "events_malformed", "enveloped_ids")


def observed(
    diagnosed: DataFrame, observation: Observation, mark: datetime, shape: Shape = BASIC_SHAPE
) -> DataFrame:
    """The same frame; its first action tells the observation the figures that ``passed`` reads."""
    is_session = F.col("session_key").isNotNull()
    is_potentially_empty = F.col("names_no_page") | F.col("counts_nothing")
    # Duplicates are all joined with the same events, which are counted once.
    first_of_session = F.coalesce(F.col("session_key") == F.col("canonical_key"), ~is_session)
    # Whatever is told of it, such a session has a finding, so that its values are there.
    has = {"pages": F.size("stored.pages") > 0, "event_count": F.col("stored.event_count") != 0}
    is_filled = reduce(and_, [it for name, it in has.items() if shape.keeps(name)])
    is_old = is_session & F.coalesce(F.col("created_at") < F.lit(mark), F.lit(True))
    return diagnosed.observe(
        observation,
        F.count(F.when(is_session, 1)).alias("sessions"),
        F.sum(F.when(first_of_session, F.col("events"))).alias("events"),
        F.count(F.when(F.col("names_no_page"), 1)).alias("names_no_page"),
        F.count(F.when(F.col("counts_nothing"), 1)).alias("counts_nothing"),
        F.count(F.when(is_potentially_empty, 1)).alias("potentially_empty"),
        F.sum(F.when(~is_session, F.col("events"))).alias("events_without_session"),
        F.count(F.when(is_filled & (F.coalesce("events", F.lit(0)) == 0), 1)).alias(
            "filled_without_events"
        ),
        F.count(F.when(is_old, 1)).alias("old_sessions"),
        F.sum(F.when(first_of_session, F.col("checked_events"))).alias("old_events"),
        F.sum(F.when(first_of_session, F.col("rebuilt.malformed_events"))).alias(
            "events_malformed"
        ),
        F.count(F.when(is_enveloped(F.col("session_id")), 1)).alias("enveloped_ids"),
    )


def passed(observation: Observation) -> dict[str, int]:
    """What an observed frame counted, after its first action: OBSERVED and OLD."""
    told = observation.get  # nothing where Spark saw that there is no row at all
    return {name: told.get(name) or 0 for name in (*OBSERVED, *OLD)}


@dataclass(frozen=True)
class Found:
    """What was counted of the rows with findings: by day, by code, and as a whole."""

    days: tuple[Day, ...]
    by_code: dict[str, dict[str, Any]]  # found, to_correct, deferred and left
    planned: int
    deferred: int


def count_findings(kept: DataFrame, shape: Shape = BASIC_SHAPE) -> Found:
    """The findings by code, and by the day on which their session began; by one action.

    The days stand in their order; OTHER, if any, comes last. However many there are, no more than
    DAYS rows and their total reach the driver.
    """
    table = known_symptoms(shape)
    codes = [it.code for it in table]
    rows = by_day(kept, table).collect()
    if not rows:
        return Found((), {it.code: counts_of(it, Counter()) for it in table}, 0, 0)
    total, *days = [row.asDict() for row in rows]
    named = sorted((day for day in days if day["day"] != OTHER), key=lambda day: day["day"])
    counted = ("sessions", "planned", *(f"found.{code}" for code in codes))
    rest = {name: total[name] - sum(day[name] for day in named) for name in counted}
    all_days = [*named, {"day": OTHER, **rest}]
    return Found(
        days=tuple(it for it in (day_of(day, codes) for day in all_days) if it.found),
        by_code={it.code: counts_of(it, total) for it in table},
        planned=total["planned"],
        deferred=total["deferred"],
    )


def counts_of(symptom: Symptom, total: Mapping[str, int]) -> dict[str, Any]:
    """What was counted of the symptom: what is not left alone, for any reason, is to correct."""
    found, code = total[f"found.{symptom.code}"], symptom.code
    counted = {reason: total[f"left.{code}.{reason}"] for reason in symptom.reasons}
    left = {reason: count for reason, count in counted.items() if count}
    to_correct, deferred = found - sum(left.values()), left.get(IN_FLIGHT, 0)
    return {"found": found, "to_correct": to_correct, "deferred": deferred, "left": left}


def by_day(kept: DataFrame, table: Iterable[Symptom]) -> DataFrame:
    """One row for all days, then one for each day, those with most sessions first."""
    date = F.to_date("started_at")
    is_named = date.between("0001-01-01", "9999-12-31")  # what Python and others call a date
    figures = [
        F.count("session_key").alias("sessions"),
        F.count(F.when(F.col("is_planned"), 1)).alias("planned"),
        F.count(F.when(F.col("is_deferred"), 1)).alias("deferred"),
    ]
    rows = kept.select(  # no values: each row is copied for the total
        "session_key",
        F.when(is_named, date.cast("string")).otherwise(OTHER).alias("day"),
        F.col("changes").isNotNull().alias("is_planned"),
        F.array_contains("findings.action", "defer").alias("is_deferred"),
        F.map_from_arrays("findings.code", "findings.action").alias("done"),
        F.map_from_arrays("findings.code", "findings.why").alias("why"),
    )
    for symptom in table:
        figures.append(F.count(F.col("done")[symptom.code]).alias(f"found.{symptom.code}"))
        for reason in symptom.reasons:
            is_left = F.when(F.col("why")[symptom.code] == reason, 1)
            figures.append(F.count(is_left).alias(f"left.{symptom.code}.{reason}"))
    return (
        rows.rollup("day")
        .agg(*figures)
        # The total comes first, its day being null, and OTHER last.
        .orderBy(F.col("day") == OTHER, F.col("sessions").desc(), F.col("day").desc())
        .limit(DAYS + 1)
    )


def day_of(figures: dict[str, Any], codes: Iterable[str]) -> Day:
    found = {code: figures[f"found.{code}"] for code in codes if figures[f"found.{code}"]}
    return Day(figures["day"], figures["sessions"], figures["planned"], found)


def sample_findings(kept: DataFrame, most: int = SAMPLES) -> dict[str, tuple[Sample, ...]]:
    """By code, the first findings by _id."""
    rank = F.row_number().over(Window.partitionBy("code").orderBy("session_key", "session_id"))
    some = (
        kept.select("session_key", "session_id", F.inline("findings"))
        .withColumn("rank", rank)
        .where(F.col("rank") <= most)
        .withColumn("session_key", in_short(F.col("session_key")))
        .withColumn("session_id", in_short(name_of_id(F.col("session_id"))))
    )
    samples = defaultdict(list)
    for row in sorted(some.collect(), key=lambda row: row["rank"]):
        sample = Sample(**{name: row[name] for name in Sample.__dataclass_fields__})
        samples[row["code"]].append(sample)
    return {code: tuple(rows) for code, rows in samples.items()}


def symptoms_of(found: Found, samples: dict[str, tuple[Sample, ...]]) -> tuple[Symptoms, ...]:
    """Every symptom of the table, in its order, those not found included."""
    return tuple(
        Symptoms(code=code, samples=samples.get(code, ()), **counts)
        for code, counts in found.by_code.items()
    )


def totals_of(figures: Mapping[str, int], found: Found) -> Totals:
    """The totals of all there is."""
    return Totals(
        **{name: figures[name] for name in OBSERVED},
        planned=found.planned,
        deferred=found.deferred,
        sessions_read=figures["sessions"],
        sessions_malformed=found.by_code["malformed"]["found"],
        events_read=figures["events"],
        events_malformed=figures["events_malformed"],
    )


def sample_corrections(
    corrected: DataFrame, shape: Shape = BASIC_SHAPE, most: int = SAMPLES
) -> tuple[Correction, ...]:
    """The first planned corrections by _id, each with its fields old and new."""
    planned = corrected.where("changes IS NOT NULL").orderBy("session_key").limit(most)
    name = in_short(name_of_id(F.col("session_id"))).alias("session_id")
    return tuple(
        Correction(
            session_id=row["session_id"],
            changes=tuple(FieldChange(**change.asDict()) for change in row["changed"]),
        )
        for row in planned.select(name, changed_fields(shape).alias("changed")).collect()
    )


def changed_fields(shape: Shape) -> Column:
    """The fields to be written, as text: what is stored and what will be."""
    texts, values, changed = texts_of(shape), held_of(shape), []
    for name in names_of_changes(shape):
        new = F.col(changed_to(shape, name))
        text_held, text_said = texts[name]
        before, after = text_held(values[name]), text_said(new)
        named = F.struct(F.lit(name).alias("field"), before.alias("stored"), after.alias("rebuilt"))
        changed.append(F.when(new.isNotNull(), named))
    return F.array_compact(F.array(*changed))


SESSION, EVENT = "session", "event"


def count_odd_types(
    kept: DataFrame, allowed: Mapping[str, tuple[str, ...]], shape: Shape = BASIC_SHAPE
) -> dict[tuple[str, str, str], int]:
    """By SESSION or EVENT, field and type: how many documents have a type that is not allowed."""
    of_session = [
        F.when(
            ~F.col(f"stored.types.{field}").isin(*types),
            F.concat(F.lit(f"{field}: "), F.col(f"stored.types.{field}")),
        )
        for field, types in allowed.items()
    ]
    of_events = []
    for it in shape.declared:
        said = F.col(f"rebuilt.more.{it.name}")
        odd = F.concat(F.lit(f"{it.name}: "), said["wrong"])
        # No event is wrong where it is all of them together.
        is_of_events = said["events"] > 0
        whose = F.when(is_of_events, EVENT).otherwise(SESSION)
        number = F.when(is_of_events, said["events"]).otherwise(1)
        of_events.append(F.when(odd.isNotNull(), F.struct(whose, odd, number)))
        of_session.append(F.concat(F.lit(f"{it.name}: "), wrong_held(it)))
    sessions = kept.select(
        F.lit(SESSION).alias("document"),
        F.explode(F.array_compact(F.array(*of_session))).alias("odd"),
        F.lit(1).cast("bigint").alias("documents"),
    )
    first_of_session = F.coalesce(
        F.col("session_key") == F.col("canonical_key"), F.col("session_key").isNull()
    )
    events = kept.where(first_of_session).select(F.inline("rebuilt.malformed"))
    each = events.select(F.lit(EVENT), F.explode(F.split("types", ", ")), F.col("events"))
    if of_events:
        odd = F.inline(F.array_compact(F.array(*of_events)))
        each = each.unionAll(kept.where(first_of_session).select(odd))
    counted = sessions.unionAll(each).groupBy("document", "odd").agg(F.sum("documents").alias("n"))
    return {(row["document"], *row["odd"].split(": ", 1)): row["n"] for row in counted.collect()}
