"""A server that stands alone has no transactions: what a run does there all the same, and what not.

Each session is written by a command of its own, whose filter holds what was observed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId
from pymongo import MongoClient

from demo.server import Member
from tests.harness.commands import Command, command_at, started
from tests.harness.documents import (
    JOURNAL,
    RUNS,
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
from tests.harness.guide import BROKEN, plan_shop
from tests.harness.holds import APP, Hold, Hook, Point, before_move, failing
from tests.harness.nested import PARENTS, Nested
from tests.harness.runs import heal, let_the_lease_expire, outcomes, planned_keys, the_run
from tests.harness.stops import SMALL, kill_at
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("many_runs")

WEAKER = (
    "This server has no transactions: each session is written on its own. After a kill those of "
    "one batch may count as already_right, and undo leaves them alone."
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A mongod of no replica set."""
    options = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "enableTestCommands=true"]
    member = Member(tmp_path_factory.mktemp("alone"), "", options, outlives_parent=False)
    member.start()
    yield member
    member.kill()


@pytest.fixture(scope="module")
def uri(alone: Member) -> str:
    return f"mongodb://{alone.address}/"


@pytest.fixture(scope="module")
def client(alone: Member) -> Iterator[MongoClient[Document]]:
    with alone.client() as client:
        yield client


@pytest.fixture(scope="module")
def command_alone(uri: str, command: Command) -> Command:
    """The verbs in this process, on the server that stands alone."""
    return command_at(uri)


@pytest.fixture(scope="module")
def planning_alone(client: MongoClient[Document], command_alone: Command) -> Iterator[Snapshot]:
    """The shop and the plan of its corrections."""
    with made_once(client["planned"], partial(plan_shop, command_alone)) as made:
        yield made


@pytest.fixture
def db(planning_alone: Snapshot) -> Db:
    """The shop with a plan that is not applied, the same for each test."""
    return planning_alone.restored()


@pytest.fixture
def hold(client: MongoClient[Document]) -> Iterator[Hold]:
    brake = Hold(client)
    yield brake
    brake.kill()


def write_of(row: int) -> Point:
    """The command that writes the session of a row, where all before it are written too."""
    return Point("update", SESSIONS, skip=row)


def test_a_fix_repairs_what_it_repairs_on_a_set_and_its_log_says_what_is_weaker(
    db: Db, command_alone: Command
) -> None:
    for collection in (JOURNAL, RUNS):
        db[collection].delete_many({})
    before, expected = stored_bytes(db), recomputed_documents(db)
    ended = command_alone("fix", "--apply", "-v", *SMALL, on=db)
    assert ended.code == 0, ended.told
    assert ended.err.count(WEAKER) == 1
    assert differing(db, expected) == []
    assert outcomes(db) == the_run(db)["progress"]["counts"] == {"applied": BROKEN}
    ended = command_alone("undo", the_run(db)["_id"], "--apply", *SMALL, on=db)
    assert ended.code == 0, ended.told
    assert WEAKER in ended.err
    assert differing(db, before) == []
    assert the_run(db)["undo"]["counts"] == {"restored": BROKEN}


CHANGES: list[Document] = [
    {"$set": {"pages": ["/live"]}},
    {"$unset": {"pages": 1}},
    {"$set": {"pages": None}},
    {"$inc": {"event_count": 1}},
    {"$set": {"event_count": Int64(0)}},
    {"$set": {"event_count": 0.0}},
    {"$set": {"event_count": None}},
    {"$unset": {"event_count": 1}},
    {"$set": {"user_id": ObjectId()}},
    {"$set": {"session_id": "renamed"}},
    {"$currentDate": {"last_event_at": True}},
]


