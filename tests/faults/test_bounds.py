"""A run keeps to its bounds: small quick batches, beside replicas that follow, in its time."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern
from pyspark.sql import SparkSession

from demo.generate import generate
from demo.server import Member, ReplicaSet
from tests.faults.ground import (
    JOURNAL,
    Db,
    Document,
    Verbs,
    batches,
    held,
    is_begun,
    last_run,
    outcomes,
)
from tests.faults.runs import differing, recomputed_documents, started

SESSIONS, BROKEN = 360, 100  # what generate makes of so many


@pytest.fixture
def verbs(spark: SparkSession, mongo_uri: str, db: Db, tmp_path: Path) -> Verbs:
    return Verbs.on(mongo_uri, db.name, tmp_path)


@pytest.fixture
def expected(db: Db) -> dict[Any, bytes]:
    """The sessions as a clean run leaves them; the database is filled and broken."""
    assert generate(db, SESSIONS).broken == BROKEN
    return recomputed_documents(db)


@pytest.fixture
def plan(verbs: Verbs, db: Db, expected: dict[Any, bytes]) -> str:
    """A plan that waits for its application."""
    assert verbs("fix", "--plan") == 3
    return str(last_run(db)["_id"])


def on_journal(db: Db) -> str:
    return f"{db.name}.{JOURNAL}"


def test_no_batch_is_larger_than_asked_for(
    verbs: Verbs, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    assert verbs("apply", plan, "--batch-size", "30") == 0
    assert max(batches(db)) == 30
    assert sum(batches(db)) == BROKEN
    assert differing(db, expected) == []


def test_a_merge_longer_than_half_a_second_makes_smaller_ones_down_to_ten(
    verbs: Verbs, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    with held(db.client, "aggregate", seconds=0.9, on=on_journal(db)):
        assert verbs("apply", plan, "--batch-size", "40") == 0
    first, second, *rest = batches(db)
    assert first == 40  # begun before anything was known of the server
    assert 18 <= second <= 22  # as many as the first merge did in half a second
    assert 10 <= rest[0] <= 12
    assert set(rest[1:-1]) == {10}
    assert differing(db, expected) == []


def test_the_pause_file_stops_the_run_between_two_batches(
    verbs: Verbs, db: Db, plan: str, expected: dict[Any, bytes], tmp_path: Path
) -> None:
    pause = tmp_path / "pause"
    words = (plan, "--batch-size", "40", "--pause-file", str(pause))
    with (
        ThreadPoolExecutor() as threads,
        held(*(db.client, "aggregate"), seconds=2, on=on_journal(db)) as hold,
    ):
        run = threads.submit(verbs, "apply", *words)
        hold.until(lambda: is_begun(db))
        pause.touch()
        hold.release()
        assert run.result() == 5
    assert outcomes(db) == {"applied": 40, "none": BROKEN - 40}
    assert (last_run(db)["state"], last_run(db)["verdict"]) == ("applying", 5)
    assert verbs("resume", *words) == 5
    assert outcomes(db)["applied"] == 40  # it still stands, so nothing more was written
    pause.unlink()
    assert verbs("resume", *words) == 0
    assert outcomes(db) == {"applied": BROKEN}
    assert differing(db, expected) == []


def test_the_time_limit_stops_the_run_between_two_batches(
    verbs: Verbs, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    # Three of these commands make up a batch.
    with held(db.client, "aggregate", seconds=1.1, on=on_journal(db)):
        assert verbs("apply", plan, "--batch-size", "20", "--max-time", "3s") == 5
    assert outcomes(db) == {"applied": 20, "none": BROKEN - 20}
    assert last_run(db)["progress"]["counts"] == {"applied": 20}
    assert verbs("resume", plan) == 0
    assert last_run(db)["progress"]["counts"] == {"applied": BROKEN}
    assert differing(db, expected) == []


def test_a_poisonous_row_fails_alone(
    verbs: Verbs, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    poisonous = db[JOURNAL].find_one(sort=[("_id", 1)], skip=41)
    assert poisonous is not None
    key = poisonous["plan"]["session"]["v"]
    before = db["sessions"].find_one({"_id": key})
    # The server itself rejects any document of this _id that counts something.
    rule = {"$or": [{"_id": {"$ne": key}}, {"event_count": 0}]}
    db.command("collMod", "sessions", validator=rule, validationLevel="strict")
    code, report = verbs.reported("apply", plan, "--batch-size", "64")
    assert code == 5
    assert outcomes(db) == {"applied": BROKEN - 1, "failed": 1}
    assert (report["outcomes"]["applied"], report["outcomes"]["failed"]) == (BROKEN - 1, 1)
    failed = db[JOURNAL].find_one({"outcome": "failed"})
    assert failed is not None
    assert failed["_id"] == poisonous["_id"]
    assert "Document failed validation" in failed["error"]
    assert db["sessions"].find_one({"_id": key}) == before
    assert differing(db, expected) == [key]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_batch_end_and_then_stops_the_run(
    verbs: Verbs,
    db: Db,
    mongo_uri: str,
    plan: str,
    expected: dict[Any, bytes],
    number: signal.Signals,
) -> None:
    with (
        held(db.client, "aggregate", seconds=2, on=on_journal(db)) as hold,
        started(mongo_uri, db.name, "apply", plan, "--batch-size", "40") as process,
    ):
        hold.until(lambda: is_begun(db))
        process.signal(number)
        hold.release()
        assert process.wait() == 130, process.text()
        told = process.text()
    assert f"./spark-submit.sh resume {plan}" in told
    assert outcomes(db) == {"applied": 40, "none": BROKEN - 40}
    assert (last_run(db)["state"], last_run(db)["verdict"]) == ("applying", 130)
    assert verbs("resume", plan) == 0  # the lease was given back
    assert outcomes(db) == {"applied": BROKEN}
    assert differing(db, expected) == []


@pytest.mark.faults
def test_ctrl_c_of_the_whole_command_lets_the_batch_end(
    verbs: Verbs, db: Db, mongo_uri: str, expected: dict[Any, bytes]
) -> None:
    with (
        held(db.client, "aggregate", seconds=2, on=on_journal(db)) as hold,
        started(mongo_uri, db.name, "fix", "--apply", "--batch-size", "40") as process,
    ):
        hold.until(lambda: is_begun(db))
        process.signal(signal.SIGINT)  # to the JVM and to Python, as a terminal does
        hold.release()
        assert process.wait() == 130, process.text()
        deadline = time.monotonic() + 30
        while last_run(db).get("verdict") is None and time.monotonic() < deadline:
            time.sleep(0.2)
        run = last_run(db)
    assert outcomes(db) == {"applied": 40, "none": BROKEN - 40}
    assert (run["state"], run["verdict"]) == ("applying", 130)
    assert verbs("resume", run["_id"]) == 0
    assert differing(db, expected) == []


# Replication


@pytest.fixture
def three() -> Iterator[ReplicaSet]:
    with ReplicaSet(3, cache_gb=0.25, parameters={"enableTestCommands": True}) as members:
        yield members


@contextmanager
def not_applying(member: Member) -> Iterator[None]:
    """The member stays up and answers, but applies nothing of what the primary wrote."""
    with member.client() as client:
        admin = client["admin"]
        admin.command("configureFailPoint", "rsSyncApplyStop", mode="alwaysOn")
        try:
            yield
        finally:
            admin.command("configureFailPoint", "rsSyncApplyStop", mode="off")


def write_for(db: Db, seconds: float) -> None:
    """Writes that only the primary has to acknowledge."""
    traffic = db.client.get_database("traffic", write_concern=WriteConcern(1))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        traffic["writes"].insert_one({})
        time.sleep(0.2)


def stays_at(db: Db, counts: Document, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert outcomes(db) == counts
        time.sleep(0.2)


def test_a_lagging_replica_pauses_the_run_until_it_has_caught_up_half(
    spark: SparkSession,
    three: ReplicaSet,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with MongoClient[Document](three.uri, tz_aware=True) as client, ExitStack() as rest:
        db = client[f"test_{uuid4().hex[:12]}"]
        verbs = Verbs.on(three.uri, db.name, tmp_path)
        broken = generate(db, 100).broken
        expected = recomputed_documents(db)
        assert verbs("fix", "--plan") == 3
        slow, slower = three.secondaries()
        threads = rest.enter_context(ThreadPoolExecutor())
        second = rest.enter_context(ExitStack())
        with not_applying(slower):
            write_for(db, 6)
            run = threads.submit(verbs, "apply", last_run(db)["_id"], "--max-lag", "5s")
            stays_at(db, {"none": broken}, 3)
            second.enter_context(not_applying(slow))
            write_for(db, 3.5)
        # Now the first has caught up, and the second lags by less than 5 s but more than half.
        stays_at(db, {"none": broken}, 3)
        assert not run.done()
        second.close()
        assert run.result() == 0
        assert outcomes(db) == {"applied": broken}
        assert differing(db, expected) == []
    assert capfd.readouterr().err.count("Replication lags by more than 5 s: waiting") == 1


def test_a_member_that_is_delayed_on_purpose_does_not_pause_the_run(
    spark: SparkSession, three: ReplicaSet, tmp_path: Path
) -> None:
    with MongoClient[Document](three.uri, tz_aware=True) as client:
        db = client[f"test_{uuid4().hex[:12]}"]
        verbs = Verbs.on(three.uri, db.name, tmp_path)
        broken = generate(db, 100).broken
        assert verbs("fix", "--plan") == 3
        config = client.admin.command("replSetGetConfig")["config"]
        delayed = three.secondaries()[0].address
        for member in config["members"]:
            if member["host"] == delayed:
                member.update(priority=0, hidden=True, secondaryDelaySecs=60)
        config["version"] += 1
        client.admin.command("replSetReconfig", config)
        write_for(db, 4)
        limits = ("--max-lag", "1s", "--max-time", "20s")
        assert verbs("apply", last_run(db)["_id"], *limits) == 0
        assert outcomes(db) == {"applied": broken}
