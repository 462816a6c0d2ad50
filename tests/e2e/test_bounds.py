"""A run keeps to its bounds: small quick batches, beside replicas that follow, in its time."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from demo.generate import generate
from demo.server import Member, ReplicaSet
from tests.harness.commands import (
    PATIENCE,
    Command,
    Ended,
    reported,
    spark_submit,
    started,
)
from tests.harness.documents import (
    JOURNAL,
    SESSIONS,
    Db,
    Document,
    Snapshot,
    data_of,
    differing,
    hash_of,
    made_once,
    new_database,
    stored_bytes,
)
from tests.harness.holds import Hold, Point, held
from tests.harness.runs import batches, last_run, outcomes
from tests.oracle import recomputed_documents

MADE, BROKEN = 360, 100  # what generate makes of so many
BOUNDED = "bounded"
WRITE = Point("update", SESSIONS)  # of a batch, or of its undo: one in each
READ = Point("aggregate", SESSIONS)  # of a plan
COMMIT = Point("commitTransaction")


@pytest.fixture(scope="module")
def planning_of_100(mongo_client: MongoClient[Document], command: Command) -> Iterator[Snapshot]:
    """The database ``bounded`` with a plan of its hundred corrections, made once."""

    def make(db: Db) -> None:
        assert generate(db, MADE).broken == BROKEN
        assert command("fix", "--plan", on=db).code == 3

    with made_once(mongo_client[BOUNDED], make) as made:
        yield made


@pytest.fixture
def db(planning_of_100: Snapshot) -> Db:
    """A database whose only run waits for its application, the same for each test."""
    return planning_of_100.restored()


@pytest.fixture
def plan(db: Db) -> str:
    return str(last_run(db)["_id"])


@pytest.fixture
def expected(db: Db) -> dict[Any, bytes]:
    """The sessions as a clean run leaves them."""
    return recomputed_documents(db)


@pytest.fixture
def empty(mongo_client: MongoClient[Document]) -> Iterator[Db]:
    """A database in which nothing is planned."""
    with new_database(mongo_client) as database:
        yield database


def test_no_batch_is_larger_than_asked_for(
    command: Command, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    assert command("apply", plan, "--batch-size", "30", on=db).code == 0
    assert max(batches(db)) == 30
    assert sum(batches(db)) == BROKEN
    assert differing(db, expected) == []


def test_a_batch_longer_than_half_a_second_makes_smaller_ones_down_to_ten(
    command: Command, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    with held(db, WRITE, seconds=0.9):
        assert command("apply", plan, "--batch-size", "40", on=db).code == 0
    first, second, *rest = batches(db)
    assert first == 40  # begun before anything was known of the server
    assert 15 <= second <= 22  # as many as the first batch wrote in half a second
    assert 10 <= rest[0] <= 12
    assert set(rest[1:-1]) == {10}
    assert differing(db, expected) == []


def test_the_wait_for_a_majority_makes_no_batch_smaller(
    command: Command, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    with held(db, COMMIT, seconds=1.5):
        assert command("apply", plan, "--batch-size", "40", on=db).code == 0
    assert batches(db) == [40, 40, 20]
    assert differing(db, expected) == []


def paused(command: Command, db: Db, pause: Path, *words: str) -> Ended:
    """The command, once the pause file was made in the middle of its first batch."""
    with (
        ThreadPoolExecutor() as threads,
        held(db, WRITE, seconds=2) as hold,
    ):
        run = threads.submit(command, *words, on=db)
        hold.wait()
        pause.touch()
        hold.let_go()
        return run.result()


def test_the_pause_file_stops_the_run_between_two_batches(
    command: Command, db: Db, plan: str, expected: dict[Any, bytes], tmp_path: Path
) -> None:
    pause = tmp_path / "pause"
    words = (plan, "--batch-size", "40", "--pause-file", str(pause))
    assert paused(command, db, pause, "apply", *words).code == 5
    assert outcomes(db) == {"applied": 40, "none": BROKEN - 40}
    assert (last_run(db)["state"], last_run(db)["verdict"]) == ("applying", 5)
    assert command("resume", *words, on=db).code == 5
    assert outcomes(db)["applied"] == 40  # it still stands, so nothing more was written
    pause.unlink()
    assert command("resume", *words, on=db).code == 0
    assert outcomes(db) == {"applied": BROKEN}
    assert differing(db, expected) == []


def test_the_time_limit_stops_the_run_between_two_batches(
    command: Command, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    with held(db, WRITE, seconds=2.5):
        assert command("apply", plan, "--batch-size", "10", "--max-time", "4s", on=db).code == 5
    done = outcomes(db)["applied"]
    assert done in (10, 20)  # 20 where what comes before the first batch takes less than 1.5 s
    assert outcomes(db) == {"applied": done, "none": BROKEN - done}
    assert last_run(db)["progress"]["counts"] == {"applied": done}
    assert 1 <= last_run(db)["progress"]["rows_per_second"] <= 4  # the first ten in 2.5 s and more
    assert command("resume", plan, on=db).code == 0
    assert last_run(db)["progress"]["counts"] == {"applied": BROKEN}
    assert differing(db, expected) == []


@pytest.mark.needs("many_runs")
def test_the_time_limit_cuts_a_plan_off_too(command: Command, empty: Db) -> None:
    generate(empty, 300)
    expected, before = recomputed_documents(empty), hash_of(empty)
    with held(empty, READ, seconds=0.6):
        ended = command("fix", "--apply", "--max-time", "500ms", on=empty)
    assert (ended.code, "--max-time is over" in ended.err) == (5, True), ended.told
    run = last_run(empty)
    assert (run["state"], run["verdict"], hash_of(empty)) == ("planning", 5, before)
    assert command("resume", run["_id"], on=empty).code == 0
    assert differing(empty, expected) == []


@pytest.mark.needs("many_runs")
def test_a_plan_that_was_cut_off_is_made_by_resume_and_not_applied(
    command: Command, empty: Db
) -> None:
    broken = generate(empty, 300).broken
    expected, before = recomputed_documents(empty), stored_bytes(empty)
    with held(empty, READ, seconds=0.6):
        assert command("fix", "--plan", "--max-time", "500ms", on=empty).code == 5
    run = last_run(empty)["_id"]
    ended = command("resume", run, on=empty)
    assert f"Apply this plan with: ./spark-submit.sh apply {run}" in ended.out
    assert (ended.code, last_run(empty)["state"], last_run(empty)["planned"]) == (
        3,
        "planned",
        broken,
    )
    assert stored_bytes(empty) == before
    assert command("apply", run, on=empty).code == 0
    assert differing(empty, expected) == []


@pytest.mark.needs("spark_process")
def test_the_time_limit_holds_while_a_cluster_gives_nothing(empty: Db, mongo_uri: str) -> None:
    generate(empty, 40)
    before = data_of(empty)
    words = ("fix", "--apply", "--max-time", "5s", "--database", empty.name)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes whoever comes, and no more
        master = f"spark://127.0.0.1:{silent.getsockname()[1]}"
        nobody = ("--master", master, "--conf", "spark.driver.host=127.0.0.1")
        ended = spark_submit(*nobody, *words, uri=mongo_uri)
    assert (ended.code, "Spark has not started: no session was read or written" in ended.err) == (
        5,
        True,
    ), ended.told
    assert data_of(empty) == before


def test_a_poisonous_row_fails_alone(
    command: Command, db: Db, plan: str, expected: dict[Any, bytes]
) -> None:
    poisonous = db[JOURNAL].find_one(sort=[("_id", 1)], skip=41)
    assert poisonous is not None
    key = poisonous["plan"]["session"]["v"]
    before = db["sessions"].find_one({"_id": key})
    # The server itself rejects any document of this _id that counts something.
    rule = {"$or": [{"_id": {"$ne": key}}, {"event_count": 0}]}
    db.command("collMod", "sessions", validator=rule, validationLevel="strict")
    code, report = reported(command, "apply", plan, "--batch-size", "64", on=db)
    assert code == 5
    assert outcomes(db) == {"applied": BROKEN - 1, "failed": 1}
    assert (report["outcomes"]["applied"], report["outcomes"]["failed"]) == (BROKEN - 1, 1)
    failed = db[JOURNAL].find_one({"outcome": "failed"})
    assert failed is not None
    assert failed["_id"] == poisonous["_id"]
    assert "Document failed validation" in failed["error"]
    assert db["sessions"].find_one({"_id": key}) == before
    assert differing(db, expected) == [key]
    db.command("collMod", "sessions", validator={}, validationLevel="strict")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_at_once_and_nothing_of_its_batch_is_written(
    command: Command,
    db: Db,
    mongo_uri: str,
    plan: str,
    expected: dict[Any, bytes],
    hold: Hold,
    number: signal.Signals,
) -> None:
    before = stored_bytes(db)
    hold.at(db, replace(WRITE, skip=1))
    with started(mongo_uri, db.name, "apply", plan, "--batch-size", "40") as process:
        hold.wait()  # until the end: what the batch has sent is never carried out
        written = differing(db, before)
        process.signal(number)
        assert process.wait() == 130, process.text()
        told = process.text()
    hold.kill()
    assert f"./spark-submit.sh resume {plan}" in told
    assert outcomes(db) == {"applied": 40, "none": BROKEN - 40}
    assert last_run(db)["progress"]["counts"] == {"applied": 40}
    assert (last_run(db)["state"], last_run(db)["verdict"]) == ("applying", 130)
    assert differing(db, before) == written
    assert len(written) == 40
    # Nobody has to wait for what it had locked.
    assert db[SESSIONS].update_many({}, {"$set": {"note": 1}}).modified_count == MADE
    assert db[SESSIONS].update_many({}, {"$unset": {"note": 1}}).modified_count == MADE
    assert command("resume", plan, on=db).code == 0  # the lease was given back
    assert outcomes(db) == {"applied": BROKEN}
    assert differing(db, expected) == []


def test_a_batch_that_is_being_committed_at_a_signal_is_whole(
    command: Command, db: Db, mongo_uri: str, plan: str, expected: dict[Any, bytes]
) -> None:
    before = stored_bytes(db)
    with (
        held(db, replace(COMMIT, skip=1), seconds=3) as hold,
        started(mongo_uri, db.name, "apply", plan, "--batch-size", "40") as process,
    ):
        hold.wait()
        process.signal(signal.SIGTERM)
        assert process.wait() == 130, process.text()
    # The server has the commit, and the end of its session after it: either may come first.
    written = len(differing(db, before))
    assert written in (40, 80)
    assert outcomes(db) == {"applied": written, "none": BROKEN - written}
    assert last_run(db)["progress"]["counts"] == {"applied": written}
    assert (last_run(db)["state"], last_run(db)["verdict"]) == ("applying", 130)
    assert command("resume", plan, on=db).code == 0
    assert differing(db, expected) == []


# An undo keeps to the same bounds


@pytest.fixture
def applied(command: Command, db: Db, plan: str) -> str:
    assert command("apply", plan, on=db).code == 0
    return plan


def undone(db: Db) -> tuple[str, int]:
    """The state of the run, and how many of its sessions are restored."""
    return last_run(db)["state"], last_run(db)["undo"]["counts"]["restored"]


def test_the_pause_file_stops_an_undo_between_two_batches(
    command: Command, db: Db, applied: str, tmp_path: Path
) -> None:
    pause, after = tmp_path / "pause", stored_bytes(db)
    words = (applied, "--apply", "--batch-size", "40", "--pause-file", str(pause))
    ended = paused(command, db, pause, "undo", *words)
    assert (ended.code, undone(db), last_run(db)["verdict"]) == (5, ("undoing", 40), 5)
    assert f"./spark-submit.sh undo {applied} --apply" in ended.err
    assert len(differing(db, after)) == 40
    assert command("undo", *words, on=db).code == 5
    assert len(differing(db, after)) == 40  # it still stands, so nothing more was written
    pause.unlink()
    assert command("undo", *words, on=db).code == 0
    assert undone(db) == ("undone", BROKEN)
    assert len(differing(db, after)) == BROKEN


def test_a_signal_ends_an_undo_at_once_and_nothing_of_its_batch_is_put_back(
    command: Command, db: Db, mongo_uri: str, applied: str, hold: Hold
) -> None:
    after = stored_bytes(db)
    hold.at(db, replace(WRITE, skip=1))
    words = ("undo", applied, "--apply", "--batch-size", "40")
    with started(mongo_uri, db.name, *words) as process:
        hold.wait()
        process.signal(signal.SIGTERM)
        assert process.wait() == 130, process.text()
    hold.kill()
    assert (undone(db), last_run(db)["verdict"]) == (("undoing", 40), 130)
    assert len(differing(db, after)) == 40
    assert command("undo", applied, "--apply", on=db).code == 0  # the lease was given back
    assert undone(db) == ("undone", BROKEN)
    assert len(differing(db, after)) == BROKEN


# Replication


@pytest.fixture
def three(replica_set: None) -> Iterator[ReplicaSet]:
    """Of each test its own: one of them is configured anew."""
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
    three: ReplicaSet, command: Command
) -> None:
    with MongoClient[Document](three.uri, tz_aware=True) as client, ExitStack() as rest:
        db = client["shop"]
        command = partial(command, uri=three.uri)
        broken = generate(db, 100).broken
        expected = recomputed_documents(db)
        assert command("fix", "--plan", on=db).code == 3
        slow, slower = three.secondaries()
        threads = rest.enter_context(ThreadPoolExecutor())
        second = rest.enter_context(ExitStack())
        with not_applying(slower):
            write_for(db, 6)
            run = threads.submit(command, "apply", last_run(db)["_id"], "--max-lag", "5s", on=db)
            stays_at(db, {"none": broken}, 3)
            second.enter_context(not_applying(slow))
            write_for(db, 3.5)
        # Now the first has caught up, and the second lags by less than 5 s but more than half.
        stays_at(db, {"none": broken}, 3)
        assert not run.done()
        progress = last_run(db)["progress"]
        assert re.fullmatch(r"waiting: a replica lags \d+s, --max-lag is 5s", progress["waiting"])
        asked = spark_submit("health", "--database", db.name, uri=three.uri)
        at_work = json.loads(asked.out)["at_work"]
        assert at_work == {
            "id": last_run(db)["_id"],
            "verb": "fix",
            "state": "planned",
            "planned": broken,
            "done": 0,
            "rows_per_second": None,
            "waiting": progress["waiting"],
            "reading": None,
        }
        watch = rest.enter_context(started(three.uri, db.name, "runs", "--watch"))
        line = f"{at_work['id']}  fix planned  0/{broken}  {at_work['waiting']}"
        deadline = time.monotonic() + PATIENCE
        while watch.text().splitlines() != [line] and time.monotonic() < deadline:
            time.sleep(0.2)
        assert watch.text().splitlines() == [line]
        second.close()
        assert run.result().code == 0
        assert outcomes(db) == {"applied": broken}
        assert differing(db, expected) == []
        assert watch.wait() == 0  # there is no run at work any more
    assert run.result().err.count(at_work["waiting"]) == 1


def test_a_member_that_is_delayed_on_purpose_does_not_pause_the_run(
    three: ReplicaSet, command: Command
) -> None:
    with MongoClient[Document](three.uri, tz_aware=True) as client:
        db = client["shop"]
        command = partial(command, uri=three.uri)
        broken = generate(db, 100).broken
        assert command("fix", "--plan", on=db).code == 3
        config = client.admin.command("replSetGetConfig")["config"]
        delayed = three.secondaries()[0].address
        for member in config["members"]:
            if member["host"] == delayed:
                member.update(priority=0, hidden=True, secondaryDelaySecs=60)
        config["version"] += 1
        client.admin.command("replSetReconfig", config)
        write_for(db, 4)
        limits = ("--max-lag", "1s", "--max-time", "20s")
        assert command("apply", last_run(db)["_id"], *limits, on=db).code == 0
        assert outcomes(db) == {"applied": broken}
