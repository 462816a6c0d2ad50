"""Undo: whole documents as they were, byte for byte, where the run's result still stands."""

from __future__ import annotations

from pathlib import Path

import bson
import pytest
from bson import Int64

from session_repair.health.queries import run_at_work
from session_repair.mongo.connection import connected
from session_repair.mongo.lease import held_lease
from session_repair.mongo.runs import Run
from session_repair.settings import Settings
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, differing, hash_of, stored_bytes
from tests.harness.guide import BROKEN, ORPHANS
from tests.harness.holds import (
    Hold,
    Point,
    before_commit,
    before_move,
    before_rows,
    before_write,
)
from tests.harness.runs import planned_keys, the_run
from tests.harness.stops import SMALL, kill_at
from tests.oracle import recomputed_documents


def state_of(db: Db, run: str) -> tuple[str, dict[str, int]]:
    document = db[RUNS].find_one({"_id": run})
    assert document is not None
    return document["state"], document["undo"]["counts"]


def test_an_undone_run_leaves_every_byte_as_it_was(planned: Db, command: Command) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    assert command("apply", run, on=planned).code == 0
    assert len(differing(planned, before)) == BROKEN
    ended = command("undo", run, "--apply", "--batch-size", "10", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})


def test_a_dry_undo_says_what_it_would_restore_and_writes_nothing(
    planned: Db, command: Command
) -> None:
    run = the_run(planned)["_id"]
    command("apply", run, on=planned)
    before, runs, journal = hash_of(planned), hash_of(planned, RUNS), hash_of(planned, JOURNAL)
    ended = command("undo", run, on=planned)
    assert ended.code == 0
    assert f"{BROKEN} sessions would be restored\n" in ended.out, ended.told
    assert hash_of(planned) == before
    assert hash_of(planned, RUNS) == runs
    assert hash_of(planned, JOURNAL) == journal


def test_undo_leaves_alone_and_lists_what_changed_since(planned: Db, command: Command) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    command("apply", run, on=planned)
    sessions = planned[SESSIONS]
    keys = planned_keys(planned)[:4]
    counted, retyped, shuffled, gone = keys
    sessions.update_one({"_id": counted}, {"$inc": {"event_count": 1}})
    as_long = [{"$set": {"event_count": {"$toLong": "$event_count"}}}]
    sessions.update_one({"_id": retyped}, as_long)
    sessions.update_one({"_id": shuffled}, {"$push": {"pages": "/late"}})
    sessions.delete_one({"_id": gone})
    left = {key: stored_bytes(planned).get(key) for key in keys}
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 5
    assert state_of(planned, run)[1] == {
        "restored": BROKEN - 4,
        "changed since": 3,
        "gone since": 1,
    }
    for key in keys:
        assert str(key) in ended.told
        assert stored_bytes(planned).get(key) == left[key]
    assert set(differing(planned, before)) == set(keys)


def test_undo_touches_no_field_that_the_run_did_not_write(planned: Db, command: Command) -> None:
    run, key = the_run(planned)["_id"], planned_keys(planned)[0]
    before = stored_bytes(planned)[key]
    command("apply", run, on=planned)
    planned[SESSIONS].update_one({"_id": key}, {"$set": {"note": "new"}})
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 0, ended.told
    noted = before[:-1] + bson.encode({"note": "new"})[4:]  # at the end of the document
    assert stored_bytes(planned)[key][4:] == noted[4:]
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})


def test_a_second_undo_is_refused_whatever_came_after(planned: Db, command: Command) -> None:
    run, key = the_run(planned)["_id"], planned_keys(planned)[0]
    command("apply", run, on=planned)
    healed = planned[SESSIONS].find_one({"_id": key}, {"_id": 0, "pages": 1, "event_count": 1})
    command("undo", run, "--apply", on=planned)
    assert healed is not None
    planned[SESSIONS].update_one({"_id": key}, {"$set": healed})  # as the run had written it
    after, document = hash_of(planned), the_run(planned)
    ended = command("undo", run, "--apply", on=planned)
    assert (ended.code, f"run {run} was undone before" in ended.told) == (2, True)
    assert hash_of(planned) == after
    assert the_run(planned) == document


def test_undo_of_a_run_that_wrote_nothing_says_so_and_leaves_its_state(
    planned: Db, command: Command
) -> None:
    before, run, expected = hash_of(planned), the_run(planned), recomputed_documents(planned)
    for words in ((), ("--apply",)):
        ended = command("undo", run["_id"], *words, on=planned)
        assert (ended.code, "wrote no session" in ended.told) == (0, True), ended.told
        found = {**the_run(planned), "token": run["token"]}
        found.pop("undo", None)  # who worked on it
        assert found == run
        assert hash_of(planned) == before
    assert command("apply", run["_id"], on=planned).code == 0
    assert differing(planned, expected) == []


