"""Logs: Python's lines and Spark's in one form, each with the run, none with what is stored."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from bson import ObjectId

from tests.harness.commands import ONGOING, Command, Ended, spark_submit
from tests.harness.declared import TWELVE
from tests.harness.documents import SESSIONS, Db, Document
from tests.harness.runs import last_run, the_run
from tests.harness.shop import MORNING, Shop

LOCAL = ("--master", "local[2]", "--driver-memory", "768m")
USER = ObjectId("5ec4e7000000000000000077")
PAGE, NAME = "/marked-page", "marked-session"
MARKS = ("marked", str(USER))  # in each value of the documents that a test makes
LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) +(?P<run>\S+) "
    r"(?P<logger>\S+): (?P<message>.*)"
)


@pytest.fixture
def marked(db: Db) -> Db:
    """Three broken sessions, one that names another user than its events, and an orphan."""
    shop = Shop(db)
    for number in range(3):
        shop.session(f"{NAME}-{number}", user_id=USER)
        shop.events(f"{NAME}-{number}", {0: f"{PAGE}-0", 1: f"{PAGE}-1"}, user_id=USER)
    shop.session(f"{NAME}-orphan", user_id=USER)
    return db


def repaired(db: Db) -> int:
    pages = [f"{PAGE}-0", f"{PAGE}-1"]
    return db[SESSIONS].count_documents({"pages": pages, "event_count": 2})


# Written by the Java of a Spark 4 as it starts, before anything can be told how.
OF_JAVA = "WARNING: Using incubator modules: jdk.incubator.vector"


def written(ended: Ended) -> list[str]:
    return [line for line in ended.err.splitlines() if line != OF_JAVA]


def records_of(ended: Ended) -> list[Document]:
    """The lines on stderr, each of which is an object."""
    return [json.loads(line) for line in written(ended)]


def lines_of(ended: Ended) -> list[Document]:
    """The lines on stderr, each of which has the one form of text."""
    found = [(line, LINE.fullmatch(line)) for line in written(ended)]
    assert [line for line, match in found if match is None] == []
    return [match.groupdict() for _, match in found if match]


def by_spark(records: list[Document]) -> list[Document]:
    return [it for it in records if it["logger"].startswith("org.apache.spark.")]


def require_one_run(records: list[Document], run_id: str) -> None:
    """Each record names the run, once one has; two threads may know of it at two moments."""
    for of_java in (True, False):
        runs = [it["run"] for it in records if it["logger"].startswith("org.") == of_java]
        first = runs.index(run_id) if run_id in runs else len(runs)
        assert runs == ["-"] * first + [run_id] * (len(runs) - first)


@pytest.mark.needs("spark_process")
def test_a_repair_told_in_json_is_one_object_a_line_in_utc_with_its_run(
    marked: Db, mongo_uri: str, tmp_path: Path
) -> None:
    """However many aggregates are declared."""
    some = {"event_type": "purchase", "amount": 5, "tag": "a", "via": "b", "at": MORNING}
    marked["events"].update_many({}, {"$set": some})
    (tmp_path / "twelve.toml").write_text("\n\n".join(it.toml for it in TWELVE))
    absent = [word for it in TWELVE for word in ("--allow-absent", it.path)]
    given = ("--config", str(tmp_path / "twelve.toml"), *absent)
    before = datetime.now(timezone.utc)
    words = ("fix", "--apply", "--log-format", "json", "-v", "--database", marked.name)
    ended = spark_submit(*LOCAL, *words, *given, uri=mongo_uri)
    after = datetime.now(timezone.utc)
    assert (ended.code, repaired(marked)) == (0, 3), ended.err
    assert "✅ Fixed 3 sessions\n" in ended.out

    records = records_of(ended)
    assert {tuple(it) for it in records} == {("time", "level", "run", "logger", "message")}
    assert {it["level"] for it in records} == {"INFO", "NOTICE"}
    for it in records:
        assert it["time"].endswith("Z")
        at = datetime.fromisoformat(it["time"].replace("Z", "+00:00"))
        assert before.replace(microsecond=0) <= at <= after
    run = the_run(marked)
    require_one_run(records, run["_id"])
    digits = re.compile(r"[0-9a-f]{64}|local-\d+|\d+(\.\d+)*")
    told = [digits.sub("#", it["message"]) for it in records if it["level"] == "INFO"]
    assert told == [
        "took the lease, number #",
        "Spark # is there: # on local[#], tasks at once: #",
        "reading about # documents by scan",
        "reading by way of sessions: # cursor",
        "reading by way of events: # cursor",
        "read # sessions and # events",
        "sealed a plan of # rows, SHA-# #",
        "the slowest replica lags # s",
        "a batch of # rows took # s: applied #",
        "read # changed sessions back as planned",
        "gave the lease back",
        "fix ended with exit code #",
    ]
    sealed = f"sealed a plan of 3 rows, SHA-256 {run['digest']}"
    assert sealed in [it["message"] for it in records]
    notices = [it["message"] for it in records if it["level"] == "NOTICE"]
    strategy = "Strategy scan: no index of events begins with session_id"
    notices = [it for it in notices if not ONGOING.match(f"{it}\n")]
    assert notices == [f"Run {run['_id']}", strategy]


@pytest.mark.needs("spark_process")
def test_all_that_spark_does_is_told_in_the_same_form_and_names_no_value(
    marked: Db, mongo_uri: str
) -> None:
    words = ("fix", "--apply", "-vv", "--session-id", f"{NAME}-0", "--database", marked.name)
    ended = spark_submit(*LOCAL, *words, uri=mongo_uri)
    assert (ended.code, repaired(marked)) == (0, 1), ended.err
    lines = lines_of(ended)
    run_id = last_run(marked)["_id"]
    require_one_run(lines, run_id)
    spark = by_spark(lines)
    assert {"INFO"} <= {it["level"] for it in spark} <= {"INFO", "WARN"}
    assert {it["run"] for it in spark} == {"-", run_id}
    assert len(spark) > 100
    debug = [it for it in lines if it["level"] == "DEBUG"]
    assert any(f"{NAME}-0" in it["message"] for it in debug)  # so there was something to be found
    others = [it["message"] for it in lines if it["level"] != "DEBUG"]
    values = [it.replace("unmarked#", "") for it in others]  # a column of ours
    assert [it for it in values if any(mark in it for mark in MARKS)] == []


@pytest.mark.needs("many_runs")
def test_no_step_of_any_verb_names_a_value(marked: Db, command: Command) -> None:
    Shop(marked, 100).session(f"{NAME}-twin", pages=[f"{PAGE}-0"], event_count=1)  # a phantom
    told: list[str] = []

    def run(*words: str, ends: int = 0) -> str:
        ended = command(*words, "-v", on=marked)
        assert ended.code == ends, ended.told
        lines = lines_of(ended)
        assert lines[-1]["message"] == f"{words[0]} ended with exit code {ends}"
        told.extend(it["message"] for it in lines)
        return last_run(marked)["_id"]

    planned = run("fix", "--plan", "--scope", "all", "--session-id", f"{NAME}-1", ends=3)
    run("apply", planned)
    run("verify", "--run", planned)
    run("runs", planned, "--rows")
    run("undo", planned, "--apply")
    run("fix", "--apply", "--confirm-delay", "1ms")
    run("verify", "--scope", "all")
    run("delete-orphans", "--apply", "--max-delete", "1")
    run("delete-orphans", "--duplicates")
    assert (repaired(marked), len(told) > 50) == (3, True)
    assert [it for it in told if any(mark in it for mark in MARKS)] == []


def test_json_on_both_streams_is_all_that_stands_there(marked: Db, command: Command) -> None:
    words = ("fix", "--apply", "--json", "-", "--log-format", "json")
    ended = command(*words, on=marked)
    assert (ended.code, json.loads(ended.out)["outcomes"]["applied"]) == (0, 3)
    records = records_of(ended)
    assert [it["level"] for it in records] == ["NOTICE", "NOTICE"]
    assert {it["run"] for it in records} == {the_run(marked)["_id"]}


def test_the_format_may_stand_in_the_config_file(
    marked: Db, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "night.toml"
    file.write_text('log_format = "json"\n')
    (record,) = records_of(command("runs", "r1", "--config", str(file), on=marked))
    listing = f"./spark-submit.sh runs --config {file} --database {marked.name}"
    why = f"runs: there is no run 'r1'. Find it with: {listing}"
    assert (record["level"], record["message"]) == ("ERROR", why)
    file.write_text('log_format = "xml"\n')
    refused = command("runs", "--config", str(file), on=marked)
    why = "runs: log_format 'xml' is unknown; write text or time or json.\n"
    assert (refused.code, refused.err) == (2, why)
