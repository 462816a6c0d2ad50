"""Spark's session: what it is made with, however a user configured Spark, and its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from py4j.java_gateway import JavaPackage
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from session_repair.errors import Refused
from session_repair.home import COMMAND

# What a right result depends on, whatever the user's configuration says; master, memory and the
# rest are left to it.
REQUIRED = {
    "spark.sql.session.timeZone": "UTC",  # stored dates are instants; no zone may bend them
    "spark.sql.datetime.java8API.enabled": "false",  # true breaks the connector's writes
    "spark.sql.ansi.enabled": "false",  # Spark 4's default; a missing element is null, no failure
    "spark.sql.caseSensitive": "true",  # field names that differ in case are different fields
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default is out of date
    # A session dated 1582 or 0001 is written as it is; the default stops at it.
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    # A MongoDB address holds a password: without these it would stand in the UI, in plans and in
    # the event log.
    "spark.redaction.regex": (
        r"(?i)secret|password|token|access[.]?key|connection[.]uri|mongodb(\+srv)?://"
    ),
    "spark.sql.redaction.options.regex": "(?i)url|uri",
    "spark.redaction.string.regex": r"mongodb(\+srv)?://([^\s@]*@)?[^\s,\]]+",
    # Rows that are sorted by session_id already are grouped by it in one step.
    "spark.sql.execution.replaceHashWithSortAgg": "true",
    # Of a frame without findings this rule takes the plan away, and what was observed with it.
    "spark.sql.adaptive.optimizer.excludedRules": (
        "org.apache.spark.sql.execution.adaptive.AQEPropagateEmptyRelation"
    ),
    "spark.sql.debug.maxToStringFields": "100",  # fewer are a warning on stderr
    "spark.sql.ui.explainMode": "formatted",  # "extended" prints a write's options all the same
}

# Of these a user may have one too: what either would hide is hidden.
REDACTED = (
    "spark.redaction.regex",
    "spark.sql.redaction.options.regex",
    "spark.redaction.string.regex",
)

SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"
# Plans a query anew after each of its stages: 2 to 5 s, and a tenth of the CPU time of 3.6 million
# rows. Where a shuffle has hundreds of parts it is worth that: it puts those of a few figures
# together.
ADAPTIVE = "spark.sql.adaptive.enabled"
PLANNED_ONCE = 50_000_000  # rows, at most
# Each task writes the code of its stage once more, 0.3 s of CPU time whatever it holds; the rows of
# this many documents with all their pages fit in memory.
ROWS_PER_PARTITION = 500_000
USUAL_CORES = 64  # on more, few rows are no quicker in as many parts
# Each task that reads writes a block for each partition: of more, billions of events are dust.
MOST_PARTITIONS = 10_000

# How often an executor tells what its tasks have read; so long it waits for an answer too, and on a
# busy machine one took more than a second.
HEARTBEAT, OFTEN = "spark.executor.heartbeatInterval", "5s"

TESTED_CONNECTOR = "10.5.0"
LOGGING_VALUES = ("10.6.", "11.0.")  # connectors that log the values of documents at INFO

BUILD_PLANS = ("functions", "PythonUtils")  # what PySpark calls thousands of times for a plan


def new_session(app_name: str, more: Mapping[str, str]) -> SparkSession:
    """The session with the required settings, and ``more``."""
    SparkContext._ensure_initialized()  # else the user's settings are not known yet
    known, builder = SparkConf(), SparkSession.builder.appName(app_name)
    widened = {name: either_of(REQUIRED[name], known.get(name, "")) for name in REDACTED}
    if is_local(known):
        more = {HEARTBEAT: OFTEN, **more}
    for name, value in {**REQUIRED, **widened, **more}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    jvm: Any = spark.sparkContext._jvm
    for name in BUILD_PLANS:
        found = getattr(jvm, name)
        if not isinstance(found, Remembered):
            setattr(jvm, name, Remembered(found))
    return spark


def is_local(conf: SparkConf) -> bool:
    """Whether all of Spark is in one process, and the user leaves its heartbeat to us."""
    return conf.get("spark.master", "").startswith("local") and not conf.contains(HEARTBEAT)


def either_of(ours: str, theirs: str | None) -> str:
    """A pattern that finds what one of the two does."""
    return f"{ours}|(?:{theirs})" if theirs else ours


class Remembered:
    """A class of the JVM whose members are looked for once.

    py4j asks the JVM for the class and for the member whenever one is used, and Java then searches
    every jar for a class of the short name first: a third of the time that making a plan takes.
    """

    def __init__(self, found: Any) -> None:
        self.found = found

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.found, name)
        setattr(self, name, member)
        return member


def size_shuffles(spark: SparkSession, rows: int) -> None:
    """Shuffle so many rows into parts that fit in memory, unless the user sized them."""
    if not spark.sparkContext.getConf().contains(SHUFFLE_PARTITIONS):
        at_once = min(spark.sparkContext.defaultParallelism, USUAL_CORES)
        rounds = max(ceil(rows / (ROWS_PER_PARTITION * at_once)), 1)
        spark.conf.set(SHUFFLE_PARTITIONS, min(rounds * at_once, MOST_PARTITIONS))


def plan_once(spark: SparkSession, rows: int) -> None:
    """Leave adaptive execution to runs of very many rows, unless the user chose."""
    if not spark.sparkContext.getConf().contains(ADAPTIVE):
        spark.conf.set(ADAPTIVE, rows > PLANNED_ONCE)


def connector_version(spark: SparkSession) -> str | None:
    """That of the connector on the driver's class path; None where there is no connector."""
    jvm: Any = spark.sparkContext._jvm
    versions = jvm.com.mongodb.spark.connector.Versions
    return None if isinstance(versions, JavaPackage) else versions.VERSION


def refuse_connector(version: str | None) -> None:
    """Raise Refused where there is no connector, or one that logs what documents hold."""
    if version is None:
        raise Refused(
            f"Spark has no MongoDB connector. Start it with {COMMAND}, or with --packages."
        )
    if version.startswith(LOGGING_VALUES):
        raise Refused(
            f"version {version} of the MongoDB connector writes the values of fields into the log. "
            f"Use {TESTED_CONNECTOR}."
        )
