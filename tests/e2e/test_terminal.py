"""What a person sees who looks on: a line that lives, and a report that fits the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import click
import pytest
from pyspark.sql import SparkSession

import delete_orphan_sessions
import fix_empty_sessions
import verify_sessions
from session_repair.cli.commands import main
from session_repair.cli.screen import columns_of
from session_repair.health.queries import run_at_work
from session_repair.mongo.connection import connected
from session_repair.mongo.lease import held_lease
from session_repair.mongo.runs import Run
from session_repair.repair import watching
from session_repair.settings import Settings
from session_repair.spark.work import Watch, Work
from tests.harness.commands import Command
from tests.harness.documents import RUNS, Db, Snapshot
from tests.harness.holds import Hook
from tests.harness.runs import the_run
from tests.harness.terminal import on_terminal

pytestmark = pytest.mark.needs("many_runs")

STARTING = "Starting Spark, and asking what there is to read: "
GREEN, YELLOW, BOLD = "\x1b[32m", "\x1b[33m", "\x1b[1m"


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch, mongo_uri: str, spark: SparkSession) -> None:
    monkeypatch.setenv("MONGODB_URI", mongo_uri)


def test_a_repair_on_a_terminal_says_what_it_is_at_and_leaves_its_report(
    shop: Db, before_command: Callable[[Hook], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KEEP_SECONDS", 0.0)
    noted: list[Any] = []

    def look(_: str, sent: Mapping[str, Any]) -> None:
        if sent.get("update") == RUNS and isinstance(sent["updates"][0]["u"], list):
            noted.append(sent["updates"][0]["u"][0]["$set"].get("progress.reading"))

    before_command(look)
    with on_terminal(80) as terminal:
        assert fix_empty_sessions.main(["--apply", "--database", shop.name]) == 0
    run = the_run(shop)
    documents = ceil(85 / 300 * (300 + shop["events"].count_documents({})))
    begin, *living = terminal.live()
    assert begin == f"{STARTING}0s"
    assert [it for it in living if it.startswith("Reading: 0 of about ")] != []
    assert [it for it in living if it.startswith("  Processed 83 of 83 sessions")] != []
    assert terminal.screen() == [
        f"Run {run['_id']}",
        "Strategy lookup: 85 of 300 sessions are empty",
        "=" * 60,
        "Fix Empty Sessions",
        "=" * 60,
        "Found 85 potentially empty sessions",
        "",
        "Processing 83 sessions...",
        "  Processed 83/83...",
        "",
        "=" * 60,
        "✅ Fixed 83 sessions",
        "ℹ️  Found 2 orphan sessions (no events)",
        "=" * 60,
        "",
        "=== Verification ===",
        "Total sessions: 300",
        "Sessions with events: 298",
        "Empty sessions remaining: 2",
        "Read back as planned: 83",
        "",
        "✅ All fixable sessions have been fixed!",
        "   2 orphan sessions remain (created but no events)",
        "",
    ]
    assert f"{GREEN}✅ Fixed 83 sessions" in terminal.text
    assert f"{BOLD}Fix Empty Sessions" in terminal.text
    first = {"documents": documents, "read": 0, "per_second": None}
    assert {"$literal": first} in noted
    assert "reading" not in run["progress"]


def test_a_report_fits_its_terminal_and_goes_on_in_a_pipe_as_it_is(
    shop: Db, command: Command
) -> None:
    with on_terminal(60) as terminal:
        assert verify_sessions.main(["--database", shop.name]) == 3
    lines = terminal.screen()
    assert max(map(columns_of, lines)) <= 60
    assert f"{YELLOW}  ⚠️  83 sessions need page data" in terminal.text
    piped = command("verify", on=shop).out
    assert click.unstyle(piped) == piped
    of_report = "".join(lines[lines.index("=" * 60) :])
    assert "".join(of_report.split()) == "".join(piped.split())

    with on_terminal(120, no_color="1") as terminal:
        words = ["--database", shop.name, "--min-age", "1s"]
        assert delete_orphan_sessions.main(words) == 0
    would = "Would delete 2 sessions. This was a dry run: nothing was written."
    assert terminal.screen()[-5:-3] == ["", would]
    assert not any(it in terminal.text for it in (GREEN, YELLOW, BOLD))


def test_json_on_a_terminal_is_as_it_is_in_a_file(planning: Snapshot, mongo_uri: str) -> None:
    shop = planning.restored()
    run = the_run(shop)
    with on_terminal(80) as terminal:
        assert main(["runs", run["_id"], "--database", shop.name]) == 0
    assert json.loads(terminal.text)["_id"] == run["_id"]


def test_what_spark_reads_is_counted_while_it_does(
    spark: SparkSession, shop: Db, mongo_uri: str
) -> None:
    reader = spark.read.format("mongodb").option("connection.uri", mongo_uri)
    events = reader.option("database", shop.name).option("collection", "events").load()
    watch, seen = Watch(spark), []
    assert watch.look() == Work(0, 0, 0, is_reading=True)
    with ThreadPoolExecutor() as threads:
        counted = threads.submit(events.groupBy("session_id").count().collect)
        while not counted.done():
            seen.append(watch.look())
    number = shop["events"].count_documents({})
    deadline = time.monotonic() + 10
    while (now := watch.look()).read < number and time.monotonic() < deadline:
        time.sleep(0.01)  # Spark tells its store a little later
    assert now == Work(number, 0, 0, is_reading=False)
    assert max(it.tasks for it in seen) > 0


def test_a_run_that_reads_says_how_far_it_is(planned: Db, mongo_uri: str) -> None:
    run_id = the_run(planned)["_id"]
    planned[RUNS].update_one({"_id": run_id}, {"$set": {"state": "planning", "planned": None}})
    settings = Settings(mongo_uri, database=planned.name)
    with connected(settings) as store, held_lease(store, run_id) as lease:
        run = Run.find(store, run_id).held_by(lease.token, "progress")
        run.note(reading={"documents": 9_000, "read": 3_000, "per_second": 100}, waiting=None)
        told = "3000 of about 9000 documents, 100/s, 1m left"
        assert str(run_at_work(store)) == f"{run_id}  fix planning  {told}"
        run.plan_anew()
        assert str(run_at_work(store)) == f"{run_id}  fix planning"
