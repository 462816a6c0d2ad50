"""What Spark itself costs, as commands: `python -m benchmarks.spark_peers PEER URI DATABASE`.

Started with the settings of `conf/` and the connector's jars, as spark-submit.sh starts a job.
"""

from __future__ import annotations

import json

import click
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

COLUMNS = {
    "sessions": """
        _id string, session_id string, user_id string, event_count bigint,
        first_event_at timestamp, last_event_at timestamp, pages array<string>
    """,
    "events": "_id string, session_id string, user_id string, timestamp timestamp, page string",
}


def scan(spark: SparkSession, uri: str, database: str) -> dict[str, int]:
    """Both collections, the columns that the job needs, to the sink that forgets them."""
    rows = {}
    for collection, columns in COLUMNS.items():
        counted = Observation(collection)
        documents = read(spark, uri, database, collection, columns)
        observed = documents.observe(counted, F.count(F.lit(1)).alias("rows"))
        observed.write.format("noop").mode("overwrite").save()
        rows[collection] = counted.get["rows"]
    return rows


def read(spark: SparkSession, uri: str, database: str, collection: str, columns: str) -> DataFrame:
    named = columns.replace("\n", " ").split(",")
    project = {"$project": {column.split()[0]: 1 for column in named}}
    return (
        spark.read.format("mongodb")
        .option("connection.uri", uri)
        .option("database", database)
        .option("collection", collection)
        .option("aggregation.pipeline", json.dumps([project]))
        .schema(columns)
        .load()
    )


@click.command()
@click.argument("peer", type=click.Choice(["empty-spark", "scan"]))
@click.argument("uri")
@click.argument("database")
def main(peer: str, uri: str, database: str) -> None:
    """Start Spark, read both collections or nothing, and stop it."""
    spark = SparkSession.builder.appName(f"benchmark {peer}").getOrCreate()
    answer = scan(spark, uri, database) if peer == "scan" else {}
    spark.stop()
    click.echo(json.dumps(answer))


if __name__ == "__main__":
    main()
