"""The write protocol: who wrote a session, in which state it is left, whatever breaks off when."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId

from demo.ingest import new_event
from tests.harness.commands import Command, Ended, Process, started
from tests.harness.documents import (
    JOURNAL,
    RAW,
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
from tests.harness.holds import APP, Hold, Point
from tests.harness.runs import let_the_lease_expire, outcomes, run_documents, the_run
from tests.oracle import recomputed_documents

SMALL = ("--batch-size", "10")
# Three aggregates on the journal for each batch: look, merge, outcomes.
BEFORE_MERGE = Point("aggregate", JOURNAL, skip=1)
BEFORE_SECOND_MERGE = Point("aggregate", JOURNAL, skip=4)
AFTER_SECOND_MERGE = Point("aggregate", JOURNAL, skip=5)
WRITTEN = {"event_count": 1, "pages": 1, "last_event_at": 1, "first_event_at": 1, "user_id": 1}


def planned_keys(db: Db, run: str) -> list[Any]:
    """The _ids of the planned sessions, in the order in which they are written."""
    rows = db[JOURNAL].find({"run_id": run}, {"plan.session": 1}).sort("_id", 1)
    return [row["plan"]["session"]["v"] for row in rows]


def plan_of(db: Db, key: Any) -> Document:
    row = db[JOURNAL].find_one({"plan.session.v": key})
    assert row is not None
    return dict(row["plan"])


def heal(db: Db, key: Any) -> None:
    """What the run would do to the session, done by somebody else."""
    db[SESSIONS].update_one({"_id": key}, {"$set": plan_of(db, key)["new"]})


def empty(db: Db, key: Any) -> None:
    """The session as the plan saw it, whoever did that."""
    db[SESSIONS].update_one({"_id": key}, {"$set": plan_of(db, key)["observed"]})


def killed_at(point: Point, hold: Hold, uri: str, db: Db, *words: str) -> None:
    hold.at(db, point)
    with started(uri, db.name, *words) as process:
        hold.wait()
        process.kill()
        hold.kill()


def writes_to(db: Db, collection: str = SESSIONS) -> int:
    """How often documents of the collection were written, as the oplog tells."""
    ns = f"{db.name}.{collection}"
    oplog = db.client["local"]["oplog.rs"]
    alone = oplog.count_documents({"ns": ns, "op": {"$in": ["i", "u", "d"]}})
    inside: list[Document] = [{"$match": {"o.applyOps.ns": ns}}, {"$unwind": "$o.applyOps"}]
    grouped = oplog.aggregate([*inside, {"$match": {"o.applyOps.ns": ns}}, {"$count": "n"}])
    return alone + sum(it["n"] for it in grouped)


# Who wrote it


def test_a_session_that_somebody_healed_alike_is_not_taken_for_ours_and_survives_undo(
    planned: Db, command: Command
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[4]
    heal(planned, key)
    healed = stored_bytes(planned)[key]
    assert command("apply", run, on=planned).code == 5
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "skipped_changed": 1}
    assert command("undo", run, "--apply", on=planned).code == 0
    assert differing(planned, before) == [key]
    assert stored_bytes(planned)[key] == healed


def test_each_session_is_written_once_and_its_row_never_again(
    planned: Db, command: Command
) -> None:
    run, sessions = the_run(planned)["_id"], writes_to(planned)
    rows, journal = hash_of(planned, JOURNAL), writes_to(planned, JOURNAL)
    assert command("apply", run, *SMALL, on=planned).code == 0
    assert writes_to(planned) - sessions == BROKEN
    assert writes_to(planned, JOURNAL) == journal
    assert hash_of(planned, JOURNAL) == rows


def test_what_a_killed_batch_wrote_is_its_own_and_the_rest_is_looked_at_again(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    run = the_run(planned)["_id"]
    killed_at(AFTER_SECOND_MERGE, hold, mongo_uri, planned, "apply", run, *SMALL)
    keys = planned_keys(planned, run)
    raced, later = keys[15], keys[40]
    planned[SESSIONS].update_one({"_id": raced}, {"$inc": {"event_count": 1}})
    heal(planned, later)
    let_the_lease_expire(planned)
    ended = command("resume", run, "--batch-size", "7", on=planned)
    assert ended.code == 5, ended.told
    expected = {"applied": BROKEN - 2, "changed_meanwhile": 1, "skipped_changed": 1}
    assert outcomes(planned, run) == the_run(planned)["progress"]["counts"] == expected
    left = {it["session_id"]: it["outcome"] for it in the_run(planned)["report"]["left"]}
    assert left == {
        plan_of(planned, raced)["session_id"]: "changed_meanwhile",
        plan_of(planned, later)["session_id"]: "skipped_changed",
    }


def test_a_session_changed_between_look_and_merge_is_told_apart_and_never_undone(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[0]
    hold.at(planned, BEFORE_MERGE, seconds=2)
    with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
        hold.wait()
        planned[SESSIONS].update_one({"_id": key}, {"$set": {"pages": ["/live"]}})
        live = stored_bytes(planned)[key]
        hold.let_go()
        assert process.wait() == 5, process.text()
        assert "⚠️  1 changed_meanwhile" in process.text()
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "changed_meanwhile": 1}
    assert command("undo", run, "--apply", on=planned).code == 0
    assert differing(planned, before) == [key]
    assert stored_bytes(planned)[key] == live


# Another run


def test_undo_leaves_alone_what_a_later_run_wrote_even_if_it_looks_the_same(
    planned: Db, command: Command
) -> None:
    before, first = stored_bytes(planned), the_run(planned)["_id"]
    command("apply", first, on=planned)
    key = planned_keys(planned, first)[7]
    empty(planned, key)
    assert command("fix", "--apply", on=planned).code == 0
    healed = stored_bytes(planned)[key]
    ended = command("undo", first, on=planned)
    assert (ended.code, "1 session written by a later run" in ended.told) == (0, True), ended.told
    ended = command("undo", first, "--apply", on=planned)
    assert ended.code == 5
    session_id = plan_of(planned, key)["session_id"]
    assert f"{session_id}  written by a later run, left alone" in ended.told
    assert differing(planned, before) == [key]
    assert stored_bytes(planned)[key] == healed
    counts = run_documents(planned)[0]["undo"]["counts"]
    assert counts == {"restored": BROKEN - 1, "written by a later run": 1}


@pytest.mark.parametrize(("point", "own"), [(BEFORE_MERGE, 0), (BEFORE_SECOND_MERGE, 10)])
def test_undo_of_an_overtaken_run_takes_back_nothing_of_the_one_that_overtook_it(
    planned: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    own: int,
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    expected, keys = recomputed_documents(planned), planned_keys(planned, run)
    killed_at(point, hold, mongo_uri, planned, "apply", run, *SMALL)
    let_the_lease_expire(planned)
    assert command("fix", "--apply", on=planned).code == 0
    assert differing(planned, expected) == []
    for words in ((), ("--apply",)):
        ended = command("undo", run, *words, on=planned)
        assert (ended.code, "wrote no session" in ended.told) == (0, not own), ended.told
    assert set(differing(planned, expected)) == set(keys[:own])
    assert [stored_bytes(planned)[key] for key in keys[:own]] == [before[k] for k in keys[:own]]
    assert run_documents(planned)[0]["state"] == ("undone" if own else "applying")


def test_what_a_later_run_wrote_and_took_back_itself_can_be_undone(
    planned: Db, command: Command
) -> None:
    before, first = stored_bytes(planned), the_run(planned)["_id"]
    command("apply", first, on=planned)
    key = planned_keys(planned, first)[7]
    empty(planned, key)
    assert command("fix", "--apply", on=planned).code == 0
    second = run_documents(planned)[1]["_id"]
    assert command("undo", second, "--apply", on=planned).code == 0
    heal(planned, key)  # as the first run had left it
    assert command("undo", first, "--apply", on=planned).code == 0
    assert differing(planned, before) == []


def test_an_undo_that_broke_off_goes_on_without_touching_what_was_healed_since(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    expected = recomputed_documents(planned)
    command("apply", run, on=planned)
    # An undo has the same three aggregates for each batch.
    killed_at(AFTER_SECOND_MERGE, hold, mongo_uri, planned, "undo", run, "--apply", *SMALL)
    restored = [key for key in differing(planned, expected) if key in before]
    assert len(restored) == 20
    let_the_lease_expire(planned)
    assert command("fix", "--apply", on=planned).code == 0
    assert differing(planned, expected) == []
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 0, ended.told
    # Ten were restored and told, ten restored and told by the fix; all twenty were healed anew.
    assert set(differing(planned, before)) == set(restored)
    assert [stored_bytes(planned)[key] for key in restored] == [expected[k] for k in restored]


# Merges that go on after their client


@contextmanager
def hanging_merge(db: Db) -> Iterator[Callable[[], None]]:
    """Merges hang inside the server, after they have seen the lease; a call waits for one."""
    name, admin = "hangWhileBuildingDocumentSourceMergeBatch", db.client.admin
    data = {"nss": f"{db.name}.{JOURNAL}"}
    entered = admin.command("configureFailPoint", name, mode="alwaysOn", data=data)["count"]

    def wait() -> None:
        admin.command("waitForFailPoint", name, timesEntered=entered + 1, maxTimeMS=60_000)

    try:
        yield wait
    finally:
        admin.command("configureFailPoint", name, mode="off")


@pytest.mark.parametrize("verb", ["undo", "resume"])
def test_whoever_breaks_a_lease_waits_for_the_merge_of_its_dead_holder(
    planned: Db, mongo_uri: str, command: Command, verb: str
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    expected = recomputed_documents(planned) if verb == "resume" else before
    words = ("--break-lease", *(["--apply"] if verb == "undo" else []))
    with ThreadPoolExecutor() as threads, hanging_merge(planned) as wait:
        with started(mongo_uri, planned.name, "apply", run, *SMALL) as process:
            wait()
            stop_without_a_word(process)
        # Python is gone, its merge of ten sessions is not.
        taken = threads.submit(command, verb, run, *words, on=planned)
        with pytest.raises(NotYet):
            taken.result(timeout=2)
        assert differing(planned, before) == []
        planned.client.admin.command(
            "configureFailPoint", "hangWhileBuildingDocumentSourceMergeBatch", mode="off"
        )
        ended = taken.result()
    assert ended.code == 0, ended.told
    assert differing(planned, expected) == []
    assert the_run(planned)["state"] == ("undone" if verb == "undo" else "done")


def stop_without_a_word(process: Process) -> None:
    """SIGSTOP: its sockets stay open, so the server does not notice; killed at the end."""
    process.signal(signal.SIGSTOP)


def test_a_batch_that_broke_off_is_settled_by_the_settings_of_its_own_run(
    db: Db, nested: Nested, mongo_uri: str, hold: Hold, command: Command
) -> None:
    run, before = the_run(db)["_id"], stored_bytes(db)
    words = ("--config", nested.config, "--batch-size", "3")
    killed_at(AFTER_SECOND_MERGE, hold, mongo_uri, db, "apply", run, *words)
    let_the_lease_expire(db)
    # A run under other names of fields takes the lease over; one session has these.
    other = {"event_count": 1, "pages": ["/a"], "first_event_at": None, "last_event_at": None}
    plain = db[SESSIONS].insert_one({"session_id": "plain", "user_id": ObjectId(), **other})
    assert command("delete-orphans", "--apply", "--max-delete", "0", on=db).code == 0
    db[SESSIONS].delete_one({"_id": plain.inserted_id})
    assert outcomes(db, run) == {"applied": len(PARENTS)}
    assert run_documents(db)[0]["progress"]["counts"] == {"applied": 3}
    assert nested("undo", "--apply").code == 0
    assert stored_bytes(db) == before


def test_a_batch_that_broke_off_is_settled_whatever_the_next_run_is_about(
    shop: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected = recomputed_documents(shop)
    broken = shop[SESSIONS].find({"event_count": 0}, {"session_id": 1}, limit=9)
    named = [word for it in broken for word in ("--session-id", it["session_id"])]
    shop["events"].create_index("timestamp")
    shop[SESSIONS].create_index("last_event_at")
    assert command("fix", "--plan", *named, on=shop).code == 3
    killed_at(BEFORE_MERGE, hold, mongo_uri, shop, "apply", the_run(shop)["_id"])
    let_the_lease_expire(shop)
    ended = command("fix", "--apply", "--since", "3650d", on=shop)
    assert ended.code == 0, ended.told
    assert differing(shop, expected) == []


# All or nothing, types, bytes


def test_undo_of_a_session_whose_unwritten_field_changed_restores_nothing_of_it(
    planned: Db, command: Command
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    key = next(
        key for key in planned_keys(planned, run) if "user_id" not in plan_of(planned, key)["new"]
    )
    command("apply", run, on=planned)
    planned[SESSIONS].update_one({"_id": key}, {"$set": {"user_id": ObjectId()}})
    left = stored_bytes(planned)[key]
    assert command("undo", run, "--apply", on=planned).code == 5
    assert differing(planned, before) == [key]
    assert stored_bytes(planned)[key] == left


@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"event_count": Int64(0)}},
        {"$set": {"event_count": 0.0}},
        {"$set": {"event_count": -0.0}},
        {"$set": {"event_count": None}},
        {"$unset": {"event_count": 1}},
        {"$set": {"pages": None}},
        {"$unset": {"pages": 1}},
    ],
    ids=str,
)
def test_a_field_of_another_type_is_another_value(
    planned: Db, command: Command, change: Document
) -> None:
    run, sessions = the_run(planned)["_id"], planned[SESSIONS]
    key = planned_keys(planned, run)[0]
    sessions.update_one({"_id": key}, change)
    changed = stored_bytes(planned)[key]
    assert command("apply", run, on=planned).code == 5
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "skipped_changed": 1}
    assert stored_bytes(planned)[key] == changed
    # And the same for the result, when it is undone.
    other = planned_keys(planned, run)[1]
    as_double = [{"$set": {"event_count": {"$toDouble": "$event_count"}}}]
    sessions.update_one({"_id": other}, as_double)
    retyped = stored_bytes(planned)[other]
    assert command("undo", run, "--apply", on=planned).code == 5
    assert stored_bytes(planned)[other] == retyped


NESTED = """
[fields.sessions]
event_count = "stats.count"
pages = "stats.seen.pages"
last_event_at = "stats.seen.last"
first_event_at = "first.at"
user_id = "owner.id"
"""
PARENTS: dict[str, Document] = {
    "all absent": {},
    "all null": {"stats": None, "first": None, "owner": None},
    "all there": {"stats": {"seen": {}}, "first": {}, "owner": {}},
    "with other things": {"owner": {"x": 1}, "stats": {"seen": {"a": 1}, "b": [2]}, "first": {}},
    "half": {"stats": {"seen": None, "count": 0}, "z": 1},
    "full": {"stats": {"count": Int64(0), "seen": {"pages": [], "k": 1, "last": None}}},
}


@dataclass(frozen=True)
class Nested:
    """A planned run over sessions with nested fields; a call runs a verb on it."""

    db: Db
    command: Command
    run: str
    config: str

    def __call__(self, verb: str, *words: str) -> Ended:
        return self.command(verb, self.run, *words, "--config", self.config, on=self.db)


@pytest.fixture
def nested(db: Db, command: Command, tmp_path: Path) -> Nested:
    config = tmp_path / "nested.toml"
    config.write_text(NESTED)
    user = ObjectId()
    for name, parents in PARENTS.items():
        db[SESSIONS].insert_one({"session_id": name, **parents, "note": "n"})
        for page in ("/a", "/b"):
            made = ObjectId("68dced900000000000000000")
            event = new_event(made, user, name, made.generation_time, page, "page_view", {}, "c")
            db["events"].insert_one({**event, "_id": ObjectId()})
    absent = ("--allow-absent", "first.at", "--allow-absent", "owner.id")
    ended = command("fix", "--plan", "--settle", "0s", "--config", str(config), *absent, on=db)
    assert (ended.code, the_run(db)["planned"]) == (3, len(PARENTS)), ended.told
    return Nested(db, command, the_run(db)["_id"], str(config))


def test_nested_fields_are_written_and_taken_back_to_the_byte(db: Db, nested: Nested) -> None:
    before = stored_bytes(db)
    ended = nested("apply")
    assert ended.code == 0, ended.told
    for session in db[SESSIONS].find():
        stats = session["stats"]
        assert (stats["count"], stats["seen"]["pages"]) == (2, ["/a", "/b"])
        assert {"last", "pages"} <= stats["seen"].keys()
        was = PARENTS[session["session_id"]]
        assert (session["note"], session.get("z")) == ("n", was.get("z"))
    ended = nested("undo", "--apply")
    assert ended.code == 0, ended.told
    assert stored_bytes(db) == before


def test_a_parent_that_the_run_made_stays_when_it_holds_something_else(
    db: Db, nested: Nested
) -> None:
    assert nested("apply").code == 0
    names = {"session_id": {"$in": ["all absent", "all null"]}}
    db[SESSIONS].update_many(names, {"$set": {"owner.x": 1, "stats.seen.x": 2}})
    ended = nested("undo", "--apply")
    assert ended.code == 0, ended.told
    assert list(db[SESSIONS].find(names, {"_id": 0})) == [
        {"session_id": "all absent", "note": "n", **rest, "owner": {"x": 1}}
        for rest in [{"stats": {"seen": {"x": 2}}}]
    ] + [
        {
            "session_id": "all null",
            "stats": {"seen": {"x": 2}},
            "first": None,
            "owner": {"x": 1},
            "note": "n",
        }
    ]


def test_a_session_whose_parents_changed_is_not_written_at_all(
    db: Db, nested: Nested, mongo_uri: str, hold: Hold
) -> None:
    run = the_run(db)["_id"]
    other: dict[str, Document] = {
        "all absent": {"$set": {"stats": 7}},
        "all null": {"$unset": {"stats": 1}},
        "all there": {"$set": {"stats": []}},
        "half": {"$set": {"first": None}},
        "full": {"$set": {"stats.seen": [{"pages": []}]}},
    }
    hold.at(db, BEFORE_MERGE, seconds=2)
    with started(mongo_uri, db.name, "apply", run, "--config", nested.config) as process:
        hold.wait()
        for name, change in other.items():
            db[SESSIONS].update_one({"session_id": name}, change)
        changed, writes = stored_bytes(db), writes_to(db)
        hold.let_go()
        assert process.wait() == 5, process.text()
    assert outcomes(db, run) == {"applied": 1, "changed_meanwhile": 5}
    names = {session["_id"]: session["session_id"] for session in db[SESSIONS].find()}
    assert [names[key] for key in differing(db, changed)] == ["with other things"]
    assert writes_to(db) == writes + 1  # a guard that fails writes nothing, not even to the oplog


# Documents that MongoDB refuses


def refuse(db: Db, key: Any, field: Document) -> None:
    """From now on the server rejects a document with this _id that holds anything else there."""
    rule = {"$or": [{"_id": {"$ne": key}}, field]}
    db.command("collMod", SESSIONS, validator=rule, validationLevel="strict")


def test_a_session_that_mongodb_refuses_to_restore_is_left_alone_and_named(
    planned: Db, command: Command
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    command("apply", run, on=planned)
    key = planned_keys(planned, run)[30]
    refuse(planned, key, {"event_count": {"$gt": 0}})
    try:
        ended = command("undo", run, "--apply", "--batch-size", "64", on=planned)
        assert ended.code == 5
        session_id = plan_of(planned, key)["session_id"]
        assert f"  {session_id}  refused by MongoDB, left alone: PlanExecutor error" in ended.told
        assert '"operatorName": "$or"' in ended.told  # the rule that it would break
        assert differing(planned, before) == [key]
        row = planned[JOURNAL].find_one({"undo": "refused by MongoDB"})
        assert row is not None
        assert (row["plan"]["session"]["v"], row["outcome" if "outcome" in row else "undo"]) == (
            key,
            "refused by MongoDB",
        )
        assert "Document failed validation" in row["error"]
    finally:
        planned.command("collMod", SESSIONS, validator={}, validationLevel="strict")


# One index for each of two sessions, which takes them empty and not filled.
HASHED = {"keys": [("pages", "hashed")], "of": "hashed"}
PARALLEL = {"keys": [("pages", 1), ("tags", 1)], "of": "parallel"}


def poison(db: Db, key: Any, index: Document) -> None:
    db[SESSIONS].update_one({"_id": key}, {"$set": {"index": index["of"], "tags": ["a", "b"]}})
    some = {"index": index["of"], "event_count": {"$gt": 0}}
    db[SESSIONS].create_index(index["keys"], partialFilterExpression=some)


@pytest.mark.parametrize("size", [1, 64])
def test_an_error_of_one_document_stops_no_run_and_is_told_with_its_session(
    planned: Db, command: Command, tmp_path: Path, size: int
) -> None:
    expected, run, file = recomputed_documents(planned), the_run(planned)["_id"], tmp_path / "json"
    hashed, parallel = planned_keys(planned, run)[20:22]
    poison(planned, hashed, HASHED)
    poison(planned, parallel, PARALLEL)
    left = stored_bytes(planned)
    ended = command("apply", run, "--batch-size", str(size), "--json", str(file), on=planned)
    planned[SESSIONS].drop_indexes()
    assert ended.code == 5, ended.told
    assert set(differing(planned, expected)) == {hashed, parallel}
    assert [stored_bytes(planned)[key] for key in (hashed, parallel)] == [
        left[key] for key in (hashed, parallel)
    ]
    assert the_run(planned)["state"] == "done"
    assert the_run(planned)["progress"]["counts"] == {"applied": BROKEN - 2, "failed": 2}
    why = "PlanExecutor error during aggregation :: caused by :: "
    reasons = {
        hashed: f"{why}Error: hashed indexes do not currently support array values. "
        "Found array at path: pages",
        parallel: f"{why}cannot index parallel arrays [tags] [pages]",
    }
    names = {key: plan_of(planned, key)["session_id"] for key in reasons}
    told = json.loads(file.read_text())["left"]
    assert told == the_run(planned)["report"]["left"]
    assert told == [
        {"session_id": names[key], "outcome": "failed", "error": reasons[key]} for key in reasons
    ]
    assert ended.out.count("⚠️  2 failed\n") == 1
    for key, reason in reasons.items():
        assert f"     {names[key]}  {reason}\n" in ended.out
    assert "⚠️  Not everything was done: mend what MongoDB refused, then run it again" in ended.out


def test_a_document_that_a_transaction_holds_too_long_fails_alone(
    planned: Db, command: Command
) -> None:
    run, client = the_run(planned)["_id"], planned.client
    key = planned_keys(planned, run)[41]
    with client.start_session() as session, session.start_transaction():
        locked = {"$set": {"note": "mine"}}
        planned[SESSIONS].update_one({"_id": key}, locked, session=session)
        ended = command("apply", run, "--batch-size", "20", on=planned)
        session.abort_transaction()
    assert ended.code == 5, ended.told
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "failed": 1}
    (left,) = the_run(planned)["report"]["left"]
    assert left["session_id"] == plan_of(planned, key)["session_id"]
    assert "time limit" in left["error"]


@contextmanager
def failing(db: Db, mode: Document, **how: Any) -> Iterator[None]:
    """The job's looks, merges and outcomes fail at the server."""
    data = {"failCommands": ["aggregate"], "appName": APP, **how}
    data["namespace"], admin = f"{db.name}.{JOURNAL}", db.client.admin
    admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
    try:
        yield
    finally:
        admin.command("configureFailPoint", "failCommand", mode="off")


