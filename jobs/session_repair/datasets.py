"""Datasets: findings, corrections and summary as parquet, one partition per run."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import ceil
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from session_repair.connection import spark_uri
from session_repair.envelope import readable, type_name
from session_repair.errors import Refused
from session_repair.journal import of_run
from session_repair.report import Report
from session_repair.schemas import (
    CORRECTION_ROWS,
    FINDING_ROWS,
    JOURNAL_OUTCOMES,
    SCHEMA_VERSION,
    SUMMARY_ROWS,
)
from session_repair.settings import Settings

ROWS_PER_FILE = 500_000


def write_datasets(corrected: DataFrame, report: Report, settings: Settings) -> None:
    """Write the three datasets of a run under ``--report``; no other run's files are touched."""
    spark = corrected.sparkSession
    outcomes = read_outcomes(spark, report, settings)
    findings, corrections = finding_rows(corrected, outcomes), correction_rows(corrected, outcomes)
    found = sum(symptom.found for symptom in report.symptoms)
    write(findings, "findings", report, settings, found)
    write(corrections, "corrections", report, settings, report.totals.planned)
    write(summary_rows(spark, report), "summary", report, settings, 1)


def require_writable(spark: SparkSession, directory: str) -> None:
    """Raise Refused unless a file can be made in the ``--report`` folder, which is made here."""
    hadoop = spark.sparkContext._jvm.org.apache.hadoop  # type: ignore[union-attr]
    folder, probe = hadoop.fs.Path(directory), hadoop.fs.Path(f"{directory}/_probe")
    try:
        files = folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
        files.mkdirs(folder)
        files.create(probe).close()
        files.delete(probe, False)
    except Py4JJavaError as error:
        cause = str(error.java_exception).partition("\n")[0]
        raise Refused(f"--report {directory} cannot be written: {cause}") from None


def write(rows: DataFrame, name: str, report: Report, settings: Settings, expected: int) -> None:
    partition = f"run_date={report.server_time:%Y-%m-%d}/run_id={report.run_id}"
    versioned = rows.withColumn("schema_version", F.lit(SCHEMA_VERSION))
    files = max(1, ceil(expected / ROWS_PER_FILE))
    versioned.coalesce(files).write.parquet(f"{settings.report}/{name}/{partition}")


def read_outcomes(spark: SparkSession, report: Report, settings: Settings) -> DataFrame:
    """One row per journal row of the run, shape JOURNAL_OUTCOMES; none without corrections."""
    if report.outcomes is None or report.outcomes.planned == 0:
        return rows_of([], spark, JOURNAL_OUTCOMES)
    pipeline = [{"$match": of_run(report.run_id)}, {"$project": {"outcome": 1}}]
    rows = (
        spark.read.format("mongodb")
        .option("connection.uri", spark_uri(settings))
        .option("database", settings.database)
        .option("collection", settings.journal)
        .option("aggregation.pipeline", json.dumps(pipeline))
        .schema("_id string, outcome string")
        .load()
    )
    key = F.substring("_id", len(report.run_id) + 2, 2**31 - 1)
    return rows.select(key.alias("session_key"), "outcome").select(*JOURNAL_OUTCOMES.fieldNames())


def finding_rows(corrected: DataFrame, outcomes: DataFrame) -> DataFrame:
    """One row per session and symptom, shape FINDING_ROWS."""
    return (
        corrected.select("session_key", "session_id", "started_at", F.inline("findings"))
        .join(outcomes, "session_key", "left")
        .withColumn("outcome", F.when(F.col("action") == "correct", F.col("outcome")))
        .transform(with_readable_id)
        .select(*FINDING_ROWS.fieldNames())
    )


def correction_rows(corrected: DataFrame, outcomes: DataFrame) -> DataFrame:
    """One row per planned document, old and new values typed, shape CORRECTION_ROWS."""
    return (
        corrected.where("changes IS NOT NULL")
        .join(outcomes, "session_key", "left")
        .withColumn("old", F.col("stored").withField("user", readable(F.col("stored.user"))))
        .withColumn("new", F.col("changes").withField("user", readable(F.col("changes.user"))))
        .transform(with_readable_id)
        .select(*CORRECTION_ROWS.fieldNames())
    )


def with_readable_id(rows: DataFrame) -> DataFrame:
    key = F.col("session_key")
    return rows.withColumn("session", readable(key)).withColumn("session_type", type_name(key))


def summary_rows(spark: SparkSession, report: Report) -> DataFrame:
    """One row per metric of the run, shape SUMMARY_ROWS."""
    metrics = {"verdict": int(report.verdict), **asdict(report.totals)}
    for symptom in report.symptoms:
        metrics[f"found.{symptom.code}"] = symptom.found
        metrics[f"to_correct.{symptom.code}"] = symptom.to_correct
        metrics[f"deferred.{symptom.code}"] = symptom.deferred
    for part in ("outcomes", "verification"):
        figures = getattr(report, part)
        metrics.update({f"{part}.{k}": v for k, v in (asdict(figures) if figures else {}).items()})
    rows = [(report.verb, report.server_time, name, value) for name, value in metrics.items()]
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