@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_a_session_changed_between_read_and_write_is_not_written(
    db: Db, uri: str, hold: Hold, command_alone: Command, verb: str
) -> None:
    before, run = stored_bytes(db), the_run(db)["_id"]
    words = ["apply", run]
    if verb == "undo":
        assert command_alone("apply", run, on=db).code == 0
        words = ["undo", run, "--apply"]
    changed = planned_keys(db)[5 : 5 + len(CHANGES)]
    hold.at(db, write_of(5), seconds=2)
    with started(uri, db.name, *words) as process:
        hold.wait()  # all sessions were read, five are written
        for key, change in zip(changed, CHANGES, strict=True):
            db[SESSIONS].update_one({"_id": key}, change)
        live = stored_bytes(db)
        hold.let_go()
        assert process.wait() == 5, process.text()
        assert WEAKER in process.text()
    after = stored_bytes(db)
    assert [after[key] for key in changed] == [live[key] for key in changed]
    whole = BROKEN - len(CHANGES)
    if verb == "undo":
        assert set(differing(db, before)) == set(changed)
        counts = the_run(db)["undo"]["counts"]
        assert counts == {"restored": whole, "changed since": len(CHANGES)}
    else:
        expected = {"applied": whole, "skipped_changed": len(CHANGES)}
        assert outcomes(db, run) == the_run(db)["progress"]["counts"] == expected
        assert command_alone("undo", run, "--apply", on=db).code == 0
        assert set(differing(db, before)) == set(changed)


def test_what_others_write_beside_the_fields_is_kept(db: Db, uri: str, hold: Hold) -> None:
    expected, run = recomputed_documents(db), the_run(db)["_id"]
    key = planned_keys(db)[5]
    hold.at(db, write_of(5), seconds=2)
    with started(uri, db.name, "apply", run) as process:
        hold.wait()
        db[SESSIONS].update_one({"_id": key}, {"$set": {"note": "live"}})
        hold.let_go()
        assert process.wait() == 0, process.text()
    assert db[SESSIONS].update_one({"_id": key}, {"$unset": {"note": 1}}).modified_count == 1
    assert differing(db, expected) == []


def test_after_a_kill_inside_a_batch_what_it_wrote_is_already_right_and_left_alone_by_undo(
    db: Db, uri: str, hold: Hold, command_alone: Command
) -> None:
    before, expected, run = stored_bytes(db), recomputed_documents(db), the_run(db)["_id"]
    keys = planned_keys(db)
    kill_at(write_of(14), hold, uri, db)
    assert set(differing(db, before)) == set(keys[:14])
    assert the_run(db)["progress"]["counts"] == {"applied": 10}
    let_the_lease_expire(db)
    ended = command_alone("resume", run, "--batch-size", "7", on=db)
    assert ended.code == 0, ended.told
    assert differing(db, expected) == []
    counts = {"applied": BROKEN - 4, "already_right": 4}
    assert outcomes(db, run) == the_run(db)["progress"]["counts"] == counts
    ended = command_alone("undo", run, "--apply", on=db)
    assert ended.code == 0, ended.told
    assert set(differing(db, before)) == set(keys[10:14])
    assert [stored_bytes(db)[key] for key in keys[10:14]] == [expected[k] for k in keys[10:14]]


def test_after_a_kill_inside_a_batch_of_an_undo_the_next_one_ends_it(
    db: Db, uri: str, hold: Hold, command_alone: Command
) -> None:
    before, run = stored_bytes(db), the_run(db)["_id"]
    assert command_alone("apply", run, on=db).code == 0
    words = ("undo", run, "--apply", *SMALL)
    kill_at(write_of(14), hold, uri, db, *words)
    assert len(differing(db, before)) == BROKEN - 14
    let_the_lease_expire(db)
    ended = command_alone(*words, on=db)
    assert ended.code == 0, ended.told
    assert differing(db, before) == []
    assert (the_run(db)["state"], the_run(db)["undo"]["counts"]) == ("undone", {"restored": BROKEN})


def test_a_connection_that_breaks_inside_a_batch_costs_nothing(
    db: Db, command_alone: Command
) -> None:
    before, expected, run = stored_bytes(db), recomputed_documents(db), the_run(db)["_id"]
    with (
        ThreadPoolExecutor() as threads,
        failing(db, write_of(14), {"skip": 14}, closeConnection=True) as fails,
    ):
        broken = threads.submit(fails, 1)
        ended = command_alone("apply", run, *SMALL, on=db)
        broken.result()
    assert ended.code == 0, ended.told
    assert differing(db, expected) == []
    assert outcomes(db, run) == the_run(db)["progress"]["counts"] == {"applied": BROKEN}
    assert command_alone("undo", run, "--apply", on=db).code == 0
    assert differing(db, before) == []