def test_an_error_that_all_rows_meet_alike_is_that_of_the_run(
    planned: Db, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with failing(planned, {"skip": 1}, errorCode=8):
        ended = command("apply", run, *SMALL, on=planned)
    assert (ended.code, "MongoDB answered with an error" in ended.told) == (1, True), ended.told
    assert len(differing(planned, expected)) == BROKEN
    assert outcomes(planned, run) == {"none": BROKEN}
    assert command("resume", run, on=planned).code == 0
    assert differing(planned, expected) == []


def test_a_command_whose_connection_breaks_is_repeated(planned: Db, command: Command) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with failing(planned, {"times": 6}, closeConnection=True):
        ended = command("apply", run, *SMALL, on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, expected) == []
    assert the_run(planned)["progress"]["counts"] == {"applied": BROKEN}


# The account


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"$set": {"outcome": "failed"}}, "its journal now holds"),
        ({"$set": {"plan.new.event_count": 99}}, "an edited plan"),
    ],
)
def test_a_run_whose_journal_is_not_as_it_counted_does_not_end_well(
    planned: Db, mongo_uri: str, hold: Hold, edit: Document, why: str
) -> None:
    run = the_run(planned)["_id"]
    hold.at(planned, Point("find", JOURNAL, skip=1), seconds=2)
    with started(mongo_uri, planned.name, "apply", run) as process:
        hold.wait()  # it reads its journal again
        planned[JOURNAL].update_one({}, edit)
        hold.let_go()
        assert process.wait() == 1, process.text()
        assert why in process.text()
    assert (the_run(planned)["state"], the_run(planned)["verdict"]) == ("applying", 1)


