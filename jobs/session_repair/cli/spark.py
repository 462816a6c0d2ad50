"""Spark: the session, with only the settings that a right result depends on."""

from __future__ import annotations

from math import ceil

from pyspark.sql import SparkSession

# Whatever the user's configuration says; master, memory and the rest are left to it.
REQUIRED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.datetime.java8API.enabled": "false",  # true breaks the connector's writes
    "spark.sql.caseSensitive": "true",  # field names that differ in case are different fields
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default is out of date
    # A session dated 1582 or 0001 is written as it is; the default stops at it.
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    # Without these the connection string would stand in the event log and in plans.
    "spark.redaction.regex": (
        r"(?i)secret|password|token|access[.]?key|connection[.]uri|mongodb(\+srv)?://"
    ),
    "spark.sql.redaction.options.regex": "(?i)url|uri",
    "spark.redaction.string.regex": r"mongodb(\+srv)?://([^\s@]*@)?[^\s,\]]+",
    "spark.sql.ui.explainMode": "formatted",  # "extended" prints a write's options all the same
}

SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"
# A task costs 0.1 s whatever it holds, and this many sessions with all their pages fit in memory.
ROWS_PER_PARTITION = 100_000


def spark_session(app_name: str, rows: int) -> SparkSession:
    """The session, its shuffles sized for so many documents unless the user sized them."""
    builder = SparkSession.builder.appName(app_name)
    for name, value in REQUIRED.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    if not spark.sparkContext.getConf().contains(SHUFFLE_PARTITIONS):
        cores = spark.sparkContext.defaultParallelism
        partitions = max(ceil(rows / ROWS_PER_PARTITION), min(cores, 64))
        spark.conf.set(SHUFFLE_PARTITIONS, partitions)
    return spark
