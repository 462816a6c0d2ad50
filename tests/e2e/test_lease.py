"""One repair at a time: a lease that is held, lost, broken, and fenced in the server."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.harness.commands import Command, started
from tests.harness.documents import JOURNAL, RUNS, Db, differing, fingerprint, hash_of
from tests.harness.guide import BROKEN
from tests.harness.holds import Hold, Point
from tests.harness.runs import let_the_lease_expire, outcomes, the_run
from tests.harness.stops import BEFORE_SECOND_LOOK, SMALL, pause_at, wake
from tests.oracle import recomputed_documents

BEFORE_SECOND_MERGE = Point("aggregate", JOURNAL, skip=4)


def lease_of(db: Db) -> dict[str, Any]:
    lease = db[RUNS].find_one({"_id": "lease"})
    assert lease is not None
    return lease


def occupy(db: Db, holder: str = "r-other") -> None:
    """The lease in the hands of another run."""
    expires = datetime.now(timezone.utc) + timedelta(hours=1)
    held = {"holder": holder, "token": 100, "expires_at": expires}
    db[RUNS].update_one({"_id": "lease"}, {"$set": held})


# The second run


@pytest.mark.parametrize("verb", ["apply", "resume", "undo"])
def test_while_another_run_holds_the_lease_a_verb_ends_at_once_and_changes_nothing(
    planned: Db, command: Command, verb: str
) -> None:
    run = the_run(planned)["_id"]
    if verb == "undo":
        command("apply", run, on=planned)
    occupy(planned)
    before, runs, journal = hash_of(planned), hash_of(planned, RUNS), hash_of(planned, JOURNAL)
    began = time.monotonic()
    ended = command(verb, run, *(["--apply"] if verb == "undo" else []), on=planned)
    assert ended.code == 6
    assert time.monotonic() - began < 5
    assert ended.told.startswith(f"{verb}: run r-other holds the lease until ")
    assert hash_of(planned) == before
    assert hash_of(planned, JOURNAL) == journal
    assert hash_of(planned, RUNS) == runs


@pytest.mark.parametrize("verb", ["fix", "delete-orphans"])
def test_a_second_new_run_ends_at_once_and_leaves_no_document(
    planned: Db, command: Command, verb: str
) -> None:
    occupy(planned)
    before = fingerprint(planned)
    ended = command(verb, "--apply", on=planned)
    assert ended.code == 6
    assert ended.told.startswith(f"{verb}: run r-other holds the lease until ")
    assert fingerprint(planned) == before


def test_a_live_run_is_named_and_ends_as_if_nothing_had_been(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    hold.at(planned, BEFORE_SECOND_MERGE, seconds=3)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()
        document = the_run(planned)
        ended = command("resume", run, on=planned)
        assert (ended.code, f"run {run} holds the lease until" in ended.told) == (6, True)
        assert the_run(planned) == document
        hold.let_go()
        assert process.wait() == 0, process.text()
    assert differing(planned, expected) == []
    done = the_run(planned)
    assert (done["state"], done["verdict"], done["error"]) == ("done", 0, None)
    assert done["progress"]["counts"] == {"applied": BROKEN}


def test_the_lease_is_given_back_at_the_end_and_after_a_refusal(
    planned: Db, command: Command
) -> None:
    run = the_run(planned)["_id"]
    row = planned[JOURNAL].find_one({}, {"_id": 1})
    assert row is not None
    planned[JOURNAL].update_one(row, {"$set": {"plan.new.event_count": 99}})
    assert command("apply", run, on=planned).code == 2
    assert lease_of(planned)["expires_at"] <= datetime.now(timezone.utc)
    token = lease_of(planned)["token"]
    assert command("apply", run, on=planned).code == 2
    assert lease_of(planned)["token"] == token + 1


def test_break_lease_takes_it_from_its_holder(planned: Db, command: Command) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    occupy(planned)
    ended = command("apply", run, "--break-lease", on=planned)
    assert ended.code == 0, ended.told
    assert (lease_of(planned)["holder"], lease_of(planned)["token"]) == (run, 101)
    assert differing(planned, expected) == []


def test_a_run_that_took_the_lease_from_a_dead_one_leaves_only_its_quiet_time(
    planned: Db, command: Command
) -> None:
    run = the_run(planned)["_id"]
    occupy(planned)
    assert command("apply", run, "--break-lease", on=planned).code == 0
    # The dead one's merge may go on for seconds: who comes next knows it, and is not refused.
    lease = lease_of(planned)
    assert lease["expires_at"] <= datetime.now(timezone.utc) < lease["quiet_at"]
    assert command("runs", run, "--verdict", on=planned).code == 0
    assert command("undo", run, "--apply", on=planned).code == 0
    assert lease_of(planned)["quiet_at"] > datetime.now(timezone.utc)


# The holder that was paused


def test_a_holder_paused_beyond_its_lease_writes_no_further_batch(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        pause_at(BEFORE_SECOND_LOOK, hold, planned, process)
        before = hash_of(planned)
        assert len(differing(planned, expected)) == BROKEN - 10
        let_the_lease_expire(planned)
        code, told = wake(process)
    assert code == 6
    assert f"run {run} lost the lease" in told
    assert hash_of(planned) == before
    assert outcomes(planned, run) == {"applied": 10, "none": BROKEN - 10}
    assert the_run(planned)["verdict"] == 6
    ended = command("resume", run, on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, expected) == []
    assert the_run(planned)["progress"]["counts"] == {"applied": BROKEN}


def test_a_paused_holder_finds_the_lease_taken_and_leaves_the_ended_run_alone(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        pause_at(BEFORE_SECOND_LOOK, hold, planned, process)
        let_the_lease_expire(planned)
        ended = command("resume", run, on=planned)
        assert ended.code == 0, ended.told
        assert command("undo", run, "--apply", on=planned).code == 0
        before, document, journal = hash_of(planned), the_run(planned), hash_of(planned, JOURNAL)
        code, _ = wake(process)
    assert code == 6
    assert hash_of(planned) == before
    assert hash_of(planned, JOURNAL) == journal
    assert the_run(planned) == document
    assert (document["state"], document["undo"]["counts"]) == ("undone", {"restored": BROKEN})
    assert len(differing(planned, expected)) == BROKEN


def test_a_merge_that_arrives_after_the_lease_expired_changes_nothing(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    hold.at(planned, BEFORE_SECOND_MERGE, seconds=3)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()  # the merge has been sent, the server has not begun with it
        let_the_lease_expire(planned)
        before = hash_of(planned)
        hold.let_go()
        assert process.wait() == 6, process.text()
    assert hash_of(planned) == before
    assert len(differing(planned, expected)) == BROKEN - 10
    assert outcomes(planned, run) == {"applied": 10, "none": BROKEN - 10}


def test_a_merge_that_arrives_after_the_lease_was_broken_changes_nothing(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    run = the_run(planned)["_id"]
    hold.at(planned, BEFORE_SECOND_MERGE, seconds=3)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()
        occupy(planned)
        before = hash_of(planned)
        hold.let_go()
        assert process.wait() == 6, process.text()
    assert hash_of(planned) == before
    assert lease_of(planned)["holder"] == "r-other"
    assert lease_of(planned)["token"] == 100
