"""Datasets: findings, corrections or deletions, and summary as parquet, one partition per run."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import ceil
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from session_repair.aggregates import Shape
from session_repair.mongo.read import reader_of
from session_repair.repair.journal import FIRST_ATTEMPT, Plan
from session_repair.repair.outcomes import APPLIED
from session_repair.repair.report import Report
from session_repair.repair.survey import Survey
from session_repair.repair.watching import working
from session_repair.reporting.folders import move, plain, remove, require_writable_folder, touch
from session_repair.rules.declared_json import declared_values, with_numbers
from session_repair.rules.envelope import readable, type_name
from session_repair.rules.ids import name_of_id
from session_repair.rules.schemas import (
    CHANGES,
    CORRECTION_ROWS,
    DELETION_ROWS,
    FINDING_ROWS,
    JOURNAL_OUTCOMES,
    SCHEMA_VERSION,
    SUMMARY_ROWS,
)
from session_repair.rules.shapes import KEPT, kept_rows_of
from session_repair.settings import Settings
from session_repair.verbs import DELETE_ORPHANS

ROWS_PER_FILE = 500_000
NAMES = ("sessions", "events", "session_fields", "event_fields")  # what a reader needs of them
AS_NAMED = {"__globPaths__": "false"}  # Spark's, for a path in which brackets are brackets
STAGING = "_staging"  # readers pass over names that begin with an underscore


def require_report_folder(spark: SparkSession, settings: Settings) -> None:
    """Raise Refused, before anything is read, when the datasets could not be written."""
    if settings.report:
        require_writable_folder(spark, plain(settings.report))


def keep_findings(found: Survey, settings: Settings) -> None:
    """Put aside what the datasets of the run are made of, before a write can change the sessions.

    Spark might compute a lost part of the frame again, and would then find healed sessions.
    """
    if settings.report:
        rows = found.corrected.where(F.size("findings") > 0).select(*KEPT)
        rows.write.mode("overwrite").parquet(f"{staging(found.report, settings.report)}/kept")


def write_datasets(spark: SparkSession, report: Report, settings: Settings) -> None:
    """Write the datasets of a run under ``--report``, of the findings that were kept.

    No other run's files are touched.

    They are made in a folder that readers pass over, then moved one by one, the summary last: a
    run without a summary is not complete. ``_SUCCESS`` beside the summary is the very last.
    """
    if not settings.report:
        return
    root, aside = plain(settings.report), staging(report, settings.report)
    kept = (
        spark.read.schema(kept_rows_of(settings.shape)).options(**AS_NAMED).parquet(f"{aside}/kept")
    )
    outcomes = read_outcomes(spark, report, settings)
    findings = sum(symptom.found or 0 for symptom in report.symptoms)
    datasets = {
        "findings": (finding_rows(kept, outcomes), findings),
        "corrections": (correction_rows(kept, outcomes, settings.shape), report.totals.planned),
    }
    if report.verb == DELETE_ORPHANS:  # of which nothing but what goes was kept
        datasets = {"deletions": (deletion_rows(kept, outcomes), report.totals.planned)}
    datasets["summary"] = (summary_rows(spark, report), 1)
    partition = f"run_date={report.server_time:%Y-%m-%d}/run_id={report.run_id}"
    with working(spark, "Writing the datasets"):
        for name, (rows, expected) in datasets.items():
            write(rows, f"{aside}/{name}", expected)
    for name in datasets:
        move(spark, f"{aside}/{name}", f"{root}/{name}/{partition}")
    touch(spark, f"{root}/summary/{partition}/_SUCCESS")
    remove(spark, aside)


def staging(report: Report, folder: str) -> str:
    return f"{plain(folder)}/{STAGING}/{report.run_id}"


def write(rows: DataFrame, folder: str, expected: int) -> None:
    """Write rows with their version into few files, without the mark of success."""
    versioned = rows.withColumn("schema_version", F.lit(SCHEMA_VERSION))
    files = max(1, ceil(expected / ROWS_PER_FILE))
    unmarked = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
    versioned.coalesce(files).write.mode("overwrite").options(**unmarked).parquet(folder)


def read_outcomes(spark: SparkSession, report: Report, settings: Settings) -> DataFrame:
    """One row per journal row of the run, shape JOURNAL_OUTCOMES; none without corrections."""
    if report.outcomes is None or report.outcomes.planned == 0:
        return rows_of([], spark, JOURNAL_OUTCOMES)
    plan = Plan(report.run_id, FIRST_ATTEMPT)  # a resumed run writes no datasets
    outcome = {"$ifNull": ["$outcome", APPLIED]}  # it has ended, so no mark says just that
    pipeline = [{"$match": plan.rows()}, {"$project": {"outcome": outcome}}]
    reader = reader_of(spark, settings, settings.journal, pipeline)
    rows = reader.schema("_id string, outcome string").load()
    key = F.substring("_id", len(plan.prefix) + 1, 2**31 - 1)
    named = rows.select(key.alias("session_key"), "outcome")
    return named.select(*JOURNAL_OUTCOMES.fieldNames())


def finding_rows(kept: DataFrame, outcomes: DataFrame) -> DataFrame:
    """One row per session and symptom, shape FINDING_ROWS."""
    return (
        kept.select("session_key", "session_id", "started_at", F.inline("findings"))
        .join(outcomes, "session_key", "left")
        .withColumn("outcome", F.when(F.col("action") == "correct", F.col("outcome")))
        .transform(with_readable_id)
        .select(*FINDING_ROWS.fieldNames())
    )


def correction_rows(kept: DataFrame, outcomes: DataFrame, shape: Shape) -> DataFrame:
    """One row per planned document, old and new values typed, shape CORRECTION_ROWS."""
    return (
        kept.where("changes IS NOT NULL")
        .transform(with_numbers, shape)
        .join(outcomes, "session_key", "left")
        .withColumn("old", fields_of("stored"))
        .withColumn("new", fields_of("changes"))
        .withColumn("old_declared", declared_of(shape, "stored"))
        .withColumn("new_declared", declared_of(shape, "changes"))
        .transform(with_readable_id)
        .select(*CORRECTION_ROWS.fieldNames())
    )


def deletion_rows(kept: DataFrame, outcomes: DataFrame) -> DataFrame:
    """One row per document to be deleted, shape DELETION_ROWS."""
    key = F.col("canonical_key")
    return (
        kept.join(outcomes, "session_key", "left")
        .withColumn("canonical", F.when(key != F.col("session_key"), readable(key)))
        .transform(with_readable_id)
        .select(*DELETION_ROWS.fieldNames())
    )


def fields_of(struct: str) -> Column:
    """The fields that a correction may change, the user as people read it."""
    read = {name: F.col(f"{struct}.{name}") for name in CHANGES.fieldNames()}
    read["user"] = readable(read["user"])
    return F.struct(*[value.alias(name) for name, value in read.items()])


def declared_of(shape: Shape, struct: str) -> Column:
    """By name, the declared aggregates that the struct has, as extended JSON."""
    values = declared_values(shape, struct)
    pairs = [it for name, value in values.items() for it in (F.lit(name), value)]
    held = F.map_filter(F.create_map(*pairs), lambda _, value: value.isNotNull())
    return held if values else F.create_map().cast("map<string,string>")


def with_readable_id(rows: DataFrame) -> DataFrame:
    key, name = F.col("session_key"), name_of_id(F.col("session_id"))
    return rows.withColumns(
        {"session": readable(key), "session_type": type_name(key), "session_id": name}
    )


def summary_rows(spark: SparkSession, report: Report) -> DataFrame:
    """One row per metric of the run, shape SUMMARY_ROWS."""
    metrics = {"verdict": int(report.verdict), **asdict(report.totals)}
    for symptom in report.symptoms:
        metrics[f"found.{symptom.code}"] = symptom.found
        metrics[f"to_correct.{symptom.code}"] = symptom.to_correct
        metrics[f"deferred.{symptom.code}"] = symptom.deferred
    for name, instant in (report.window or {}).items():
        metrics[f"window.{name}"] = int(instant.timestamp())
    for part in ("outcomes", "verification"):
        figures = getattr(report, part)
        metrics.update({f"{part}.{k}": v for k, v in (asdict(figures) if figures else {}).items()})
    settings = report.settings
    names = json.dumps({name: settings[name] for name in NAMES})
    which = (settings["database"], settings["scope"], report.strategy, names)
    rows = [(report.verb, report.server_time, *which, *metric) for metric in metrics.items()]
    return rows_of(rows, spark, SUMMARY_ROWS)


def rows_of(rows: list[tuple[Any, ...]], spark: SparkSession, schema: StructType) -> DataFrame:
    """A few rows of the driver as a frame; createDataFrame would start Python on an executor."""
    if not rows:
        nothing = [F.lit(None).cast(field.dataType).alias(field.name) for field in schema]
        return spark.range(0).select(*nothing)
    structs = [
        F.struct(
            *[
                F.lit(value).cast(field.dataType).alias(field.name)
                for value, field in zip(row, schema, strict=True)
            ]
        )
        for row in rows
    ]
    return spark.range(1).select(F.inline(F.array(*structs)))