# A session, the change to what its fields stand in, between read and write.
OTHER_PARENTS: dict[str, Document] = {
    "all null": {"$unset": {"stats": 1}},
    "all there": {"$set": {"stats": []}},
    "half": {"$set": {"first": None}},
    "full": {"$set": {"stats.seen": [{"pages": []}]}},
}


def test_a_session_whose_parents_changed_between_read_and_write_is_not_written(
    client: MongoClient[Document], uri: str, hold: Hold, command_alone: Command, tmp_path: Path
) -> None:
    with new_database(client) as db:
        nested = Nested.planned(db, command_alone, tmp_path)
        before = stored_bytes(db)
        hold.at(db, write_of(0), seconds=2)
        with started(uri, db.name, "apply", nested.run, "--config", nested.config) as process:
            hold.wait()
            for name, change in OTHER_PARENTS.items():
                db[SESSIONS].update_one({"session_id": name}, change)
            changed = stored_bytes(db)
            hold.let_go()
            assert process.wait() == 5, process.text()
        names = {it["_id"]: it["session_id"] for it in db[SESSIONS].find()}
        written = {names[key] for key in differing(db, changed)}
        assert written == PARENTS.keys() - OTHER_PARENTS.keys()
        assert outcomes(db) == {"applied": len(written), "skipped_changed": len(OTHER_PARENTS)}
        assert nested("undo", "--apply").code == 0
        assert {names[key] for key in differing(db, before)} == OTHER_PARENTS.keys()
        assert differing(db, changed) == []


def test_an_answer_that_was_lost_is_not_taken_for_somebody_elses_doing(
    db: Db, command_alone: Command, before_command: Callable[[Hook], None]
) -> None:
    """The server moves the progress of the second batch, and the connection breaks then."""
    before, expected, run = stored_bytes(db), recomputed_documents(db), the_run(db)["_id"]
    moves = [0]

    def lose_the_answer(_: str, sent: Mapping[str, Any]) -> None:
        if sent.get("update") != RUNS or "progress.previous" not in str(sent["updates"]):
            return
        moves[0] += 1
        if moves[0] == 2:
            assert db.command("update", RUNS, updates=sent["updates"])["nModified"] == 1
            cut = {"failCommands": ["update"], "appName": APP, "closeConnection": True}
            once = {"mode": {"times": 1}, "data": cut}
            db.client.admin.command({"configureFailPoint": "failCommand", **once})

    before_command(lose_the_answer)
    ended = command_alone("apply", run, *SMALL, on=db)
    assert ended.code == 0, ended.told
    assert moves == [11]  # of nine batches, one of them twice by the job and once by the test
    assert differing(db, expected) == []
    assert outcomes(db) == the_run(db)["progress"]["counts"] == {"applied": BROKEN}
    assert command_alone("undo", run, "--apply", on=db).code == 0
    assert differing(db, before) == []


@pytest.mark.parametrize("size", ["1", "10"])
def test_an_error_that_every_write_of_sessions_meets_is_that_of_the_run(
    db: Db, command_alone: Command, size: str
) -> None:
    before, run = stored_bytes(db), the_run(db)["_id"]
    with failing(db, write_of(14), {"skip": 14}, errorCode=166):
        ended = command_alone("apply", run, "--batch-size", size, on=db)
    assert (ended.code, "MongoDB answered with an error" in ended.told) == (1, True), ended.told
    assert db[JOURNAL].count_documents({"outcome": {"$exists": True}}) == 0
    assert len(differing(db, before)) == the_run(db)["progress"]["counts"]["applied"] == 14
    assert command_alone("resume", run, on=db).code == 0


def refuse(db: Db, key: Any) -> None:
    """From now on the server takes no document with this _id that is filled."""
    rule = {"$or": [{"_id": {"$ne": key}}, {"event_count": 0}]}
    db.command("collMod", SESSIONS, validator=rule, validationLevel="strict")


def test_a_document_that_is_refused_fails_alone_and_costs_the_others_nothing(
    db: Db, command_alone: Command
) -> None:
    before, expected, run = stored_bytes(db), recomputed_documents(db), the_run(db)["_id"]
    key = planned_keys(db)[17]
    refuse(db, key)
    try:
        ended = command_alone("apply", run, *SMALL, on=db)
    finally:
        db.command("collMod", SESSIONS, validator={}, validationLevel="off")
    assert ended.code == 5, ended.told
    assert differing(db, expected) == [key]
    counts = {"applied": BROKEN - 1, "failed": 1}
    assert outcomes(db, run) == the_run(db)["progress"]["counts"] == counts
    (left,) = the_run(db)["report"]["left"]
    assert left["error"].startswith("Document failed validation")
    assert command_alone("undo", run, "--apply", on=db).code == 0
    assert differing(db, before) == []


