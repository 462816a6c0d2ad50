"""A TTL index that would delete what is written, or put back: told before the first write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.harness.commands import Command
from tests.harness.documents import Db, Document, data_of, stored_bytes
from tests.harness.epochs import config_of
from tests.harness.runs import last_run
from tests.harness.shop import MORNING, Shop

pytestmark = pytest.mark.needs("many_runs")

TOLD = (
    "the TTL index '{}' of {}.sessions deletes a session 30d after its {}: up to {} as soon as {}, "
    "for good. Stopped before that. Drop the index, or raise its expireAfterSeconds; --allow-ttl "
    "lets them go."
)


@pytest.fixture(autouse=True)
def nothing_expires(mongo_client: MongoClient[Document]) -> Iterator[None]:
    mongo_client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    yield
    mongo_client.admin.command("setParameter", 1, ttlMonitorEnabled=True)


@pytest.fixture
def shop(db: Db) -> Db:
    """Three sessions without dates, whose events are of long ago but for those of one."""
    made = Shop(db)
    for name in ("old", "older", "young"):
        made.session(name)
        made.events(name, {0: "/a", 1: "/b"})
    dates = {"first_event_at": None, "last_event_at": None}
    db["sessions"].update_many({}, {"$set": dates})
    at = datetime.now(timezone.utc) - timedelta(days=1)
    db["events"].update_many({"session_id": "young"}, {"$set": {"timestamp": at}})
    return db


def expire(db: Db, path: str, **more: Any) -> str:
    return db["sessions"].create_index(path, expireAfterSeconds=30 * 86_400, **more)


def assert_stopped(command: Command, db: Db, told: str, *words: str) -> None:
    """Exit 4 with the line, and but for the history nothing was written."""
    before = data_of(db)
    ended = command(*words, on=db)
    assert (ended.code, ended.complaints) == (4, f"{words[0]}: {told}\n")
    assert data_of(db) == before


@pytest.mark.parametrize(
    ("path", "before"), [("last_event_at", [("fix",), ("fix", "--plan")]), ("first_event_at", [])]
)
def test_a_correction_that_would_be_deleted_stops_the_run(
    command: Command, shop: Db, path: str, before: list[tuple[str, ...]]
) -> None:
    told = TOLD.format(expire(shop, path), shop.name, path, "2 sessions", "written")
    for words in (*before, ("fix", "--apply")):
        assert_stopped(command, shop, told, *words)
    run = last_run(shop)
    assert (run["verdict"], run["error"]) == (4, f"BreakerTripped: {told}")
    assert command("fix", "--apply", "--allow-ttl", on=shop).code == 0
    assert [it["event_count"] for it in shop["sessions"].find()] == [2, 2, 2]


def test_a_declared_date_is_one_too(command: Command, shop: Db, tmp_path: Path) -> None:
    """Numbers are none: of the two that are old, one holds one."""
    file = tmp_path / "bought.toml"
    file.write_text('[[aggregates]]\nfield = "bought.at"\nis = "max"\nof = "bought"\n')
    how = ("--config", str(file), "--allow-absent", "bought.at")
    for name, value in (("old", MORNING), ("older", 7), ("young", datetime.now(timezone.utc))):
        shop["events"].update_many({"session_id": name}, {"$set": {"bought": value}})
    told = TOLD.format(expire(shop, "bought.at"), shop.name, "bought.at", "1 session", "{}")
    for words in (("fix", "--plan"), ("fix", "--apply")):
        assert_stopped(command, shop, told.format("written"), *words, *how)
    before = stored_bytes(shop)
    assert command("fix", "--apply", "--allow-ttl", *how, on=shop).code == 0
    undo = ("undo", last_run(shop)["_id"], "--apply")
    assert command(*undo, on=shop).code == 0  # no session had such a date before
    assert stored_bytes(shop) == before


def test_an_index_that_came_after_the_plan_stops_it_too(command: Command, shop: Db) -> None:
    assert command("fix", "--plan", on=shop).code == 3
    told = TOLD.format(
        expire(shop, "first_event_at"), shop.name, "first_event_at", "2 sessions", "written"
    )
    apply = ("apply", last_run(shop)["_id"])
    assert_stopped(command, shop, told, *apply)
    assert_stopped(command, shop, told, "resume", *apply[1:])
    assert command(*apply, "--allow-ttl", on=shop).code == 0


def test_a_session_that_a_partial_index_does_not_know_yet_is_counted(
    command: Command, shop: Db
) -> None:
    """Its old date stands already, and is to stay; it is by its count that the index meets it."""
    shop["sessions"].update_one({"session_id": "old"}, {"$set": {"first_event_at": MORNING}})
    rule = {"event_count": {"$gt": 0}}
    name = expire(shop, "first_event_at", partialFilterExpression=rule)
    told = TOLD.format(name, shop.name, "first_event_at", "2 sessions", "written")
    assert_stopped(command, shop, told, "fix", "--apply")


def test_a_filter_that_only_the_repaired_or_only_the_undone_meet_is_known(
    command: Command, shop: Db
) -> None:
    """No run writes the date. Of three that are old one has a state that the filter lets not pass.

    What the index has deleted so far, and what a run takes from it, is not its doing.
    """
    sessions = shop["sessions"]
    sessions.update_many({}, {"$set": {"made": {"at": MORNING}, "state": "done"}})
    sessions.update_one({"session_id": "old"}, {"$set": {"state": "open"}})
    expire(shop, "made.at", partialFilterExpression={"event_count": 0})
    rule = {"$and": [{"event_count": {"$gt": 1}}, {"state": "done"}], "pages": {"$exists": True}}
    name = sessions.create_index(
        [("made.at", -1)], expireAfterSeconds=30 * 86_400, partialFilterExpression=rule
    )
    told = TOLD.format(name, shop.name, "made.at", "2 sessions", "written")
    for words in (("fix",), ("fix", "--apply")):
        assert_stopped(command, shop, told, *words)
    sessions.drop_index(name)
    assert command("fix", "--plan", on=shop).code == 3
    expire(shop, "made.at", name=name, partialFilterExpression=rule)
    run = last_run(shop)["_id"]
    assert_stopped(command, shop, told, "apply", run)
    before = stored_bytes(shop)
    assert command("apply", run, "--allow-ttl", on=shop).code == 0
    told = TOLD.format("made.at_1", shop.name, "made.at", "3 sessions", "put back")
    assert_stopped(command, shop, told, "undo", run, "--apply")
    sessions.drop_index("made.at_1")
    assert command("undo", run, "--apply", on=shop).code == 0
    assert stored_bytes(shop) == before


def test_other_indexes_stop_nothing(command: Command, shop: Db) -> None:
    shop["sessions"].create_index("first_event_at")
    shop["sessions"].update_many({}, {"$set": {"made_at": MORNING}})
    expire(shop, "made_at")
    expire(shop, "made_at", name="of_empty", partialFilterExpression={"event_count": 0})
    expire(shop, "made_at", name="of_some", partialFilterExpression={"state": {"$exists": True}})
    shop["sessions"].create_index("last_event_at", expireAfterSeconds=2_000_000_000)
    assert command("fix", "--apply", on=shop).code == 0


def test_numbers_are_no_dates_to_such_an_index(command: Command, shop: Db, tmp_path: Path) -> None:
    """It lets them be, however old: so they stop nothing, neither a repair nor its undoing."""
    shop["events"].update_many({}, [{"$set": {"timestamp": {"$toLong": "$timestamp"}}}])
    for path in ("first_event_at", "last_event_at"):
        expire(shop, path)
    file = tmp_path / "dates.toml"
    file.write_text(config_of("epoch_ms", "epoch_ms"))
    how = ("--config", str(file))
    assert command("fix", "--apply", *how, on=shop).code == 0
    assert shop["sessions"].count_documents({"last_event_at": {"$type": "long"}}) == 3
    assert command("undo", last_run(shop)["_id"], "--apply", *how, on=shop).code == 0


def test_what_would_be_deleted_again_is_not_put_back(command: Command, db: Db) -> None:
    made = Shop(db)
    made.session("full", event_count=1, pages=["/a"])
    made.events("full", {0: "/a"})
    for name in ("orphan", "another"):
        made.session(name, more={"seen_at": MORNING})
    before = stored_bytes(db)
    assert command("delete-orphans", "--apply", "--max-delete", "100%", on=db).code == 0
    name = expire(db, "more.seen_at")
    told = TOLD.format(name, db.name, "more.seen_at", "2 sessions", "put back")
    undo = ("undo", last_run(db)["_id"], "--apply")
    assert_stopped(command, db, told, *undo)
    dry = command(*undo[:2], on=db)
    assert (dry.code, dry.complaints) == (4, f"undo: {told}\n")
    assert "2 sessions would be restored" in dry.out
    assert command(*undo[:2], "--allow-ttl", on=db).code == 0
    assert command(*undo, "--allow-ttl", on=db).code == 0
    assert stored_bytes(db) == before


def test_an_old_date_is_not_put_back_in_place_of_a_right_one(command: Command, db: Db) -> None:
    made = Shop(db)
    made.session("s")
    made.events("s", {0: "/a"})
    at = datetime.now(timezone.utc) - timedelta(days=1)
    db["events"].update_many({}, {"$set": {"timestamp": at}})
    assert command("fix", "--apply", on=db).code == 0
    told = TOLD.format(
        expire(db, "last_event_at"), db.name, "last_event_at", "1 session", "put back"
    )
    undo = ("undo", last_run(db)["_id"], "--apply")
    assert_stopped(command, db, told, *undo)
    assert command(*undo, "--allow-ttl", on=db).code == 0
    assert db["session_repair_runs"].count_documents({"state": "undone"}) == 1
