"""Undo: whole documents as they were, byte for byte, where the run's result still stands."""

from __future__ import annotations

import re
from typing import Any

import bson
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
    let_the_lease_expire,
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
    return document["state"], document["undo"]["counts"]


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
    counted, retyped, shuffled, gone = keys
    sessions.update_one({"_id": counted}, {"$inc": {"event_count": 1}})
    as_long = [{"$set": {"event_count": {"$toLong": "$event_count"}}}]
    sessions.update_one({"_id": retyped}, as_long)
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


def test_undo_touches_no_field_that_the_run_did_not_write(planned: Db, job: Job) -> None:
    run, key = the_run(planned)["_id"], planned_keys(planned)[0]
    before = raw_documents(planned)[key]
    job(planned, "apply", run)
    planned[SESSIONS].update_one({"_id": key}, {"$set": {"note": "new"}})
    code, told = job(planned, "undo", run, "--apply")
    assert code == 0, told
    noted = before[:-1] + bson.encode({"note": "new"})[4:]  # at the end of the document
    assert raw_documents(planned)[key][4:] == noted[4:]
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})


def test_a_second_undo_is_refused_whatever_came_after(planned: Db, job: Job) -> None:
    run, key = the_run(planned)["_id"], planned_keys(planned)[0]
    job(planned, "apply", run)
    healed = planned[SESSIONS].find_one({"_id": key}, {"_id": 0, "pages": 1, "event_count": 1})
    job(planned, "undo", run, "--apply")
    assert healed is not None
    planned[SESSIONS].update_one({"_id": key}, {"$set": healed})  # as the run had written it
    after, document = hash_of(planned), the_run(planned)
    code, told = job(planned, "undo", run, "--apply")
    assert (code, f"run {run} was undone before" in told) == (2, True)
    assert hash_of(planned) == after
    assert the_run(planned) == document


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


@pytest.mark.parametrize("skip", [7, 8, 9])
def test_an_interrupted_run_is_undone_with_the_batch_that_has_no_outcome_yet(
    planned: Db, mongo_uri: str, hold: Hold, job: Job, skip: int
) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    hold.at(planned, Point("aggregate", JOURNAL, skip))  # before, after merge, outcome of batch 3
    with started(mongo_uri, planned.name, "apply", run, "--batch-size", "10") as process:
        hold.wait()
        process.kill()
        hold.release()
    merged = 20 if skip == 7 else 30
    assert len(differing(planned, before)) == merged
    code, told = job(planned, "undo", run)
    assert re.search(rf"restorable\D*{merged}|{merged}\D*restorable", told), told
    let_the_lease_expire(planned)
    code, told = job(planned, "undo", run, "--apply")
    assert code == 0, told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": merged})


@pytest.mark.parametrize("skip", [9, 10, 11, 12])  # before look, merge, states, ...
def test_an_undo_that_was_killed_is_finished_by_the_next(
    planned: Db, mongo_uri: str, hold: Hold, job: Job, skip: int
) -> None:
    before, run = raw_documents(planned), the_run(planned)["_id"]
    job(planned, "apply", run)
    words = (run, "--apply", "--batch-size", "10")
    hold.at(planned, Point("aggregate", JOURNAL, skip))
    with started(mongo_uri, planned.name, "undo", *words) as process:
        hold.wait()
        process.kill()
        hold.release()
    assert 0 < len(differing(planned, before)) < BROKEN
    let_the_lease_expire(planned)
    code, told = job(planned, "undo", *words)
    assert code == 0, told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})
