"""The write protocol: who wrote a session, in which state it is left, whatever breaks off when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from tests.harness.commands import PATIENCE, Command
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
    joined,
    put_in_place,
    stored_bytes,
)
from tests.harness.guide import BROKEN
from tests.harness.holds import (
    HeldHere,
    Hold,
    Point,
    before_commit,
    before_lease,
    before_move,
    before_read,
    before_rows,
    before_write,
    failing,
    held,
    held_here,
)
from tests.harness.nested import PARENTS, Nested
from tests.harness.runs import (
    heal,
    let_the_lease_expire,
    outcomes,
    plan_of,
    planned_keys,
    run_documents,
    the_run,
    writes_to,
)
from tests.harness.stops import SMALL, kill_at
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("many_runs")


def empty(db: Db, key: Any) -> None:
    """The session as the plan saw it, whoever did that."""
    db[SESSIONS].update_one({"_id": key}, {"$set": plan_of(db, key)["observed"]})


# Who wrote it


def test_a_session_that_somebody_healed_alike_is_not_taken_for_ours_and_survives_undo(
    planned: Db, command: Command
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[4]
    heal(planned, key)
    healed = stored_bytes(planned)[key]
    ended = command("apply", run, on=planned)
    assert ended.code == 0, ended.told
    assert "1 already_right\n" in ended.out
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "already_right": 1}
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


@pytest.mark.parametrize(("point", "written"), [(before_commit(2), 10), (before_rows(3), 20)])
def test_what_a_killed_run_committed_is_its_own_and_the_rest_is_looked_at_anew(
    planned: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    written: int,
) -> None:
    run = the_run(planned)["_id"]
    kill_at(point, hold, mongo_uri, planned)
    let_the_lease_expire(planned)
    keys = planned_keys(planned, run)
    raced, later = keys[15], keys[40]
    planned[SESSIONS].update_one({"_id": raced}, {"$inc": {"event_count": 1}})
    live = stored_bytes(planned)[raced]
    heal(planned, later)
    ended = command("resume", run, "--batch-size", "7", on=planned)
    is_ours = written == 20
    skipped = {} if is_ours else {"skipped_changed": 1}
    assert ended.code == (0 if is_ours else 5), ended.told
    expected = {"applied": BROKEN - 1 - len(skipped), "already_right": 1, **skipped}
    assert outcomes(planned, run) == the_run(planned)["progress"]["counts"] == expected
    left = {it["session_id"]: it["outcome"] for it in the_run(planned)["report"]["left"]}
    assert left == {
        plan_of(planned, later)["session_id"]: "already_right",
        **({} if is_ours else {plan_of(planned, raced)["session_id"]: "skipped_changed"}),
    }
    assert stored_bytes(planned)[raced] == live
    # What was written by the run and changed since is told, and not taken back.
    assert the_run(planned)["report"]["verification"]["moved_on"] == (1 if is_ours else 0)
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == (5 if is_ours else 0), ended.told
    assert stored_bytes(planned)[raced] == live


LIVE: list[Document] = [
    {"$set": {"pages": ["/live"]}},
    {"$inc": {"event_count": 1}},
    {"$set": {"event_count": Int64(0)}},
    {"$set": {"session_id": "renamed"}},
]


@contextmanager
def applied_at(db: Db, command: Command, point: Point, code: int) -> Iterator[HeldHere]:
    """Inside, the only run is applied as far as the point; at the end it goes on to that exit."""
    words = ("apply", the_run(db)["_id"], *SMALL)
    with ThreadPoolExecutor() as threads, held_here(db, point) as hold:
        applied = threads.submit(command, *words, on=db)
        hold.wait()
        yield hold
        hold.let_go()
        ended = applied.result()
    assert ended.code == code, ended.told


def test_a_session_changed_between_read_and_write_is_read_again_and_never_written(
    planned: Db, command: Command
) -> None:
    """Nor one that was deleted; one of which other fields changed is, and keeps them."""
    before, expected = stored_bytes(planned), recomputed_documents(planned)
    run, sessions, written = the_run(planned)["_id"], planned[SESSIONS], writes_to(planned)
    *changed, noted, gone = planned_keys(planned, run)[: len(LIVE) + 2]  # of the first batch
    with applied_at(planned, command, before_write(1), code=5):
        for key, change in zip(changed, LIVE, strict=True):
            sessions.update_one({"_id": key}, change)
        sessions.update_one({"_id": noted}, {"$set": {"note": "live"}})
        sessions.delete_one({"_id": gone})
        live = stored_bytes(planned)
    counts = {"applied": BROKEN - 5, "skipped_changed": 4, "skipped_gone": 1}
    assert outcomes(planned, run) == the_run(planned)["progress"]["counts"] == counts
    assert writes_to(planned) - written == len(LIVE) + 2 + BROKEN - 5
    assert sessions.update_one({"_id": noted}, {"$unset": {"note": 1}}).modified_count == 1
    assert set(differing(planned, expected)) == {*changed, gone}
    assert command("undo", run, "--apply", on=planned).code == 0
    assert set(differing(planned, before)) == {*changed, gone}
    left = stored_bytes(planned)
    assert [left.get(key) for key in (*changed, gone)] == [
        live.get(key) for key in (*changed, gone)
    ]


def planned_fields(raw: bytes) -> Document:
    """What the fields hold that a run may write; some others hold what Python cannot."""
    session = RawBSONDocument(raw, RAW)
    return {name: session[name] for name in ("event_count", "pages", "user_id")}


@pytest.mark.parametrize("point", [before_move(1), before_commit(1)], ids=["move", "commit"])
def test_what_others_write_to_a_session_of_an_open_batch_comes_after_it(
    planned: Db, command: Command, point: Point
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[0]
    filled = planned_fields(expected[key])
    with ThreadPoolExecutor() as threads:
        with applied_at(planned, command, point, code=0):
            late = {"$inc": {"event_count": 1}, "$push": {"pages": "/late"}}
            written = threads.submit(planned[SESSIONS].update_one, {"_id": key}, late)
            with pytest.raises(NotYet):
                written.result(timeout=0.5)
        written.result(timeout=PATIENCE)
    assert outcomes(planned, run) == {"applied": BROKEN}
    assert differing(planned, expected) == [key]
    assert planned_fields(stored_bytes(planned)[key]) == {
        **filled,
        "event_count": filled["event_count"] + 1,
        "pages": [*filled["pages"], "/late"],
    }
    live = stored_bytes(planned)[key]
    assert command("undo", run, "--apply", on=planned).code == 5
    assert the_run(planned)["undo"]["counts"] == {"restored": BROKEN - 1, "changed since": 1}
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


@pytest.mark.parametrize(("point", "own"), [(before_commit(1), 0), (before_commit(2), 10)])
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
    kill_at(point, hold, mongo_uri, planned)
    let_the_lease_expire(planned)
    assert command("fix", "--apply", on=planned).code == 0
    assert differing(planned, expected) == []
    for words in ((), ("--apply",)):
        ended = command("undo", run, *words, on=planned)
        assert (ended.code, "wrote no session" in ended.told) == (0, not own), ended.told
    assert set(differing(planned, expected)) == set(keys[:own])
    assert [stored_bytes(planned)[key] for key in keys[:own]] == [before[k] for k in keys[:own]]
    assert run_documents(planned)[0]["state"] == ("undone" if own else "planned")


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
    words = ("undo", run, "--apply", *SMALL)
    kill_at(before_commit(3), hold, mongo_uri, planned, *words)
    restored = [key for key in differing(planned, expected) if key in before]
    assert len(restored) == 20
    let_the_lease_expire(planned)
    assert command("fix", "--apply", on=planned).code == 0
    assert differing(planned, expected) == []
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 0, ended.told
    # The twenty that were restored were healed anew, by another run.
    assert set(differing(planned, before)) == set(restored)
    assert [stored_bytes(planned)[key] for key in restored] == [expected[k] for k in restored]


# A batch that broke off, and another run


def test_a_run_that_broke_off_is_undone_by_its_own_settings_whatever_ran_since(
    db: Db, nested: Nested, mongo_uri: str, hold: Hold, command: Command
) -> None:
    run, before = the_run(db)["_id"], stored_bytes(db)
    words = ("--config", nested.config, "--batch-size", "3")
    kill_at(before_rows(2), hold, mongo_uri, db, "apply", run, *words)
    let_the_lease_expire(db)
    progress = the_run(db)["progress"]
    assert progress["counts"] == {"applied": 3}
    # A run under other names of fields takes the lease over; one session has these.
    other = {"event_count": 1, "pages": ["/a"], "first_event_at": None, "last_event_at": None}
    plain = db[SESSIONS].insert_one({"session_id": "plain", "user_id": ObjectId(), **other})
    assert command("delete-orphans", "--apply", "--max-delete", "0", on=db).code == 0
    db[SESSIONS].delete_one({"_id": plain.inserted_id})
    assert outcomes(db, run) == {"applied": 3, "none": len(PARENTS) - 3}
    assert run_documents(db)[0]["progress"] == progress
    assert nested("undo", "--apply").code == 0
    assert stored_bytes(db) == before


def test_a_batch_that_broke_off_keeps_nothing_from_the_next_run_whatever_that_is_about(
    shop: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected = recomputed_documents(shop)
    broken = shop[SESSIONS].find({"event_count": 0}, {"session_id": 1}, limit=9)
    named = [word for it in broken for word in ("--session-id", it["session_id"])]
    shop["events"].create_index("timestamp")
    shop[SESSIONS].create_index("last_event_at")
    assert command("fix", "--plan", *named, on=shop).code == 3
    kill_at(before_move(1), hold, mongo_uri, shop, is_carried_out=True)
    ended = command("fix", "--apply", "--since", "3650d", "--break-lease", on=shop)
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


OTHER_TYPES: list[Document] = [
    {"$set": {"event_count": Int64(0)}},
    {"$set": {"event_count": 0.0}},
    {"$set": {"event_count": -0.0}},
    {"$set": {"event_count": None}},
    {"$unset": {"event_count": 1}},
    {"$set": {"pages": None}},
    {"$unset": {"pages": 1}},
]


def test_a_field_of_another_type_is_another_value(planned: Db, command: Command) -> None:
    before, run, sessions = stored_bytes(planned), the_run(planned)["_id"], planned[SESSIONS]
    *changed, other = planned_keys(planned, run)[: len(OTHER_TYPES) + 1]
    for key, change in zip(changed, OTHER_TYPES, strict=True):
        sessions.update_one({"_id": key}, change)
    retyped = stored_bytes(planned)
    assert command("apply", run, on=planned).code == 5
    counts = {"applied": BROKEN - len(OTHER_TYPES), "skipped_changed": len(OTHER_TYPES)}
    assert outcomes(planned, run) == counts
    assert [stored_bytes(planned)[key] for key in changed] == [retyped[key] for key in changed]
    # And the same for the result, when it is undone.
    as_double = [{"$set": {"event_count": {"$toDouble": "$event_count"}}}]
    sessions.update_one({"_id": other}, as_double)
    retyped = stored_bytes(planned)
    assert command("undo", run, "--apply", on=planned).code == 5
    assert set(differing(planned, before)) == {*changed, other}
    assert [stored_bytes(planned)[key] for key in (*changed, other)] == [
        retyped[key] for key in (*changed, other)
    ]


@pytest.fixture
def nested(db: Db, command: Command, tmp_path: Path) -> Nested:
    return Nested.planned(db, command, tmp_path)


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


def test_a_session_whose_parents_changed_is_not_written_at_all(db: Db, nested: Nested) -> None:
    run = the_run(db)["_id"]
    other: dict[str, Document] = {
        "all absent": {"$set": {"stats": 7}},
        "all null": {"$unset": {"stats": 1}},
        "all there": {"$set": {"stats": []}},
        "half": {"$set": {"first": None}},
        "full": {"$set": {"stats.seen": [{"pages": []}]}},
    }
    with ThreadPoolExecutor() as threads, held_here(db, before_write(1)) as hold:
        applied = threads.submit(nested, "apply")
        hold.wait()
        for name, change in other.items():
            db[SESSIONS].update_one({"session_id": name}, change)
        changed, writes = stored_bytes(db), writes_to(db)
        hold.let_go()
        assert applied.result().code == 5, applied.result().told
    assert outcomes(db, run) == {"applied": 1, "skipped_changed": 5}
    names = {session["_id"]: session["session_id"] for session in db[SESSIONS].find()}
    assert [names[key] for key in differing(db, changed)] == ["with other things"]
    assert writes_to(db) == writes + 1  # a guard that fails writes nothing, not even to the oplog


# Fields that stand twice: MongoDB holds them, and shows the first or the last

TWICE: list[Document] = [
    {"event_count": 3},
    {"event_count": 0},  # the very same, once more
    {"pages": ["/x"]},
    {"first_event_at": None},
    {"last_event_at": None},
    {"user_id": ObjectId()},
    {"session_id": "another"},
]


@pytest.mark.parametrize("when", ["before apply", "before undo"])
def test_a_session_in_which_a_field_stands_twice_is_neither_written_nor_put_back(
    planned: Db, command: Command, when: str
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    keys = planned_keys(planned, run)[20:]
    if when == "before undo":
        assert command("apply", run, on=planned).code == 0
    stored = stored_bytes(planned)
    twice = {key: joined(stored[key], more) for key, more in zip(keys, TWICE, strict=False)}
    for key, document in twice.items():
        put_in_place(planned, key, document)
    if when == "before apply":
        assert command("apply", run, on=planned).code == 5
        counts = {"applied": BROKEN - len(TWICE), "skipped_changed": len(TWICE)}
        assert outcomes(planned, run) == the_run(planned)["progress"]["counts"] == counts
        assert command("undo", run, "--apply", on=planned).code == 0
    else:
        assert command("undo", run, "--apply", on=planned).code == 5
        counts = {"restored": BROKEN - len(TWICE), "changed since": len(TWICE)}
        assert the_run(planned)["undo"]["counts"] == counts
    assert set(differing(planned, before)) == set(twice)
    left = stored_bytes(planned)
    assert [left[key] for key in twice] == [bytes(it.raw) for it in twice.values()]


def test_another_field_that_stands_twice_stays_so_and_keeps_no_session_from_its_repair(
    planned: Db, command: Command
) -> None:
    run, key = the_run(planned)["_id"], planned_keys(planned)[20]
    notes = ({"note": 1, "deep": {"a": 1}}, {"note": 2, "deep": {"b": [2]}})
    whole = recomputed_documents(planned)
    expected = {**whole, key: bytes(joined(whole[key], *notes).raw)}
    put_in_place(planned, key, joined(stored_bytes(planned)[key], *notes))
    before = stored_bytes(planned)
    assert command("apply", run, on=planned).code == 0
    assert differing(planned, expected) == []
    assert outcomes(planned, run) == {"applied": BROKEN}
    assert command("undo", run, "--apply", on=planned).code == 0
    assert differing(planned, before) == []


def doubled_within(db: Db, name: str, path: list[str], more: Document) -> Any:
    """A session gets fields more in what stands at the path; its _id."""

    def grown(raw: bytes, path: list[str]) -> RawBSONDocument:
        if not path:
            return joined(raw, more)
        fields = RawBSONDocument(raw)
        return joined(
            *(
                {field: grown(fields[field].raw, path[1:])}
                if field == path[0]
                else {field: fields[field]}
                for field in fields
            )
        )

    session = db[SESSIONS].find_one({"session_id": name}, {"_id": 1})
    assert session is not None
    put_in_place(db, session["_id"], grown(stored_bytes(db)[session["_id"]], path))
    return session["_id"]


# Of what nested fields stand in: what of it stands twice, and whether one of ours does.
NESTED_TWICE: dict[str, tuple[list[str], Document, bool]] = {
    "all absent": ([], {"note": "m"}, False),
    "all null": ([], {"owner": None}, True),
    "all there": ([], {"stats": {"seen": {}}}, True),
    "with other things": (["stats", "seen"], {"a": 2}, False),
    "half": (["stats"], {"seen": {}}, True),
    "full": (["stats", "seen"], {"pages": ["/x"]}, True),
}


@pytest.mark.parametrize("when", ["before apply", "before undo"])
def test_what_nested_fields_stand_in_may_not_stand_twice_and_what_is_beside_them_may(
    db: Db, nested: Nested, when: str
) -> None:
    first = stored_bytes(db)
    if when == "before undo":
        assert nested("apply").code == 0
    doubled = {
        name: doubled_within(db, name, path, more) for name, (path, more, _) in NESTED_TWICE.items()
    }
    before = stored_bytes(db)
    ours = [doubled[name] for name, (*_, is_ours) in NESTED_TWICE.items() if is_ours]
    others = [key for key in doubled.values() if key not in ours]
    if when == "before apply":
        assert nested("apply").code == 5
        assert outcomes(db) == {"applied": len(others), "skipped_changed": len(ours)}
        assert set(differing(db, before)) == set(others)
        assert nested("undo", "--apply").code == 0
        assert differing(db, before) == []
        return
    assert nested("undo", "--apply").code == 5
    counts = {"restored": len(others), "changed since": len(ours)}
    assert the_run(db)["undo"]["counts"] == counts
    assert set(differing(db, before)) == set(others)
    for name, key in doubled.items():
        path, more, is_ours = NESTED_TWICE[name]
        if not is_ours:  # as before the run, but for what stands twice since
            after = stored_bytes(db)[key]
            put_in_place(db, key, RawBSONDocument(first[key]))
            doubled_within(db, name, path, more)
            assert stored_bytes(db)[key] == after


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
        assert (
            f"  {session_id}  refused by MongoDB, left alone: Document failed validation"
            in ended.told
        )
        assert '"operatorName": "$or"' in ended.told  # the rule that it would break
        assert differing(planned, before) == [key]
        row = planned[JOURNAL].find_one({"undo": "refused by MongoDB"})
        assert row is not None
        assert (row["plan"]["session"]["v"], row["outcome" if "outcome" in row else "undo"]) == (
            key,
            "refused by MongoDB",
        )
        assert "Document failed validation" in row["error"]
        assert (the_run(planned)["state"], the_run(planned)["verdict"]) == ("undoing", 5)
    finally:
        planned.command("collMod", SESSIONS, validator={}, validationLevel="strict")
    # What was refused then is no more.
    assert command("undo", run, "--apply", on=planned).code == 0
    assert differing(planned, before) == []
    assert (the_run(planned)["state"], the_run(planned)["error"]) == ("undone", None)
    assert the_run(planned)["undo"]["counts"] == {"restored": BROKEN}
    assert planned[JOURNAL].count_documents({"undo": {"$exists": True}}) == 0


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
    reasons = {
        hashed: "Error: hashed indexes do not currently support array values. "
        "Found array at path: pages",
        parallel: "cannot index parallel arrays [tags] [pages]",
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
    assert "WriteConflict" in left["error"]


@contextmanager
def written_without_pause(db: Db, key: Any, change: Document) -> Iterator[list[int]]:
    """Beside it all, one writer changes one session as often as it can; then, how often it did."""
    is_over, done = Event(), [0]

    def write() -> None:
        while not is_over.is_set():
            assert db[SESSIONS].update_one({"_id": key}, change).modified_count == 1
            done[0] += 1

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(write)
        try:
            yield done
        finally:
            is_over.set()
            writing.result(timeout=PATIENCE)


def test_a_session_that_is_written_without_a_pause_starves_nobody(
    planned: Db, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[41]
    with written_without_pause(planned, key, {"$inc": {"hits": 1}}) as done:
        ended = command("apply", run, "--batch-size", "20", on=planned)
        during = done[0]
    assert ended.code in (0, 5), ended.told
    # It may get a moment between two writes, or none for five seconds: then it fails alone.
    counts = outcomes(planned, run)
    assert counts in ({"applied": BROKEN}, {"applied": BROKEN - 1, "failed": 1})
    assert differing(planned, expected) == [key]
    session = planned[SESSIONS].find_one({"_id": key}, ["hits", "event_count"])
    assert session is not None
    assert session["hits"] == done[0] >= during > 10
    planned[SESSIONS].update_one({"_id": key}, {"$unset": {"hits": 1}})
    assert (differing(planned, expected) == []) is (ended.code == 0)


def test_a_session_that_is_always_written_before_its_batch_is_fails_alone(
    planned: Db, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[41]
    with (
        held(planned, before_write(1), seconds=0.2),
        written_without_pause(planned, key, {"$inc": {"hits": 1}}) as done,
    ):
        ended = command("apply", run, "--batch-size", "20", on=planned)
        during = done[0]
    assert ended.code == 5, ended.told
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "failed": 1}
    (left,) = the_run(planned)["report"]["left"]
    assert left["session_id"] == plan_of(planned, key)["session_id"]
    assert left["error"].startswith("WriteConflict")
    assert differing(planned, expected) == [key]
    session = planned[SESSIONS].find_one({"_id": key}, ["hits", "event_count"])
    assert session is not None
    assert session["hits"] == done[0] >= during > 10
    assert session["event_count"] == 0


def test_a_session_that_is_counted_without_a_pause_is_skipped_and_its_count_is_whole(
    planned: Db, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    key = planned_keys(planned, run)[41]
    with written_without_pause(planned, key, {"$inc": {"event_count": 1}}) as done:
        ended = command("apply", run, "--batch-size", "20", on=planned)
    assert ended.code == 5, ended.told
    assert outcomes(planned, run) == {"applied": BROKEN - 1, "skipped_changed": 1}
    assert differing(planned, expected) == [key]
    session = planned[SESSIONS].find_one({"_id": key}, ["event_count", "pages"])
    assert session is not None
    assert (session["event_count"], session["pages"]) == (done[0], [])


def test_an_error_that_all_rows_meet_alike_is_that_of_the_run(
    planned: Db, command: Command
) -> None:
    before, expected = stored_bytes(planned), recomputed_documents(planned)
    run = the_run(planned)["_id"]
    with failing(planned, before_read(2), {"skip": 1}, errorCode=8):
        ended = command("apply", run, *SMALL, on=planned)
    assert (ended.code, "MongoDB answered with an error" in ended.told) == (1, True), ended.told
    assert len(differing(planned, before)) == 10
    assert outcomes(planned, run) == {"applied": 10, "none": BROKEN - 10}
    assert the_run(planned)["progress"]["counts"] == {"applied": 10}
    assert command("resume", run, on=planned).code == 0
    assert differing(planned, expected) == []


COMMANDS = {
    "rows": before_rows(2),
    "lease": before_lease(2),
    "read": before_read(2),
    "write": before_write(2),
    "move": before_move(2),
    "commit": before_commit(2),
}


@pytest.mark.parametrize("point", COMMANDS.values(), ids=COMMANDS)
def test_a_command_whose_connection_breaks_is_repeated(
    planned: Db, command: Command, point: Point
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    written = writes_to(planned)
    with (
        ThreadPoolExecutor() as threads,
        failing(planned, point, {"skip": point.skip}, closeConnection=True) as fails,
    ):
        broken = threads.submit(fails, 3)  # the driver itself sends a command twice
        ended = command("apply", run, *SMALL, on=planned)
        broken.result()
    assert ended.code == 0, ended.told
    assert differing(planned, expected) == []
    assert writes_to(planned) - written == BROKEN
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
    planned: Db, command: Command, edit: Document, why: str
) -> None:
    run = the_run(planned)["_id"]
    with ThreadPoolExecutor() as threads, held_here(planned, before_rows(3)) as hold:
        applied = threads.submit(command, "apply", run, on=planned)
        hold.wait()  # it reads its journal again
        planned[JOURNAL].update_one({}, edit)
        hold.let_go()
        ended = applied.result()
    assert (ended.code, why in ended.told) == (1, True), ended.told
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
        **dict.fromkeys(("already_right", "skipped_changed", "skipped_gone", "failed"), 0),
    }
    assert the_run(planned)["progress"]["last_at"] - the_run(planned)["progress"][
        "first_at"
    ] < timedelta(minutes=5)
