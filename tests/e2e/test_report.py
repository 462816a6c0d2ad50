"""The report in parquet: the same to every reader, whole or not there at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pandas
import polars
import pytest
from bson import DatetimeMS
from pymongo.database import Database
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.harness.commands import PATIENCE, ROOT, Command, started
from tests.harness.commands import reported as reported_as_json
from tests.harness.documents import Document
from tests.harness.shop import Shop, minute

pytestmark = pytest.mark.needs("many_runs")

DATASETS = ("findings", "corrections", "summary")
YEAR_1 = datetime(1, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Reported:
    """Two runs in one report folder, and what they said of themselves as JSON."""

    folder: Path
    runs: dict[str, Document]

    def dataset(self, name: str) -> str:
        return str(self.folder / "report" / name)

    def expected(self) -> Counter[tuple[str, str]]:
        """How often each run found each symptom."""
        return Counter(
            {
                (run["run_id"], symptom["code"]): symptom["found"]
                for run in self.runs.values()
                for symptom in run["symptoms"]
                if symptom["found"]
            }
        )


@pytest.fixture(scope="module")
def reported(
    module_db: Database[Document], command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Reported:
    shop = Shop(module_db)
    for number in range(7):
        shop.session(f"empty {number}")
        shop.events(f"empty {number}", {number: "/home", number + 1: "/cart"})
    shop.session("orphan")
    shop.session("old", first_event_at=YEAR_1, event_count=5, pages=["/"])
    shop.events("old", {0: "/home"}, timestamp=YEAR_1)
    folder = tmp_path_factory.mktemp("reported")
    runs = {}
    for verb in (("verify",), ("fix", "--apply", "--batch-size", "3")):
        json_file = folder / f"{verb[0]}.json"
        where = ("--database", module_db.name, "--json", str(json_file))
        assert command(*verb, *where, "--report", f"{folder}/report").code in (0, 3)
        runs[verb[0]] = json.loads(json_file.read_text())
    return Reported(folder, runs)


def test_a_report_may_stand_in_a_folder_of_any_name(
    module_db: Database[Document], reported: Reported, command: Command, tmp_path: Path
) -> None:
    """Hadoop takes brackets for patterns, a colon for the end of a scheme, // for a host."""
    folder = tmp_path / "a:b [c]{d,e}*? 50% %41 x=y \\ #ü"
    code, told = reported_as_json(command, "verify", "--report", f"/{folder}", on=module_db)
    assert code == 0
    files = [file for file in folder.rglob("*.parquet") if "_staging" not in str(file)]
    assert len(files) == len(DATASETS)
    codes = [code for file in files if "findings" in str(file) for code in codes_in(file)]
    assert Counter(codes) == {it["code"]: it["found"] for it in told["symptoms"] if it["found"]}
    assert [it.name for it in tmp_path.iterdir()] == [folder.name]


def codes_in(file: Path) -> list[str]:
    with file.open("rb") as opened:
        return list(pandas.read_parquet(opened)["code"])


def by_spark(spark: SparkSession, folder: str) -> list[tuple[str, str]]:
    rows = spark.read.parquet(folder).select(F.col("run_id").cast("string"), "code").collect()
    return [(row["run_id"], row["code"]) for row in rows]


def by_pandas(_: SparkSession, folder: str) -> list[tuple[str, str]]:
    frame = pandas.read_parquet(folder, columns=["run_id", "code"])
    return list(zip(frame["run_id"].astype(str), frame["code"], strict=True))


def by_polars(_: SparkSession, folder: str) -> list[tuple[str, str]]:
    frame = polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
    return frame.select(polars.col("run_id").cast(polars.String), "code").rows()


def by_duckdb(_: SparkSession, folder: str) -> list[tuple[str, str]]:
    files = f"{folder}/**/*.parquet"
    query = f"SELECT run_id::text, code FROM read_parquet('{files}', hive_partitioning = true)"
    return duckdb.execute(query).fetchall()


