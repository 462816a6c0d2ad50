"""Undo: whole documents as they were, byte for byte, where the run's result still stands."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bson import Int64
from pymongo.database import Database
from pyspark.sql import SparkSession

from tests.faults.runs import (
    JOURNAL,
    RUNS,
    SESSIONS,
    Hold,
    Job,
    Point,
    differing,
    hash_of,
    raw_documents,
    recomputed_documents,
    started,
    the_run,
)

Db = Database[dict[str, Any]]

BROKEN, ORPHANS = 83, 2


def state_of(db: Db, run: str) -> tuple[str, dict[str, int]]:
    document = db[RUNS].find_one({"_id": run})
    assert document is not None
    return document["state"], document["undo"]


def planned_keys(db: Db) -> list[Any]:
    """The _ids of the sessions in the plan."""
    rows = db[JOURNAL].find({}, {"plan.session": 1}).sort("_id", 1)
    return [row["plan"]["session"]["v"] for row in rows]


def test_an_undone_run_leaves_every_byte_as_it_was(planned: Db, job: Job) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    assert job(planned, "apply", run)[0] == 0
    assert len(differing(planned, before)) == BROKEN
    code, told = job(planned, "undo", run, "--apply", "--batch-size", "10")
    assert code == 0, told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})


def test_a_dry_undo_says_what_it_would_restore_and_writes_nothing(planned: Db, job: Job) -> None:
    run = the_run(planned)["_id"]
    job(planned, "apply", run)
    before, runs, journal = hash_of(planned), hash_of(planned, RUNS), hash_of(planned, JOURNAL)
    code, told = job(planned, "undo", run)
    assert code == 0
    assert re.search(rf"restorable\D*{BROKEN}|{BROKEN}\D*restorable", told), told
    assert hash_of(planned) == before
    assert hash_of(planned, RUNS) == runs
    assert hash_of(planned, JOURNAL) == journal


def test_undo_leaves_alone_and_lists_what_changed_since(planned: Db, job: Job) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    job(planned, "apply", run)
    sessions = planned[SESSIONS]
    keys = planned_keys(planned)[:4]
    counted, extra, shuffled, gone = keys
    sessions.update_one({"_id": counted}, {"$inc": {"event_count": 1}})
    sessions.update_one({"_id": extra}, {"$set": {"note": "new"}})
    sessions.update_one({"_id": shuffled}, {"$push": {"pages": "/late"}})
    sessions.delete_one({"_id": gone})
    left = {key: raw_documents(planned).get(key) for key in keys}
    code, told = job(planned, "undo", run, "--apply")
    assert code == 5
    assert state_of(planned, run)[1] == {
        "restored": BROKEN - 4,
        "changed since": 3,
        "gone since": 1,
    }
    for key in keys:
        assert str(key) in told
        assert raw_documents(planned).get(key) == left[key]
    assert set(differing(planned, before)) == set(keys)


def test_undo_twice_is_harmless_even_over_what_came_after(planned: Db, job: Job) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    job(planned, "apply", run)
    job(planned, "undo", run, "--apply")
    key = planned_keys(planned)[0]
    planned[SESSIONS].update_one({"_id": key}, {"$set": {"note": "new"}})
    after = hash_of(planned)
    code, _ = job(planned, "undo", run, "--apply")
    assert code == 0
    assert hash_of(planned) == after
    assert differing(planned, before) == [key]
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})


def test_an_undone_run_is_not_resumed_but_its_sessions_are_fixed_again(
    planned: Db, spark: SparkSession, job: Job
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    job(planned, "apply", run)
    job(planned, "undo", run, "--apply")
    code, told = job(planned, "resume", run)
    assert (code, f"run {run} is undone" in told) == (2, True)
    code, told = job(planned, "fix", "--apply")
    assert code == 0, told
    assert f"✅ Fixed {BROKEN} sessions" in told
    assert differing(planned, expected) == []


def test_deleted_sessions_come_back_byte_for_byte(
    planned: Db, spark: SparkSession, job: Job
) -> None:
    planned[RUNS].delete_many({})
    before = raw_documents(planned)
    code, told = job(planned, "delete-orphans", "--apply")
    assert code == 0, told
    run = the_run(planned)["_id"]
    assert len(differing(planned, before)) == ORPHANS
    code, told = job(planned, "undo", run, "--apply")
    assert code == 0, told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": ORPHANS})
    code, told = job(planned, "undo", run, "--apply")
    assert code == 0, told
    assert differing(planned, before) == []


def test_a_session_made_anew_after_its_deletion_is_left_alone(
    planned: Db, spark: SparkSession, job: Job
) -> None:
    planned[RUNS].delete_many({})
    job(planned, "delete-orphans", "--apply")
    run = the_run(planned)["_id"]
    row = planned[JOURNAL].find_one({"run_id": run}, {"before._id": 1, "before.session_id": 1})
    assert row is not None
    anew = {**row["before"], "event_count": Int64(7)}
    planned[SESSIONS].insert_one(anew)
    code, told = job(planned, "undo", run, "--apply")
    assert code == 5
    assert anew["session_id"] in told
    assert state_of(planned, run)[1] == {"restored": ORPHANS - 1, "changed since": 1}
    found = planned[SESSIONS].find_one({"_id": anew["_id"]}, {"event_count": 1})
    assert found == {"_id": anew["_id"], "event_count": 7}


@pytest.mark.parametrize("skip", [11, 12, 13])
def test_an_interrupted_run_is_undone_with_the_batch_that_has_no_outcome_yet(
    planned: Db, mongo_uri: str, hold: Hold, job: Job, skip: int
) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    hold.at(planned, Point("aggregate", JOURNAL, skip))  # after capture, merge, outcome of batch 3
    with started(mongo_uri, planned.name, "apply", run, "--batch-size", "10") as process:
        hold.wait()
        process.kill()
        hold.release()
    merged = 20 if skip == 11 else 30
    assert len(differing(planned, before)) == merged
    code, told = job(planned, "undo", run)
    assert re.search(rf"restorable\D*{merged}|{merged}\D*restorable", told), told
    code, told = job(planned, "undo", run, "--apply", "--break-lease")
    assert code == 0, told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": merged})


def test_an_undo_that_was_killed_is_finished_by_the_next(
    planned: Db, mongo_uri: str, hold: Hold, job: Job
) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    job(planned, "apply", run)
    words = (run, "--apply", "--batch-size", "10", "--break-lease")
    hold.at(planned, Point("find", JOURNAL, skip=3))  # the rows of the fourth batch
    with started(mongo_uri, planned.name, "undo", *words) as process:
        hold.wait()
        process.kill()
        hold.release()
    assert 0 < len(differing(planned, before)) < BROKEN
    code, told = job(planned, "undo", *words)
    assert code == 0, told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})
