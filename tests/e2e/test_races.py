"""What happens to the data while a run is at work, forced at the very moment it matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from session_repair.errors import IncompleteRead
from session_repair.mongo.census import require_all_rows, take_census
from session_repair.repair import reading
from tests.harness.commands import Command, spark_submit
from tests.harness.documents import (
    JOURNAL,
    RUNS,
    SESSIONS,
    Document,
    data_of,
    decoded,
    stored_bytes,
)
from tests.harness.holds import Hook
from tests.harness.runs import the_run
from tests.harness.shop import Shop, minute

VISITS = {0: "/home", 1: "/cart"}
FIXED = {"event_count": 2, "pages": ["/home", "/cart"], "last_event_at": minute(1)}


@pytest.fixture
def made(db: Database[Document]) -> dict[str, Document]:
    """Seven sessions that have lost two events each, by name."""
    shop = Shop(db)
    names = (
        *("ingested", "annotated", "healed by another", "healed alike", "deleted"),
        *("left in peace", "given another name"),
    )
    sessions = {name: shop.session(name) for name in names}
    for name in names:
        shop.events(name, VISITS)
    return sessions


# The commands of a batch, each within its transaction: its first, its read, its write.
MOMENTS = {
    "before the batch": ("update", RUNS),
    "before its read": ("aggregate", SESSIONS),
    "before its write": ("update", SESSIONS),
}
moments = pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)


def act_once(
    db: Database[Document], moment: tuple[str, str], act: Callable[[], None]
) -> tuple[Hook, list[int]]:
    """A hook that acts once, right before that command of the first batch.

    It notes the number of each transaction in which the command is sent.
    """
    tries: list[int] = []
    command, collection = moment

    def hook(database: str, sent: Mapping[str, Any]) -> None:
        is_in_batch = database == db.name and sent.get("autocommit") is False
        if not is_in_batch or sent.get(command) != collection or sent["txnNumber"] in tries:
            return
        tries.append(sent["txnNumber"])
        if len(tries) == 1:
            act()

    return hook, tries


@moments
def test_a_session_changed_or_deleted_since_the_plan_is_left_as_it_is(
    db: Database[Document],
    made: dict[str, Document],
    command: Command,
    before_command: Callable[[Hook], None],
    moment: tuple[str, str],
) -> None:
    ingested = {"$inc": {"event_count": 1}, "$addToSet": {"pages": "/late"}}

    def traffic() -> None:
        db["sessions"].update_one({"session_id": "ingested"}, ingested)
        db["sessions"].update_one({"session_id": "healed by another"}, {"$set": {"pages": ["/x"]}})
        db["sessions"].update_one({"session_id": "healed alike"}, {"$set": FIXED})
        db["sessions"].delete_one({"session_id": "deleted"})
        renamed = {"$set": {"session_id": "another name"}}
        db["sessions"].update_one({"session_id": "given another name"}, renamed)

    hook, tries = act_once(db, moment, traffic)
    before_command(hook)
    ended = command("fix", "--database", db.name, "--apply")
    # What came after the transaction had begun made it fail, and it was tried again.
    assert len(tries) == (1 if moment == MOMENTS["before the batch"] else 2)
    assert (ended.code, ended.complaints) == (5, "")
    assert {doc["session_id"]: doc for doc in map(decoded, stored_bytes(db).values())} == {
        "ingested": {**made["ingested"], "event_count": 1, "pages": ["/late"]},
        "annotated": {**made["annotated"], **FIXED},
        "healed by another": {**made["healed by another"], "pages": ["/x"]},
        "healed alike": {**made["healed alike"], **FIXED},
        "left in peace": {**made["left in peace"], **FIXED},
        "another name": {**made["given another name"], "session_id": "another name"},
    }
    assert {line for line in ended.out.splitlines() if line.startswith(("✅", "⚠️", "ℹ️"))} == {
        "✅ Fixed 2 sessions",
        "ℹ️  1 already_right",
        "⚠️  3 skipped_changed",
        "⚠️  1 skipped_gone",
        "ℹ️  Found 0 orphan sessions (no events)",
        "⚠️  Not everything was done: run it again for what was skipped",
    }
    run = the_run(db)
    assert (run["state"], run["verdict"]) == ("done", 5)
    marks = {row["plan"]["session_id"]: row.get("outcome") for row in db[JOURNAL].find()}
    assert marks == {
        "ingested": "skipped_changed",
        "annotated": None,  # applied
        "healed by another": "skipped_changed",
        "healed alike": "already_right",
        "deleted": "skipped_gone",
        "left in peace": None,
        "given another name": "skipped_changed",
    }
    counts = {"applied": 2, "already_right": 1, "skipped_changed": 3, "skipped_gone": 1}
    assert run["progress"]["counts"] == counts
    assert run["report"]["outcomes"] == {**counts, "planned": len(made), "failed": 0}


@moments
def test_a_field_of_no_concern_written_since_the_plan_survives_the_repair(
    db: Database[Document],
    made: dict[str, Document],
    command: Command,
    before_command: Callable[[Hook], None],
    moment: tuple[str, str],
) -> None:
    def note() -> None:
        db["sessions"].update_one({"session_id": "annotated"}, {"$set": {"note": "vip"}})

    hook, tries = act_once(db, moment, note)
    before_command(hook)
    ended = command("fix", "--database", db.name, "--apply")
    assert len(tries) == (1 if moment == MOMENTS["before the batch"] else 2)
    assert ended.code == 0
    session = db["sessions"].find_one({"session_id": "annotated"})
    assert session == {**made["annotated"], **FIXED, "note": "vip"}
    assert the_run(db)["progress"]["counts"] == {"applied": len(made)}


@pytest.mark.parametrize("reader", ["read_sessions", "read_events"])
def test_a_lost_row_stops_the_run_before_any_write(
    db: Database[Document],
    made: dict[str, Document],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    reader: str,
) -> None:
    whole = getattr(reading, reader)
    short = len(made) - 1 if reader == "read_sessions" else 2 * len(made) - 1
    monkeypatch.setattr(reading, reader, lambda *given: whole(*given).limit(short))
    before = data_of(db)
    ended = command("fix", "--database", db.name, "--apply")
    assert ended.code == 1
    assert ended.complaints == (
        f"fix: Spark read {short} documents of {reader.removeprefix('read_')!r} where the server "
        f"counts {short + 1} before and {short + 1} after. Nothing was written; run it again.\n"
    )
    assert data_of(db) == before


@pytest.mark.parametrize("rows", [0, 13, 15])
def test_rows_other_than_the_server_counts_are_refused(
    db: Database[Document], made: dict[str, Document], rows: int
) -> None:
    mark = datetime.now(timezone.utc).replace(microsecond=0)
    census = take_census(db["events"], {}, mark, {})
    require_all_rows(census, 14)
    with pytest.raises(IncompleteRead, match=f"^Spark read {rows} documents of 'events'"):
        require_all_rows(census, rows)


def test_documents_that_come_and_go_during_the_read_are_no_lost_rows(
    db: Database[Document], made: dict[str, Document]
) -> None:
    mark = datetime.now(timezone.utc).replace(microsecond=0)
    census = take_census(db["sessions"], {}, mark, {})
    db["sessions"].insert_one({"_id": ObjectId(), "session_id": "new"})
    db["sessions"].delete_many({"session_id": {"$in": ["deleted", "ingested"]}})
    for rows in (7, 6, 5):
        require_all_rows(census, rows)
    for rows in (8, 4):
        with pytest.raises(IncompleteRead):
            require_all_rows(census, rows)


@pytest.mark.parametrize("verb", ["apply", "resume", "undo"])
def test_a_run_that_was_undone_before_the_lease_was_had_is_not_worked_on(
    db: Database[Document],
    made: dict[str, Document],
    command: Command,
    before_command: Callable[[Hook], None],
    mongo_uri: str,
    verb: str,
) -> None:
    before = stored_bytes(db)
    assert command("fix", "--plan", on=db).code == 3
    run = the_run(db)["_id"]
    others = [("apply", run), ("undo", run, "--apply")]
    if verb == "undo":
        assert command(*others.pop(0), on=db).code == 0
    left: list[Document] = []

    def act(database: str, sent: Mapping[str, Any]) -> None:
        if database != db.name or "findAndModify" not in sent:
            return  # else the run was found to be in order, and its lease is about to be taken
        for words in others:
            ended = spark_submit(*words, "--database", db.name, uri=mongo_uri)
            assert ended.code == 0, ended.told
        left.append(the_run(db))

    before_command(act)
    ended = command(verb, run, *(["--apply"] if verb == "undo" else []), on=db)
    is_undone = f"run {run} was undone before" if verb == "undo" else f"run {run} is undone, not"
    assert (ended.code, is_undone in ended.err) == (2, True), ended.told
    assert left == [the_run(db)]
    assert left[0]["state"] == "undone"
    assert stored_bytes(db) == before