@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_a_mark_of_a_batch_that_was_killed_before_its_progress_moved_does_not_outlive_its_reason(
    db: Db, uri: str, hold: Hold, command_alone: Command, verb: str
) -> None:
    before, expected, run = stored_bytes(db), recomputed_documents(db), the_run(db)["_id"]
    key = planned_keys(db)[17]
    words: tuple[str, ...] = ("apply", run, *SMALL)
    if verb == "undo":
        assert command_alone(*words, on=db).code == 0
        words = ("undo", run, "--apply", *SMALL)
    live = {"$inc": {"event_count": 1}}
    db[SESSIONS].update_one({"_id": key}, live)
    kill_at(before_move(2), hold, uri, db, *words)
    mark, part = ("outcome", "progress") if verb == "apply" else ("undo", "undo")
    assert db[JOURNAL].count_documents({mark: {"$exists": True}}) == 1
    assert sum(the_run(db)[part]["counts"].values()) == 10
    db[SESSIONS].update_one({"_id": key}, {"$inc": {"event_count": -1}})
    let_the_lease_expire(db)
    ended = command_alone("resume", run, on=db) if verb == "apply" else command_alone(*words, on=db)
    assert ended.code == 0, ended.told
    assert differing(db, expected if verb == "apply" else before) == []
    assert db[JOURNAL].count_documents({"undo": {"$exists": True}}) == 0
    assert the_run(db)["state"] == ("done" if verb == "apply" else "undone")


def test_sigterm_lets_the_batch_end_as_nothing_could_take_it_back(
    db: Db, uri: str, hold: Hold, command_alone: Command
) -> None:
    before, expected, run = stored_bytes(db), recomputed_documents(db), the_run(db)["_id"]
    hold.at(db, write_of(14), seconds=2)
    with started(uri, db.name, "apply", run, *SMALL) as process:
        hold.wait()
        process.signal(signal.SIGTERM)
        hold.let_go()
        assert process.wait() == 130, process.text()
    assert set(differing(db, before)) == set(planned_keys(db)[:20])
    assert the_run(db)["progress"]["counts"] == outcomes_so_far(db) == {"applied": 20}
    assert command_alone("resume", run, on=db).code == 0
    assert differing(db, expected) == []
    assert the_run(db)["progress"]["counts"] == {"applied": BROKEN}


def outcomes_so_far(db: Db) -> Document:
    return {name: count for name, count in outcomes(db).items() if name != "none"}


def test_what_somebody_else_healed_is_already_right(db: Db, command_alone: Command) -> None:
    run, key = the_run(db)["_id"], planned_keys(db)[4]
    heal(db, key)
    assert command_alone("apply", run, on=db).code == 0
    assert outcomes(db, run) == {"applied": BROKEN - 1, "already_right": 1}


@pytest.mark.parametrize("options", [("--apply",), ("--duplicates", "--apply")])
def test_nothing_is_deleted(db: Db, command_alone: Command, options: tuple[str, ...]) -> None:
    before = data_of(db)
    ended = command_alone("delete-orphans", *options, on=db)
    assert ended.code == 2, ended.told
    assert "deleting needs transactions, so a replica set; this server is none." in ended.told
    assert data_of(db) == before


def test_while_another_run_holds_the_lease_nothing_is_written(
    db: Db, uri: str, hold: Hold, command_alone: Command
) -> None:
    expected, run = recomputed_documents(db), the_run(db)["_id"]
    hold.at(db, Point("update", RUNS, skip=4), seconds=3)  # the lease of the second batch
    with started(uri, db.name, "apply", run, *SMALL) as process:
        hold.wait()
        assert command_alone("resume", run, on=db).code == 6
        let_the_lease_expire(db)
        before = hash_of(db)
        hold.let_go()
        assert process.wait() == 6, process.text()
    assert hash_of(db) == before
    assert len(differing(db, expected)) == BROKEN - 10
    assert command_alone("resume", run, on=db).code == 0
    assert differing(db, expected) == []