def test_rows_of_another_attempt_are_never_counted_nor_applied(
    planned: Db, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    row = planned[JOURNAL].find_one({"run_id": run})
    sound = planned[SESSIONS].find_one({"event_count": {"$gt": 0}}, {"_id": 1, "session_id": 1})
    assert row is not None
    assert sound is not None
    late = {**row["plan"], "session": {"v": sound["_id"]}, "session_id": sound["session_id"]}
    for attempt in (0, 2, 10, 11):  # what a planner wrote that was dead already
        planned[JOURNAL].insert_one({**row, "_id": f"{run}:{attempt}:x", "plan": late})
    assert command("apply", run, on=planned).code == 0
    assert differing(planned, expected) == []
    assert the_run(planned)["progress"]["counts"] == {"applied": BROKEN}


@pytest.mark.parametrize("part", ["some", "all"])
def test_an_undo_whose_rows_were_lost_says_so_and_is_not_whole(
    planned: Db, command: Command, part: str
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    command("apply", run, on=planned)
    keys = planned_keys(planned, run)
    lost = keys[:3] if part == "some" else keys
    planned[JOURNAL].delete_many({"plan.session.v": {"$in": lost}})
    for words in ((), ("--apply",)):
        ended = command("undo", run, *words, on=planned)
        assert ended.code == 5, ended.told
        assert f"{len(lost)} rows of its journal are lost" in ended.told
        assert "wrote no session" not in ended.told
    assert set(differing(planned, before)) == set(lost)
    state = "undoing" if part == "some" else "done"  # where nothing is left nothing is begun
    assert (the_run(planned)["state"], the_run(planned)["verdict"]) == (state, 5)


# Refused before anything is planned


@pytest.mark.parametrize("verb", ["apply", "resume", "undo"])
def test_a_run_of_another_format_is_refused_and_its_version_named(
    planned: Db, command: Command, verb: str
) -> None:
    old = {"$unset": {"journal_format": 1}, "$set": {"versions.session_repair": "0.1.0"}}
    planned[RUNS].update_many({"verb": "fix"}, old)
    before, run = hash_of(planned), the_run(planned)
    ended = command(verb, run["_id"], on=planned)
    assert ended.code == 2, ended.told
    assert "was made by session-repair 0.1.0, whose journal version" in ended.told
    assert (hash_of(planned), the_run(planned)) == (before, run)


@pytest.mark.parametrize("collection", [SESSIONS, JOURNAL, RUNS, "events"])
def test_where_text_is_not_compared_by_its_bytes_nothing_is_written(
    planned: Db, command: Command, collection: str
) -> None:
    raw: Any = planned.get_collection(collection, codec_options=RAW)
    run, documents = the_run(planned)["_id"], list(raw.find())
    planned.drop_collection(collection)
    planned.create_collection(collection, collation={"locale": "en", "strength": 2})
    raw.insert_many(documents)
    before = fingerprint(planned)
    why = f"{planned.name}.{collection} has a default collation (en)"
    deletions = [("delete-orphans", *more) for more in ((), ("--apply",), ("--duplicates",))]
    verbs = [("apply", run), ("resume", run), ("undo", run), ("undo", run, "--apply")]
    verbs += [("fix", "--apply"), ("fix", "--plan"), ("fix",)]
    if collection == "events":  # to take a run back needs none
        verbs = [verb for verb in verbs if verb[0] != "undo"]
    for verb in [*verbs, *deletions]:
        ended = command(*verb, on=planned)
        assert (ended.code, why in ended.told, ended.told.count("\n")) == (2, True, 1), ended.told
    assert fingerprint(planned) == before
    planned.drop_collection(collection)


def test_the_report_of_a_run_names_every_outcome(
    planned: Db, command: Command, tmp_path: Path
) -> None:
    run, file = the_run(planned)["_id"], tmp_path / "report.json"
    assert command("apply", run, "--json", str(file), on=planned).code == 0
    told = json.loads(file.read_text())["outcomes"]
    assert told == {
        "planned": BROKEN,
        "applied": BROKEN,
        **dict.fromkeys(("skipped_changed", "skipped_gone", "changed_meanwhile", "failed"), 0),
    }
    assert the_run(planned)["progress"]["last_at"] - the_run(planned)["progress"][
        "first_at"
    ] < timedelta(minutes=5)
