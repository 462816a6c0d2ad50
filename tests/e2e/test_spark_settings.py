"""What the user's own Spark brings along: settings that bend results, a connector or none."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from session_repair.errors import Refused
from session_repair.spark.session import (
    ADAPTIVE,
    MOST_PARTITIONS,
    PLANNED_ONCE,
    ROWS_PER_PARTITION,
    SHUFFLE_PARTITIONS,
    connector_version,
    plan_once,
    refuse_connector,
    size_shuffles,
)
from tests.harness.commands import (
    PATIENCE,
    ROOT,
    Command,
    environment,
    run_to_end,
    spark_submit,
)
from tests.harness.documents import Db, data_of, stored_bytes
from tests.harness.shop import Shop
from tests.oracle import recomputed_documents

BENDING = {
    "spark.sql.ansi.enabled": "true",  # the default of Spark 4
    "spark.sql.caseSensitive": "false",
    "spark.sql.datetime.java8API.enabled": "true",
    "spark.sql.session.timeZone": "Asia/Tokyo",
}


@pytest.mark.needs("spark_process")
def test_settings_that_would_bend_a_result_have_no_effect(db: Db, mongo_uri: str) -> None:
    shop = Shop(db)
    shop.session("s1")
    shop.events("s1", {0: "/a", 3: "/b", 5: "/a", 6: None})
    shop.session("s2", event_count=2, pages=["/a"])
    shop.events("s2", {1: "/a", 2: "/a"})
    shop.session("nobody's")
    should = recomputed_documents(db)
    options = [word for pair in BENDING.items() for word in ("--conf", "=".join(pair))]
    fix = ("fix", "--apply", "--database", db.name)
    ended = spark_submit(
        "--master", "local[2]", *options, *fix, "--strategy", "scan", uri=mongo_uri
    )
    assert ended.code == 0, ended.err
    assert stored_bytes(db) == should


@pytest.mark.needs("spark_process")
def test_a_spark_without_the_connector_is_refused(db: Db, mongo_uri: str) -> None:
    shop = Shop(db)
    shop.session("s1")
    shop.events("s1", {0: "/a"})
    before = data_of(db)
    job = str(ROOT / "jobs/fix_empty_sessions.py")
    command = [sys.executable, job, "--apply", "--database", db.name]
    done = run_to_end(command, {**environment(mongo_uri), "SPARK_LOCAL_IP": "127.0.0.1"}, PATIENCE)
    assert "has no MongoDB connector. Start it with ./spark-submit.sh" in done.err
    assert (done.code, done.out) == (2, "")
    assert data_of(db) == before


def test_rows_are_planned_once_and_split_unless_there_are_very_many(spark: SparkSession) -> None:
    before = {name: str(spark.conf.get(name)) for name in (ADAPTIVE, SHUFFLE_PARTITIONS)}

    def sized(rows: int) -> tuple[str | None, ...]:
        size_shuffles(spark, rows)
        plan_once(spark, rows)
        return tuple(spark.conf.get(name) for name in before)

    cores = spark.sparkContext.defaultParallelism
    try:
        assert sized(1) == ("false", str(cores))
        assert sized(cores * ROWS_PER_PARTITION) == ("false", str(cores))
        assert sized(cores * ROWS_PER_PARTITION + 1) == ("false", str(2 * cores))
        assert sized(PLANNED_ONCE)[0] == "false"
        assert sized(PLANNED_ONCE + 1)[0] == "true"
        assert sized(10**12) == ("true", str(MOST_PARTITIONS))
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


@pytest.mark.usefixtures("adaptive")
def test_a_session_that_was_there_goes_on_to_plan_as_it_did(
    db: Db, spark: SparkSession, command: Command
) -> None:
    shop = Shop(db)
    shop.session("s1")
    shop.events("s1", {0: "/a"})
    ended = command("verify", on=db)
    assert (ended.code, ended.figure("Total events")) == (3, 1)
    assert spark.conf.get(ADAPTIVE) == "true"


def test_the_connector_is_the_one_that_was_tested(spark: SparkSession) -> None:
    assert connector_version(spark) == "10.5.0"
    refuse_connector("10.5.0")
    refuse_connector("10.60.0")


@pytest.mark.parametrize("version", ["10.6.0", "11.0.0", "11.0.1"])
def test_a_connector_that_logs_values_is_refused(version: str) -> None:
    with pytest.raises(Refused, match=f"version {version} .* into the log. Use 10.5.0."):
        refuse_connector(version)


@pytest.mark.own_spark  # PySpark 4 finds them by their whole names
def test_what_plans_are_built_of_is_looked_for_once(spark: SparkSession) -> None:
    jvm: Any = spark.sparkContext._jvm
    asked = jvm._gateway_client.send_command
    commands: list[str] = []

    def send_command(command: str, *more: Any) -> Any:
        commands.append(command)
        return asked(command, *more)

    F.upper(F.col("a"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jvm._gateway_client, "send_command", send_command)
        F.upper(F.col("a"))
    calls = [line.splitlines()[:3] for line in commands if line.startswith("c\n")]
    assert [name for _, _, name in calls] == ["col", "upper"]
    assert not [line for line in commands if line.startswith("r\n")]
