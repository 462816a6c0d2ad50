"""kill -9 of the driver at every point of a run: resumed, it ends as one clean run."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest

from tests.harness.commands import Command, Process, started
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, differing, hash_of, stored_bytes
from tests.harness.holds import Hold, Point
from tests.harness.runs import let_the_lease_expire, outcomes, the_run
from tests.oracle import recomputed_documents

BROKEN = 83
SMALL, BATCHES = ("--batch-size", "10"), 9
SMALL_STEPS = ("--batch-size", "2", "--break-lease")
SMALL_WRITES = ("--conf", "spark.mongodb.write.maxBatchSize=10")  # ten commands for the journal

# The commands of a run on the journal, in their order: the plan is read back by one find; a batch
# is three aggregates: look, merge, outcomes. At the end one find reads the journal again.
BEFORE_JOURNAL = Point("createIndexes", JOURNAL)
INSIDE_JOURNAL = Point("insert", JOURNAL, skip=5)
BEFORE_SEAL = Point("find", JOURNAL)
BEFORE_REPORT = Point("aggregate", SESSIONS)  # the first that asks what was left
# On the collection of runs: taking over, fencing off and the begin of the first batch; with each
# batch a renewal before the merge, one after it, and its end.
BEFORE_END = Point("update", RUNS, skip=3 + 3 * BATCHES)
APPLIED_POINTS = {
    "between plan and apply": Point("aggregate", JOURNAL),
    "before the merge": Point("aggregate", JOURNAL, skip=1),
    "after the merge": Point("aggregate", JOURNAL, skip=2),
    "after the outcome": Point("aggregate", JOURNAL, skip=3),
    "before the merge of a later batch": Point("aggregate", JOURNAL, skip=7),
    "after the merge of a later batch": Point("aggregate", JOURNAL, skip=8),
}
PLANNING_POINTS = {
    "before the journal": BEFORE_JOURNAL,
    "half-way through the journal": INSIDE_JOURNAL,
    "before the plan is sealed": BEFORE_SEAL,
}


def assert_as_one_clean_run(db: Db, expected: dict[Any, bytes]) -> None:
    """The sessions are those of a clean run, and the only run counts each of them once."""
    assert differing(db, expected) == []
    run = the_run(db)
    assert (run["state"], run["verdict"], run["error"]) == ("done", 0, None)
    assert run["planned"] == BROKEN
    assert run["progress"]["counts"] == {"applied": BROKEN}
    assert run["report"]["outcomes"]["applied"] == BROKEN
    assert outcomes(db, run["_id"]) == {"applied": BROKEN}


def kill_when_held(hold: Hold, process: Process) -> None:
    hold.wait()
    process.kill()
    hold.kill()


def kill_at(point: Point, hold: Hold, uri: str, db: Db) -> None:
    """``apply`` of the planned run, in a process that is killed at the point."""
    hold.at(db, point)
    with started(uri, db.name, "apply", the_run(db)["_id"], *SMALL) as process:
        kill_when_held(hold, process)


@pytest.mark.parametrize("point", APPLIED_POINTS.values(), ids=APPLIED_POINTS)
def test_a_run_killed_while_it_applies_ends_as_one_clean_run(
    planned: Db, mongo_uri: str, hold: Hold, command: Command, point: Point
) -> None:
    before, expected = stored_bytes(planned), recomputed_documents(planned)
    kill_at(point, hold, mongo_uri, planned)
    run = the_run(planned)
    assert run["state"] in ("planned", "applying")
    let_the_lease_expire(planned)
    ended = command("resume", run["_id"], "--batch-size", "7", on=planned)
    assert ended.code == 0, ended.told
    assert_as_one_clean_run(planned, expected)
    # What was kept is from before it all.
    ended = command("undo", run["_id"], "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []


@pytest.mark.parametrize("point", [BEFORE_REPORT, BEFORE_END], ids=["report", "end"])
def test_a_run_killed_before_its_end_is_written_ends_as_one_clean_run(
    planned: Db, mongo_uri: str, hold: Hold, command: Command, point: Point
) -> None:
    expected = recomputed_documents(planned)
    kill_at(point, hold, mongo_uri, planned)
    assert differing(planned, expected) == []
    run = the_run(planned)
    assert run["progress"]["counts"] == {"applied": BROKEN}
    assert (run["state"], "ended_at" in run) == ("applying", False)
    ended = command("resume", run["_id"], "--break-lease", on=planned)
    assert ended.code == 0, ended.told
    assert_as_one_clean_run(planned, expected)


def test_a_dead_run_keeps_its_lease_and_is_named(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    kill_at(APPLIED_POINTS["before the merge"], hold, mongo_uri, planned)
    run, before = the_run(planned), hash_of(planned)
    ended = command("resume", run["_id"], on=planned)
    assert ended.code == 6
    assert f"run {run['_id']} holds the lease until " in ended.told
    assert "--break-lease takes it over" in ended.told
    assert hash_of(planned) == before
    assert the_run(planned) == run


def test_a_new_fix_takes_over_what_a_killed_run_left(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    kill_at(APPLIED_POINTS["after the merge of a later batch"], hold, mongo_uri, planned)
    left = len(differing(planned, expected))
    assert left == BROKEN - 30  # three batches were merged, two of them recorded
    let_the_lease_expire(planned)
    ended = command("fix", "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert f"Fixed {left} sessions" in ended.told
    assert differing(planned, expected) == []
    ended = command("resume", run, on=planned)  # the old run finds the rest of its plan done
    assert ended.code == 5, ended.told
    old = planned[RUNS].find_one({"_id": run})
    assert old is not None
    assert old["progress"]["counts"] == {"applied": 30, "skipped_changed": left}
    assert outcomes(planned, run) == {"applied": 30, "skipped_changed": left}
    assert differing(planned, expected) == []


def test_a_run_killed_half_way_through_its_journal_is_never_applied_but_resumed(
    shop: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, before = recomputed_documents(shop), hash_of(shop)
    kill_a_fix_at(INSIDE_JOURNAL, hold, mongo_uri, shop)
    run = the_run(shop)["_id"]
    assert 0 < shop[JOURNAL].count_documents({}) < BROKEN
    ended = command("apply", run, "--break-lease", on=shop)
    assert (ended.code, f"run {run} is planning, not planned" in ended.told) == (2, True)
    assert hash_of(shop) == before
    ended = command("resume", run, *SMALL, "--break-lease", on=shop)
    assert ended.code == 0, ended.told
    assert_as_one_clean_run(shop, expected)


def kill_a_fix_at(point: Point, hold: Hold, uri: str, db: Db) -> None:
    """``fix --apply``, whose JVM and Python are killed at the point."""
    hold.at(db, point)
    with started(uri, db.name, "fix", "--apply", *SMALL, spark_options=SMALL_WRITES) as process:
        kill_when_held(hold, process)


@pytest.mark.faults
@pytest.mark.parametrize("then", ["resume", "fix"])
@pytest.mark.parametrize(
    "point",
    [*PLANNING_POINTS.values(), *APPLIED_POINTS.values()],
    ids=[*PLANNING_POINTS, *APPLIED_POINTS],
)
def test_a_fix_killed_at_any_point_ends_as_one_clean_run(
    shop: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    then: str,
) -> None:
    expected = recomputed_documents(shop)
    kill_a_fix_at(point, hold, mongo_uri, shop)
    words = [the_run(shop)["_id"]] if then == "resume" else ["--apply"]
    ended = command(then, *words, *SMALL, "--break-lease", on=shop)
    assert ended.code == 0, ended.told
    assert differing(shop, expected) == []
    if then == "resume":
        assert_as_one_clean_run(shop, expected)


@pytest.mark.faults
@pytest.mark.parametrize("repetition", range(20))
def test_a_run_killed_at_random_times_ends_as_one_clean_run(
    planned: Db, mongo_uri: str, command: Command, repetition: int
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    pause = Random(repetition)
    with started(mongo_uri, planned.name, "apply", run, *SMALL_STEPS) as process:
        while "Run " not in process.text() and process.popen.poll() is None:
            time.sleep(0.01)
        time.sleep(pause.uniform(0, 1))
        process.kill()
    with started(mongo_uri, planned.name, "resume", run, *SMALL_STEPS) as process:
        while "Run " not in process.text() and process.popen.poll() is None:
            time.sleep(0.01)
        time.sleep(pause.uniform(0, 1))
        process.kill()  # and again while it resumes
    ended = command("resume", run, *SMALL, "--break-lease", on=planned)
    assert ended.code == 0 or f"run {run} is done" in ended.told, ended.told
    assert_as_one_clean_run(planned, expected)
