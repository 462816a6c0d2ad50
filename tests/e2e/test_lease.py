"""One repair at a time: a lease that is held, lost, broken, and fenced in the server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.harness.commands import PATIENCE, Command, started
from tests.harness.documents import (
    JOURNAL,
    RUNS,
    SESSIONS,
    Db,
    Document,
    differing,
    fingerprint,
    hash_of,
    stored_bytes,
)
from tests.harness.guide import BROKEN
from tests.harness.holds import (
    Hold,
    before_commit,
    before_lease,
    before_move,
    endless_transactions,
)
from tests.harness.runs import (
    LONG_AGO,
    lease_of,
    let_the_lease_expire,
    outcomes,
    planned_keys,
    run_documents,
    the_run,
    writes_to,
)
from tests.harness.stops import (
    BEFORE_SECOND_COMMIT,
    BETWEEN_BATCHES,
    SMALL,
    kill_at,
    pause_at,
    wake,
)
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("many_runs")


def open_sessions(db: Db) -> list[Any]:
    """The ids of the sessions that have a transaction open on the server."""
    of_all = {"$currentOp": {"allUsers": True, "idleSessions": True}}
    is_open: Document = {"$match": {"transaction.parameters.autocommit": False}}
    return [it["lsid"]["id"] for it in db.client.admin.aggregate([of_all, is_open])]


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
    ended = command(verb, run, *(["--apply"] if verb == "undo" else []), on=planned)
    assert ended.code == 6
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
    hold.at(planned, before_commit(2), seconds=3)
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


def test_the_lease_names_the_session_of_its_holder_and_forgets_it_at_the_end(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    run = the_run(planned)["_id"]
    hold.at(planned, before_commit(2), seconds=3)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()
        lease = lease_of(planned)
        assert open_sessions(planned) == [lease["session"]]
        hold.let_go()
        assert process.wait() == 0, process.text()
    assert lease_of(planned).keys() == lease.keys() - {"session"}
    assert lease_of(planned)["expires_at"] <= datetime.now(timezone.utc)
    assert command("undo", run, "--apply", on=planned).code == 0


# The holder that died


def written_beside(db: Db, key: Any) -> None:
    """A write of the live application to a field that no run looks at."""
    db[SESSIONS].update_one({"_id": key}, {"$set": {"note": "live"}})


@pytest.mark.parametrize("verb", ["resume", "undo", "fix"])
def test_whoever_takes_the_lease_over_ends_what_its_dead_holder_left_open(
    planned: Db, mongo_uri: str, hold: Hold, command: Command, verb: str
) -> None:
    before, expected = stored_bytes(planned), recomputed_documents(planned)
    run, key = the_run(planned)["_id"], planned_keys(planned)[12]
    words = {"resume": (run,), "undo": (run, "--apply"), "fix": ("--apply",)}[verb]
    with ThreadPoolExecutor() as threads, endless_transactions(planned):
        kill_at(before_move(2), hold, mongo_uri, planned, is_carried_out=True)
        assert open_sessions(planned) == [lease_of(planned)["session"]]
        written = threads.submit(written_beside, planned, key)
        with pytest.raises(NotYet):
            written.result(timeout=2)  # the dead one has the session
        taken = threads.submit(command, verb, *words, "--break-lease", on=planned)
        ended = taken.result(timeout=PATIENCE)
        written.result(timeout=PATIENCE)
        assert open_sessions(planned) == []
    assert ended.code == 0, ended.told
    assert planned[SESSIONS].update_one({"note": "live"}, {"$unset": {"note": 1}}).modified_count
    assert differing(planned, before if verb == "undo" else expected) == []
    counts = [it["progress"]["counts"] for it in run_documents(planned)]
    own = {"applied": BROKEN} if verb == "resume" else {"applied": 10}
    assert counts == [own, *([{"applied": BROKEN - 10}] if verb == "fix" else [])]


# The holder that was paused


def test_a_holder_paused_beyond_its_lease_writes_no_further_batch(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        pause_at(BETWEEN_BATCHES, hold, planned, process)
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
        pause_at(BETWEEN_BATCHES, hold, planned, process)
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


def test_a_batch_that_arrives_after_the_lease_expired_changes_nothing(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    hold.at(planned, before_lease(2), seconds=3)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()  # the batch has been sent for, the server has not begun with it
        planned[RUNS].update_one({"_id": "lease"}, {"$set": {"expires_at": LONG_AGO}})
        before = hash_of(planned)
        hold.let_go()
        assert process.wait() == 6, process.text()
    assert hash_of(planned) == before
    assert len(differing(planned, expected)) == BROKEN - 10
    assert outcomes(planned, run) == {"applied": 10, "none": BROKEN - 10}


def test_a_batch_that_arrives_after_the_lease_was_broken_changes_nothing(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    run = the_run(planned)["_id"]
    hold.at(planned, before_lease(2), seconds=3)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()
        occupy(planned)
        before = hash_of(planned)
        hold.let_go()
        assert process.wait() == 6, process.text()
    assert hash_of(planned) == before
    assert lease_of(planned)["holder"] == "r-other"
    assert lease_of(planned)["token"] == 100


@pytest.mark.parametrize("verb", ["resume", "fix"])
def test_a_holder_paused_before_its_commit_cannot_commit_what_was_taken_over(
    planned: Db, mongo_uri: str, hold: Hold, command: Command, verb: str
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    words = {"resume": (run,), "fix": ("--apply",)}[verb]
    written = writes_to(planned)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        pause_at(BEFORE_SECOND_COMMIT, hold, planned, process)
        assert open_sessions(planned) == [lease_of(planned)["session"]]
        ended = command(verb, *words, "--break-lease", on=planned)
        assert ended.code == 0, ended.told
        documents, journal = run_documents(planned), hash_of(planned, JOURNAL)
        code, told = wake(process)
    assert code == 6
    assert f"run {run} lost the lease" in told
    assert differing(planned, expected) == []
    assert writes_to(planned) - written == BROKEN
    assert (run_documents(planned), hash_of(planned, JOURNAL)) == (documents, journal)


def test_a_commit_that_is_under_way_when_the_lease_is_taken_over_changes_nothing(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    written = writes_to(planned)
    hold.at(planned, before_commit(2), seconds=20)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()
        with hold.letting_go():
            ended = command("resume", run, "--break-lease", on=planned)
        assert ended.code == 0, ended.told
        document = the_run(planned)
        assert process.wait() == 6, process.text()
    assert differing(planned, expected) == []
    assert writes_to(planned) - written == BROKEN
    assert the_run(planned) == document
    assert document["progress"]["counts"] == {"applied": BROKEN}
