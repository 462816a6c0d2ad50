"""Starts Spark and lets it do a little of what a run does, so that its classes are loaded.

SPARK_SUBMIT_OPTS=-XX:ArchiveClassesAtExit=FILE python load_classes.py
"""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def main() -> None:
    spark = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
    key = (F.col("id") % 7).alias("key")
    events = spark.range(1_000).select(key, F.timestamp_millis("id").alias("at"))
    visits = F.sort_array(F.collect_list(F.struct("at", F.to_json(F.struct("key")))))
    rebuilt = events.groupBy("key").agg(F.count("*").alias("events"), visits.alias("visits"))
    sessions = spark.range(9).select(F.col("id").alias("key")).repartition("key")
    joined = sessions.join(rebuilt, "key", "full_outer").persist()
    joined.groupBy("key").agg(F.max("events")).orderBy("key").collect()
    joined.where(F.size("visits") > 0).limit(5).collect()
    spark.stop()


if __name__ == "__main__":
    main()