def test_undo_asks_only_where_the_data_is(planned: Db, command: Command, tmp_path: Path) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    assert command("apply", run, on=planned).code == 0
    after = hash_of(planned)
    elsewhere = [
        ('[collections]\nsessions = "archive"', "collections.sessions"),
        ('[collections]\njournal = "archive"', "collections.journal"),
        ('[fields.sessions]\npages = "meta.pages"', "fields.sessions.pages"),
    ]
    config = tmp_path / "other.toml"
    for text, name in elsewhere:
        config.write_text(text)
        ended = command("undo", run, "--apply", "--config", str(config), on=planned)
        told = f"run {run} was planned with {name} = "
        assert (ended.code, told in ended.told) == (2, True), ended.told
    assert hash_of(planned) == after
    config.write_text(
        'settle = "1h"\nscope = "all"\nmin_age = "7d"\nallow_shrink = true\n'
        '[collections]\nevents = "archive"\n[fields.events]\npage = "url"\n'
    )
    ended = command("undo", run, "--apply", "--config", str(config), on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []


def test_undo_of_a_run_with_options_needs_no_setting_that_they_went_with(
    shop: Db, command: Command, tmp_path: Path
) -> None:
    config = tmp_path / "all.toml"
    config.write_text('scope = "all"')
    shop[SESSIONS].update_one({"event_count": {"$gt": 3}}, {"$set": {"event_count": 1}})
    before = stored_bytes(shop)
    options = ("--only", "count_mismatch", "--config", str(config))
    assert command("fix", "--apply", *options, on=shop).code == 0
    run = the_run(shop)["_id"]
    assert len(differing(shop, before)) == 1
    ended = command("runs", run, "--rows", on=shop)
    assert (ended.code, ended.out.count("\n")) == (0, 1), ended.told
    ended = command("undo", run, "--apply", on=shop)
    assert ended.code == 0, ended.told
    assert differing(shop, before) == []


def test_an_undone_run_is_not_resumed_but_its_sessions_are_fixed_again(
    planned: Db, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    command("apply", run, on=planned)
    command("undo", run, "--apply", on=planned)
    ended = command("resume", run, on=planned)
    assert (ended.code, f"run {run} is undone" in ended.told) == (2, True)
    ended = command("fix", "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert f"✅ Fixed {BROKEN} sessions" in ended.told
    assert differing(planned, expected) == []


def test_deleted_sessions_come_back_byte_for_byte(planned: Db, command: Command) -> None:
    planned[RUNS].delete_many({})
    before = stored_bytes(planned)
    ended = command("delete-orphans", "--apply", on=planned)
    assert ended.code == 0, ended.told
    run = the_run(planned)["_id"]
    assert len(differing(planned, before)) == ORPHANS
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": ORPHANS})


def test_a_session_made_anew_after_its_deletion_is_left_alone(
    planned: Db, command: Command
) -> None:
    planned[RUNS].delete_many({})
    command("delete-orphans", "--apply", on=planned)
    run = the_run(planned)["_id"]
    row = planned[JOURNAL].find_one({"run_id": run}, {"before._id": 1, "before.session_id": 1})
    assert row is not None
    anew = {**row["before"], "event_count": Int64(7)}
    planned[SESSIONS].insert_one(anew)
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 5
    assert anew["session_id"] in ended.told
    assert state_of(planned, run)[1] == {"restored": ORPHANS - 1, "changed since": 1}
    found = planned[SESSIONS].find_one({"_id": anew["_id"]}, {"event_count": 1})
    assert found == {"_id": anew["_id"], "event_count": 7}


# Around the third batch of ten: the point, whether its command is carried out, what is written.
STOPS = {
    "before the write": (before_write(3), False, 20),
    "written and not committed": (before_move(3), True, 20),
    "before the commit": (before_commit(3), False, 20),
    "committed and not told": (before_commit(3), True, 30),
    "after the commit": (before_rows(4), False, 30),
}


@pytest.mark.parametrize(("point", "is_carried_out", "written"), STOPS.values(), ids=STOPS)
def test_an_interrupted_run_is_undone_with_all_that_it_committed(
    planned: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    is_carried_out: bool,
    written: int,
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    kill_at(point, hold, mongo_uri, planned, is_carried_out=is_carried_out)
    assert set(differing(planned, before)) == set(planned_keys(planned)[:written])
    ended = command("undo", run, on=planned)
    assert f"{written} sessions would be restored\n" in ended.out, ended.told
    ended = command("undo", run, "--apply", "--break-lease", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": written})


@pytest.mark.parametrize(("point", "is_carried_out", "restored"), STOPS.values(), ids=STOPS)
def test_an_undo_that_was_killed_is_finished_by_the_next(
    planned: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    is_carried_out: bool,
    restored: int,
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    command("apply", run, on=planned)
    words = ("undo", run, "--apply", *SMALL)
    if point == STOPS["after the commit"][0]:
        point = before_rows(4, asked=0)  # an undo does not ask for the whole plan first
    kill_at(point, hold, mongo_uri, planned, *words, is_carried_out=is_carried_out)
    assert set(differing(planned, before)) == set(planned_keys(planned)[restored:])
    assert state_of(planned, run) == ("undoing", {"restored": restored})
    ended = command(*words, "--break-lease", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []
    assert state_of(planned, run) == ("undone", {"restored": BROKEN})


def test_an_undo_at_work_tells_its_own_progress_and_not_that_of_the_repair(
    planned: Db, command: Command, mongo_uri: str
) -> None:
    run_id = the_run(planned)["_id"]
    assert command("apply", run_id, on=planned).code == 0
    settings = Settings(mongo_uri, database=planned.name)
    with connected(settings) as store, held_lease(store, run_id) as lease:
        run = Run.find(store, run_id).held_by(lease.token, "undo")
        assert str(run_at_work(store)) == f"{run_id}  fix undoing  0/{BROKEN}"
        run.record(**{"undo.waiting": "waiting"})
        ten = [it["_id"] for it in planned[JOURNAL].find().sort("_id", 1).limit(10)][-1]
        told = {"state": "undoing", "undo.rows_per_second": 2, "undo.waiting": None}
        run.move("undo", "", ten, {"restored": 10}, None, **told)
        left = (BROKEN - 10) // 2
        assert str(run_at_work(store)) == (
            f"{run_id}  fix undoing  10/{BROKEN}, 2 rows/s, {left}s left"
        )