@pytest.mark.parametrize("read", [by_spark, by_pandas, by_polars, by_duckdb])
def test_every_reader_counts_what_the_runs_found(
    reported: Reported,
    spark: SparkSession,
    read: Callable[[SparkSession, str], list[tuple[str, str]]],
) -> None:
    expected = reported.expected()
    assert expected.total() == 64
    assert Counter(read(spark, reported.dataset("findings"))) == expected


def test_instants_are_utc_to_every_reader(reported: Reported, spark: SparkSession) -> None:
    folder = reported.dataset("findings")
    files = f"{folder}/**/*.parquet"
    first = "session_id = 'empty 3' AND code = 'empty_pages'"
    instant = minute(3)

    of_spark = spark.read.parquet(folder).where(first).select(F.unix_micros("started_at")).first()
    assert of_spark is not None
    assert of_spark[0] == instant.timestamp() * 10**6
    filters = [("session_id", "==", "empty 3"), ("code", "==", "empty_pages")]
    of_pandas = pandas.read_parquet(folder, columns=["started_at"], filters=filters)
    assert set(of_pandas["started_at"]) == {pandas.Timestamp(instant)}
    of_polars = polars.scan_parquet(files).filter(
        (polars.col("session_id") == "empty 3") & (polars.col("code") == "empty_pages")
    )
    assert set(of_polars.collect()["started_at"].to_list()) == {instant}
    kind, micros = duckdb.execute(
        f"SELECT any_value(typeof(started_at)), any_value(epoch_us(started_at)) "
        f"FROM read_parquet('{files}') WHERE {first}"
    ).fetchall()[0]
    assert (kind, micros) == ("TIMESTAMP WITH TIME ZONE", instant.timestamp() * 10**6)
    oldest = spark.read.parquet(folder).agg(F.min(F.unix_millis("started_at"))).first()
    assert oldest is not None
    assert oldest[0] == int(DatetimeMS(YEAR_1))


def test_corrections_say_what_became_of_them_in_the_schema_of_now(reported: Reported) -> None:
    rows = pandas.read_parquet(reported.dataset("corrections"))
    rows = rows[rows["run_id"].astype(str) == reported.runs["fix"]["run_id"]]
    assert list(rows["outcome"]) == ["applied"] * 7
    assert set(rows["schema_version"]) == {4}
    assert "batch" not in rows


def test_the_mark_of_success_stands_beside_the_summary_and_nothing_is_left_aside(
    reported: Reported,
) -> None:
    report = reported.folder / "report"
    runs = {run["run_id"] for run in reported.runs.values()}
    marks = [path.relative_to(report) for path in report.rglob("_SUCCESS")]
    assert {path.parts[0] for path in marks} == {"summary"}
    assert {path.parts[2].removeprefix("run_id=") for path in marks} == runs
    assert {path.name for path in report.iterdir()} == {*DATASETS, "_staging"}
    assert list((report / "_staging").iterdir()) == []


@pytest.mark.needs("spark_process")
def test_a_run_killed_while_it_writes_its_report_leaves_nothing_that_counts(
    reported: Reported, module_db: Database[Document], mongo_uri: str, spark: SparkSession
) -> None:
    report = reported.folder / "report"
    before = {path: path.stat().st_mtime_ns for name in DATASETS for path in rows_in(report, name)}
    with started(mongo_uri, module_db.name, "verify", "--report", str(report)) as process:
        deadline = time.monotonic() + PATIENCE
        while not list(report.glob("_staging/*/findings/*.parquet")):
            assert process.popen.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    assert len(list((report / "_staging").iterdir())) == 1
    after = {path: path.stat().st_mtime_ns for name in DATASETS for path in rows_in(report, name)}
    assert after == before
    assert Counter(by_spark(spark, str(report / "findings"))) == reported.expected()


def rows_in(report: Path, dataset: str) -> list[Path]:
    return list((report / dataset).rglob("*"))


def test_the_data_dictionary_is_that_of_the_schemas() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "data_dictionary.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs" / "report.md").read_text("utf-8") == made.stdout
