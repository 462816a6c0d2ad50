"""Deletion of orphans: only what is empty, old and without any event at the very end."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bson
import pandas
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.binary import UuidRepresentation
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from demo.ingest import new_event, new_session
from session_repair.home import COMMAND
from tests.harness.commands import Command, reported, started
from tests.harness.documents import (
    JOURNAL,
    RUNS,
    SESSIONS,
    Db,
    Document,
    Snapshot,
    made_once,
    stored_bytes,
)
from tests.harness.holds import Hold, Hook, Point, before_commit, held_here
from tests.harness.runs import last_run, let_the_lease_expire, outcomes, planned_keys
from tests.harness.shop import made_at

LONG_AGO = datetime(2025, 10, 1, 12, tzinfo=timezone.utc)
USER = ObjectId("68f248fd0b0aa1706983ef11")
DRY = ("delete-orphans", "--max-delete", "100%")
APPLY = (*DRY, "--apply")
ODD = ("--max-malformed", "100%")  # half of these events have ids of other types
CONDEMNED = "condemned"


def now() -> datetime:
    """Asked when it is used: the tests may have begun an hour ago."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def id_made(made: datetime) -> str:
    """The digits of an ObjectId of that time, and of no other."""
    return str(ObjectId.from_datetime(made))[:8] + str(ObjectId())[8:]


def session_of(made: datetime, **snippet: Any) -> Document:
    sid = id_made(made)
    return {**new_session(sid, USER, made, "client"), **snippet}


def event_of(session: Document, **snippet: Any) -> Document:
    sid = session["session_id"]
    return {
        **new_event(ObjectId(), USER, sid, LONG_AGO, "/home", "page_view", {}, "client"),
        **snippet,
    }


def sound_one(db: Db) -> None:
    """One session that is as its one event says."""
    sound = session_of(LONG_AGO, event_count=1, pages=["/home"])
    event = event_of(sound)
    db["events"].insert_one({**event, "_id": ObjectId.from_datetime(LONG_AGO)})
    db["sessions"].insert_one({**sound, "last_event_at": LONG_AGO})


def orphans(db: Db, number: int) -> list[Any]:
    """The _ids of that many old orphans, beside one sound session with its event."""
    sound_one(db)
    # Values and an order of fields that a careless copy would lose.
    odd: Document = {"zip": Int64(7), "amount": Decimal128("1.50"), "at": {"b": 1, "a": [None]}}
    made = [session_of(LONG_AGO + timedelta(hours=n), **odd) for n in range(number)]
    db["sessions"].insert_many(made)
    return [session["_id"] for session in made]


# The commands of a batch of orphans, in one transaction: who names them, what they are, delete.
# Once it is committed, who names them is asked again.
ASKED, DELETED = Point("aggregate", "events"), Point("delete", SESSIONS)
ASKED_AGAIN = Point("aggregate", "events", skip=1)


def planned_deletion(command: Command, db: Db, options: Sequence[str]) -> str:
    """A run that is a plan."""
    assert command(*options, "--plan", on=db).code == 3
    assert (last_run(db)["state"], outcomes(db).keys()) == ("planned", {"none"})
    return str(last_run(db)["_id"])


@contextmanager
def applying(
    command: Command, db: Db, *options: str, point: Point | None = None, code: int = 5
) -> Iterator[None]:
    """Inside, the last run is planned, or held at the point; at the end it goes on to that exit."""
    words = ("apply", last_run(db)["_id"], *options)
    if point is None:
        yield
        assert command(*words, on=db).code == code
        return
    with (
        ThreadPoolExecutor() as threads,
        held_here(db, point) as hold,
    ):
        deleted = threads.submit(command, *words, on=db)
        hold.wait()
        yield
        hold.let_go()
        assert deleted.result().code == code


@pytest.fixture(scope="module")
def plan_of_eight(mongo_client: MongoClient[Document], command: Command) -> Iterator[Snapshot]:
    """Eight orphans and the plan to delete them, made once."""

    def make(db: Db) -> None:
        orphans(db, 8)
        planned_deletion(command, db, DRY)

    with made_once(mongo_client[CONDEMNED], make) as made:
        yield made


@pytest.fixture
def condemned(plan_of_eight: Snapshot) -> Db:
    """Eight orphans whose deletion is planned and not begun, the same for each test."""
    return plan_of_eight.restored()


def test_a_plan_says_what_would_go_and_how_it_is_applied_under_its_own_settings(
    command: Command, db: Db, tmp_path: Path
) -> None:
    keys = orphans(db, 8)
    before = stored_bytes(db)
    page, told = tmp_path / "page.html", tmp_path / "told.json"
    ended = command(*DRY, "--plan", "--html", f"{page}", "--json", f"{told}", on=db)
    report = json.loads(told.read_text())
    assert report["deletions"] == [
        {"session_key": {"$oid": str(key)}, "session_id": str(key), "canonical_key": None}
        for key in keys
    ]
    listed = page.read_text().partition("<h2>What would be deleted</h2>")[2].partition("</table>")
    assert [listed[0].count(str(key)) for key in keys] == [2] * 8
    run = last_run(db)["_id"]
    apply = f"Apply this plan with: {COMMAND} apply {run} --database {db.name}"
    assert (ended.code, ended.out.splitlines()[3:]) == (
        3,
        [
            "Found 8 orphan sessions (no events)",
            "",
            "Planned to delete 8 sessions. Nothing was written to them.",
            *(f"  {key}" for key in keys[:5]),
            apply,
        ],
    )
    assert (last_run(db)["state"], outcomes(db), stored_bytes(db)) == (
        "planned",
        {"none": 8},
        before,
    )
    younger = tmp_path / "younger.toml"
    younger.write_text('min_age = "1h"\n')
    for verb in ("apply", "resume"):
        refused = command(verb, run, "--config", str(younger), on=db)
        why = f'run {run} was planned with min_age = "1d", now it is "1h".'
        assert (refused.code, why in refused.err) == (2, True)
        stale = command(verb, run, "--plan-ttl", "1ms", on=db)
        assert (stale.code, "--plan-ttl allows 1ms. Plan again." in stale.err) == (2, True)
    both = command(*DRY, "--plan", "--apply", on=db)
    assert (both.code, "--plan and --apply exclude each other" in both.err) == (2, True)
    assert stored_bytes(db) == before
    db["sessions"].update_one({"_id": keys[0]}, {"$set": {"last_event_at": now()}})
    assert command("apply", run, on=db).code == 5
    assert outcomes(db) == {"applied": 7, "skipped_changed": 1}
    assert db["sessions"].count_documents({"_id": {"$in": keys}}) == 1


def planned_ids(db: Db) -> list[Any]:
    """The _ids of the sessions that the plan deletes."""
    return planned_keys(db, last_run(db)["_id"])


def test_a_dry_run_of_deletion_writes_nothing(command: Command, db: Db) -> None:
    orphans(db, 4)
    before = stored_bytes(db)
    assert command("delete-orphans", "--max-delete", "100%", on=db).code == 0
    assert stored_bytes(db) == before
    assert sorted(db.list_collection_names()) == ["events", "sessions"]


def listed_in(folder: Path, run: str, *columns: str) -> dict[str, list[Any]]:
    """By the _id of each document that a run was to delete, these columns of its row."""
    summary = pandas.read_parquet(folder / "summary")
    assert set(summary["run_id"].astype(str)) == {run}
    rows = pandas.read_parquet(folder / "deletions")
    assert (set(rows["run_id"].astype(str)), set(rows["session_type"])) == ({run}, {"objectId"})
    return dict(zip(rows["session"], rows[[*columns]].to_numpy().tolist(), strict=True))


def test_only_empty_old_sessions_without_events_are_deleted_and_undo_restores_every_byte(
    command: Command, db: Db, tmp_path: Path
) -> None:
    gone = orphans(db, 4)
    kept = [
        session_of(now() - timedelta(hours=23)),
        session_of(LONG_AGO, last_event_at=now() - timedelta(hours=23)),
        session_of(LONG_AGO, event_count=3),  # a phantom: its events may have been archived
        session_of(LONG_AGO, pages=["/home"]),
    ]
    with_event = session_of(LONG_AGO)
    db["sessions"].insert_many([*kept, with_event])
    db["events"].insert_one(event_of(with_event, timestamp=now()))
    old_enough = session_of(now() - timedelta(hours=25))
    db["sessions"].insert_one(old_enough)
    before = stored_bytes(db)

    code, report = reported(command, *APPLY, "--report", str(tmp_path), on=db)
    gone.append(old_enough["_id"])
    rows = {str(key): [str(key), None, "applied"] for key in gone}
    assert listed_in(tmp_path, report["run_id"], "session_id", "canonical", "outcome") == rows
    assert (code, report["outcomes"]["applied"], report["outcomes"]["planned"]) == (0, 5, 5)
    after = stored_bytes(db)
    assert after == {key: before[key] for key in before if key not in gone}
    kept_whole = {row["before"]["_id"]: row["before"] for row in db[JOURNAL].find()}
    assert sorted(kept_whole) == sorted(gone)

    run_id = report["run_id"]
    assert command("undo", run_id, on=db).code == 0
    assert stored_bytes(db) == after  # undoing is a dry run too
    assert command("undo", run_id, "--apply", on=db).code == 0
    assert stored_bytes(db) == before


def test_more_orphans_than_max_delete_stop_the_run_before_it_writes(
    command: Command, db: Db
) -> None:
    """By default, more than 5 %; what a limit allows is told in tests/unit/test_limits.py."""
    orphans(db, 4)
    before = stored_bytes(db)
    ended = command("delete-orphans", "--apply", on=db)
    assert (ended.code, ended.out) == (4, "")
    assert "4 of 5 sessions are in the plan, --max-delete 5% allows 1." in ended.err
    assert stored_bytes(db) == before
    assert (last_run(db)["verdict"], last_run(db)["state"]) == (4, "stopped")
    assert outcomes(db) == {"none": 4}
    for verb in ("apply", "resume"):
        assert command(verb, "last", on=db).code == 4
    assert stored_bytes(db) == before
    assert command("apply", "last", "--max-delete", "4", on=db).code == 0
    assert db["sessions"].count_documents({}) == 1


def test_what_happened_between_plan_and_deletion_saves_a_session(
    command: Command, condemned: Db
) -> None:
    """An event in any spelling, another name, what the plan observed; and nothing else does."""
    db, keys = condemned, planned_ids(condemned)
    visited, spelled, listed, filled, renamed, vanished, touched, other = keys
    with applying(command, db):
        for session_id in (str(visited), spelled, [str(listed), 5]):
            db["events"].insert_one(event_of({"session_id": session_id}))
        db["sessions"].update_one({"_id": filled}, {"$inc": {"event_count": 1}})
        db["sessions"].update_one({"_id": renamed}, {"$set": {"session_id": "another"}})
        db["sessions"].update_one({"_id": touched}, {"$set": {"note": "by support"}})
        db["sessions"].delete_one({"_id": vanished})
        before = stored_bytes(db)
    assert outcomes(db) == {"applied": 2, "skipped_changed": 5, "skipped_gone": 1}
    left = last_run(db)["report"]["left"]
    assert [it["outcome"] for it in left] == ["skipped_changed"] * 5 + ["skipped_gone"]
    assert stored_bytes(db) == {k: it for k, it in before.items() if k not in (touched, other)}
    assert last_run(db)["state"] == "done"


@pytest.mark.parametrize(
    "point",
    [ASKED, DELETED, before_commit(1), ASKED_AGAIN],
    ids=["before it asks", "before it deletes", "before it commits", "before it asks again"],
)
def test_an_event_of_a_plain_insert_beside_the_deletion_brings_its_session_back(
    command: Command, condemned: Db, point: Point
) -> None:
    db, (saved, *others) = condemned, planned_ids(condemned)
    before = stored_bytes(db)
    with applying(command, db, point=point):
        # The transaction sees the events as they were when it began.
        db["events"].insert_one(event_of({"session_id": str(saved)}))
    assert outcomes(db) == {"applied": 7, "skipped_changed": 1}
    assert last_run(db)["progress"]["counts"] == outcomes(db)
    assert stored_bytes(db) == {k: before[k] for k in before if k not in others}


# By the text of a session_id: what other programs make of it, one for each type and order of bytes.
UUIDS = [uuid.UUID(int=number << 64 | number) for number in range(1, 6)]
SPELLED: dict[str, Any] = {
    "777": 777,
    "778": Int64(778),
    "779": 779.0,
    "780.5": 780.5,
    "781": Decimal128("781.0"),
    "0.1": 0.1,
    str(UUIDS[0]): Binary(UUIDS[0].bytes, 4),
    str(UUIDS[1]): Binary(UUIDS[1].bytes, 3),
    str(UUIDS[2]): Binary.from_uuid(UUIDS[2], UuidRepresentation.JAVA_LEGACY),
    str(UUIDS[3]): Binary(UUIDS[3].bytes_le, 3),
    str(UUIDS[4]): UUIDS[4].bytes,
    "listed": ["other", "listed"],
    "68F0000000000000000000AB": ObjectId("68f0000000000000000000ab"),
}
# The same of ids that are no text, whose events name them by one.
LEGACY = uuid.UUID(int=6 << 64 | 6)
AS_TEXT: list[tuple[Any, str]] = [
    (790, "790"),
    (Int64(791), "791.0"),
    (792.0, "792"),
    (Binary(LEGACY.bytes, 3), str(LEGACY)),
    (ObjectId("68f0000000000000000000cd"), "68F0000000000000000000CD"),
]
PAIRS = [*SPELLED.items(), *AS_TEXT]
OID = "68f0000000000000000000cd"
LEGACY_NAME = '{"$binary": {"base64": "AAAAAAAAAAYAAAAAAAAABg==", "subType": "03"}}'
KEPT = [
    {"types": "array", "sessions": 1, "samples": ["listed"]},
    {"types": "binData", "sessions": 5, "samples": [str(it) for it in UUIDS]},
    {"types": "decimal", "sessions": 1, "samples": ["781"]},
    {"types": "double", "sessions": 3, "samples": ["0.1", "779", "780.5"]},
    {"types": "int", "sessions": 1, "samples": ["777"]},
    {"types": "long", "sessions": 1, "samples": ["778"]},
    {"types": "objectId", "sessions": 1, "samples": ["68F0000000000000000000AB"]},
    {"types": "string", "sessions": 5, "samples": [OID, "790", "791", "792", LEGACY_NAME]},
]


def spelled(db: Db) -> None:
    """An old orphan for each spelling, but for the event that names it so."""
    made = [session_of(LONG_AGO + timedelta(days=1), session_id=own) for own, _ in PAIRS]
    db["sessions"].insert_many(made)


def spell(db: Db) -> None:
    """The events that name them."""
    db["events"].insert_many(
        {**event_of({"session_id": value}), "_id": made_at(LONG_AGO, 100 + number)}
        for number, (_, value) in enumerate(PAIRS)
    )


@pytest.mark.needs("many_runs")
def test_an_event_that_spells_the_id_in_another_type_keeps_its_session_out_of_the_plan(
    command: Command, db: Db, mongo_uri: str
) -> None:
    gone = orphans(db, 2)
    spelled(db)
    spell(db)
    # Of copies, too, whose are the events of another spelling?
    copies(db, "888", FULL, {})
    db["events"].insert_one({**event_of({"session_id": 888}), "_id": made_at(LONG_AGO, 99)})
    gone_copy = copies(db, "full", FULL, {})[1:]
    for name in (SESSIONS, "events"):
        db[name].create_index("session_id")
    for strategy in ("scan", "lookup"):
        code, report = reported(command, *DRY, *ODD, "--strategy", strategy, on=db)
        assert (code, report["totals"]["planned"], report["kept"]) == (0, 2, KEPT)
        code, report = reported(command, *DRY, *ODD, "--duplicates", "--strategy", strategy, on=db)
        kept = [{"types": "int", "sessions": 1, "samples": ["888"]}]
        assert (code, report["totals"]["planned"], report["kept"]) == (0, 1, kept)
    before = stored_bytes(db)
    told = command(*APPLY, *ODD, on=db, uri=f"{mongo_uri}&uuidRepresentation=standard")
    assert (told.code, last_run(db)["report"]["kept"]) == (0, KEPT)
    told = command(*COPIES, *ODD, on=db)
    assert told.code == 0
    left = {key: before[key] for key in before if key not in [*gone, *gone_copy]}
    assert stored_bytes(db) == left


def test_an_event_that_spells_the_id_in_another_type_saves_its_session_after_the_plan(
    command: Command, db: Db
) -> None:
    gone = orphans(db, 2)
    spelled(db)
    before = stored_bytes(db)
    planned_deletion(command, db, DRY)
    with applying(command, db):
        spell(db)
    assert outcomes(db) == {"applied": 2, "skipped_changed": len(PAIRS)}
    assert stored_bytes(db) == {key: before[key] for key in before if key not in gone}


@pytest.mark.parametrize("point", [ASKED, DELETED], ids=["before the read", "after the read"])
def test_what_is_written_to_a_session_up_to_its_deletion_is_what_undo_brings_back(
    command: Command, condemned: Db, point: Point
) -> None:
    """What was read before is not what is deleted: the transaction fails, and is tried again."""
    db, (touched, *_) = condemned, planned_ids(condemned)
    with applying(command, db, point=point, code=0):
        db["sessions"].update_one({"_id": touched}, {"$set": {"note": "by support"}})
        before = stored_bytes(db)
    assert outcomes(db) == {"applied": 8}
    kept = {row["before"]["_id"]: row["before"].get("note") for row in db[JOURNAL].find()}
    assert kept[touched] == "by support"
    assert db["sessions"].count_documents({}) == 1
    assert command("undo", last_run(db)["_id"], "--apply", on=db).code == 0
    assert stored_bytes(db) == before


def test_a_session_that_is_filled_beside_the_deletion_stays(
    command: Command, condemned: Db
) -> None:
    db, (filled, *others) = condemned, planned_ids(condemned)
    with applying(command, db, point=DELETED):
        db["sessions"].update_one({"_id": filled}, {"$inc": {"event_count": 1}})
        before = stored_bytes(db)
    assert outcomes(db) == {"applied": 7, "skipped_changed": 1}
    assert stored_bytes(db) == {key: before[key] for key in before if key not in others}


def test_a_deletion_killed_before_it_asks_again_does_so_when_it_is_resumed(
    command: Command, condemned: Db, mongo_uri: str, hold: Hold
) -> None:
    db, (early, late, *others) = condemned, planned_ids(condemned)
    before, run = stored_bytes(db), last_run(db)["_id"]
    hold.at(db, ASKED_AGAIN)
    with started(mongo_uri, db.name, "apply", run) as process:
        hold.wait()
        db["events"].insert_one(event_of({"session_id": str(early)}))
        process.kill()
    hold.kill()
    assert outcomes(db) == last_run(db)["progress"]["counts"] == {"applied": 8}
    assert db["sessions"].count_documents({}) == 1
    db["events"].insert_one(event_of({"session_id": str(late)}))
    let_the_lease_expire(db)
    assert command("resume", run, on=db).code == 5
    assert outcomes(db) == {"applied": 6, "skipped_changed": 2}
    assert last_run(db)["progress"]["counts"] == outcomes(db)
    assert stored_bytes(db) == {key: before[key] for key in before if key not in others}
    assert command("undo", run, "--apply", on=db).code == 0
    assert stored_bytes(db) == before


def test_a_session_that_was_made_anew_is_not_put_back_beside_it(
    command: Command, condemned: Db
) -> None:
    db, (again, *others) = condemned, planned_ids(condemned)
    with applying(command, db, point=ASKED_AGAIN, code=0):
        db["events"].insert_one(event_of({"session_id": str(again)}))
        anew = {"event_count": 1, "pages": ["/home"]}  # as an ingest does that misses its session
        db["sessions"].update_one({"session_id": str(again)}, {"$set": anew}, upsert=True)
    assert outcomes(db) == last_run(db)["progress"]["counts"] == {"applied": 8}
    (made,) = db["sessions"].find({"session_id": {"$in": list(map(str, (again, *others)))}})
    assert (made["session_id"], made["event_count"]) == (str(again), 1)


def test_a_document_that_cannot_be_put_back_is_named_and_stops_nothing(
    command: Command, condemned: Db
) -> None:
    db, (refused, *others) = condemned, planned_ids(condemned)
    before = stored_bytes(db)
    rule = {"_id": {"$ne": refused}}
    with applying(command, db, "--batch-size", "2", point=ASKED_AGAIN):
        db["events"].insert_one(event_of({"session_id": str(refused)}))
        db.command("collMod", SESSIONS, validator=rule, validationLevel="strict")
    db.command("collMod", SESSIONS, validator={}, validationLevel="strict")
    assert outcomes(db) == last_run(db)["progress"]["counts"] == {"applied": 7, "failed": 1}
    (left,) = last_run(db)["report"]["left"]
    assert left["error"].startswith("deleted, needed since, and not to be put back: ")
    row = db[JOURNAL].find_one({"outcome": "failed"})
    assert row is not None
    assert row["before"]["_id"] == refused
    assert stored_bytes(db) == {k: before[k] for k in before if k not in (refused, *others)}


def test_empty_sessions_without_a_session_id_end_as_an_outcome(command: Command, db: Db) -> None:
    orphans(db, 2)
    nameless = session_of(LONG_AGO)
    del nameless["session_id"]
    db["sessions"].insert_one(nameless)
    assert command(*APPLY, on=db).code in (0, 5)
    assert db[RUNS].find_one({"_id": last_run(db)["_id"]})["state"] == "done"  # type: ignore[index]


DRY_COPIES = (*DRY, "--duplicates", "--max-malformed", "100%")
COPIES = (*DRY_COPIES, "--apply")
FULL = {"event_count": 1, "pages": ["/home"], "last_event_at": LONG_AGO}


def copies(db: Db, session_id: str, *snippets: Document) -> list[Any]:
    """The _ids of documents of one session_id, the oldest first, beside an old event of theirs."""
    made = [
        session_of(LONG_AGO + timedelta(minutes=number), **{"session_id": session_id, **snippet})
        for number, snippet in enumerate(snippets)
    ]
    db["sessions"].insert_many(made)
    event = event_of({"session_id": session_id}, _id=ObjectId(id_made(LONG_AGO)))
    db["events"].insert_one(event)
    return [session["_id"] for session in made]


def test_only_empty_old_copies_are_deleted_and_the_unique_index_can_be_made(
    command: Command, db: Db, tmp_path: Path
) -> None:
    orphan = session_of(LONG_AGO)
    db["sessions"].insert_one(orphan)
    gone = copies(db, "one full", {}, FULL, {})
    full = gone.pop(1)
    empty, *more = copies(db, "all empty", {}, {}, {"pages": None}, {"event_count": Int64(0)}, {})
    _, fullest, last = copies(db, "two full", FULL, {**FULL, "event_count": 2}, {})
    gone += [*more, last]
    copies(db, "a young copy", FULL, {"_id": ObjectId.from_datetime(now() - timedelta(hours=23))})
    copies(db, "malformed", {**FULL, "event_count": 2.5}, {})
    copies(db, "malformed copy", FULL, {"pages": "/home"})
    copies(db, "an event just now", FULL, {})
    db["events"].insert_one(event_of({"session_id": "an event just now"}, timestamp=now()))
    before = stored_bytes(db)

    assert command(*DRY_COPIES, on=db).code == 0
    assert stored_bytes(db) == before  # a dry run
    code, report = reported(command, *DRY_COPIES, "--plan", "--report", str(tmp_path), on=db)
    assert (code, report["totals"]["planned"], stored_bytes(db)) == (3, 7, before)
    run_id = report["run_id"]
    stays = {str(gone[0]): full, str(gone[1]): full, str(gone[6]): fullest}
    stays |= {str(key): empty for key in gone[2:6]}
    rows = {key: [str(it), None] for key, it in stays.items()}
    assert listed_in(tmp_path, run_id, "canonical", "outcome") == rows
    listed = {it["session_key"]["$oid"]: it["canonical_key"] for it in report["deletions"]}
    assert listed == {key: {"$oid": str(it)} for key, it in stays.items()}
    code, report = reported(command, "apply", run_id, on=db)
    assert (code, report["outcomes"]["applied"], report["outcomes"]["planned"]) == (0, 7, 7)
    after = stored_bytes(db)
    assert after == {key: before[key] for key in before if key not in gone}
    assert command("undo", run_id, "--apply", on=db).code == 0
    assert stored_bytes(db) == before

    assert command(*COPIES, "--session-id", "all empty", on=db).code == 0
    unique = {"session_id": "all empty"}
    db["sessions"].create_index("session_id", unique=True, partialFilterExpression=unique)
    # Now the index keeps the copies out: undo says so and loses nothing.
    assert command("undo", last_run(db)["_id"], "--apply", on=db).code == 5
    assert db["sessions"].count_documents(unique) == 1


def test_a_copy_whose_canonical_document_has_gone_stays(command: Command, db: Db) -> None:
    kept, copy = copies(db, "s", FULL, {})
    _, other_copy = copies(db, "renamed", FULL, {})
    _, third_copy = copies(db, "sound", FULL, {})
    planned_deletion(command, db, DRY_COPIES)
    with applying(command, db):
        db["sessions"].delete_one({"_id": kept})
        db["sessions"].update_one(
            {"session_id": "renamed", "event_count": 1}, {"$set": {"session_id": "other"}}
        )
    left = {session["_id"] for session in db["sessions"].find()}
    assert {copy, other_copy} <= left
    assert third_copy not in left
    assert outcomes(db) == {"applied": 1, "skipped_changed": 2}


def test_a_canonical_document_deleted_beside_the_deletion_brings_its_copy_back(
    command: Command, db: Db
) -> None:
    kept, copy = copies(db, "s", FULL, {})
    before = stored_bytes(db)
    planned_deletion(command, db, DRY_COPIES)
    with applying(command, db, point=DELETED):
        # the transaction has seen the canonical document, and has not deleted yet
        db["sessions"].delete_one({"_id": kept})
    assert stored_bytes(db) == {copy: before[copy]}


# Documents of any kind and size


def raw(document: Document, old: bytes = b"", new: bytes = b"") -> RawBSONDocument:
    """The document with some of its bytes in the place of as many others."""
    assert len(old) == len(new)
    return RawBSONDocument(bson.encode(document).replace(old, new))


MOST_BYTES = 8 * 1024 * 1024  # of the sessions of a batch


def batches_seen(db: Db, before_command: Callable[[Hook], None]) -> dict[str, dict[int, list[int]]]:
    """By its transaction each batch that is sent: the bytes of each of its sessions."""
    seen: dict[str, dict[int, list[int]]] = {"delete": defaultdict(list), "undo": defaultdict(list)}

    def look(database: str, sent: Mapping[str, Any]) -> None:
        if database != db.name or sent.get("autocommit") is not False:
            return
        if sent.get("update") == JOURNAL:
            kept = [it["u"]["$set"].get("before") for it in sent["updates"]]
            seen["delete"][sent["txnNumber"]] += [len(it.raw) for it in kept if it]
        if sent.get("insert") == SESSIONS:
            seen["undo"][sent["txnNumber"]] += [len(it.raw) for it in sent["documents"]]

    before_command(look)
    return seen


def test_orphans_of_any_kind_and_size_come_back_to_the_byte_or_do_not_go(
    command: Command, db: Db, before_command: Callable[[Hook], None], tmp_path: Path
) -> None:
    """No batch holds more than 8 MB of them, nor does that of an undo."""
    sound_one(db)
    small = [session_of(LONG_AGO + timedelta(seconds=n)) for n in range(2_500)]
    large = [session_of(LONG_AGO, recording="x" * 2_000_000) for _ in range(40)]
    largest = session_of(LONG_AGO, recording="x" * 9_000_000)
    ill_formed = raw(session_of(LONG_AGO, user_agent="MozQ"), b"MozQ", b"Moz\xe9")
    twice = [
        raw(session_of(LONG_AGO, note="a", nota="b"), b"nota", b"note"),
        raw(session_of(LONG_AGO, more={"note": "a", "nota": "b"}), b"nota", b"note"),
        raw(session_of(LONG_AGO, more=[{"note": "a", "nota": "b"}]), b"nota", b"note"),
    ]
    no_room = session_of(LONG_AGO, recording="x" * (16 * 1024 * 1024 - 400))  # in the journal
    gone: list[Document | RawBSONDocument] = [*small, *large, largest, ill_formed]
    db["sessions"].insert_many([*gone, *twice, no_room])
    before, seen = stored_bytes(db), batches_seen(db, before_command)

    sound = db["sessions"].find_one({"event_count": 1})
    assert sound is not None
    left = {it["_id"] for it in (sound, *twice, no_room)}

    run, told = planned_deletion(command, db, DRY), tmp_path / "told.json"
    ended = command("apply", run, "--json", f"{told}", on=db)
    assert ended.code == 5
    assert outcomes(db) == {"applied": len(gone), "skipped_changed": 3, "failed": 1}
    assert len(json.loads(told.read_text())["deletions"]) == 1_000  # more are not listed
    why = "Resulting document after update is larger than 16777216"
    assert f"{no_room['session_id']}  {why}" in ended.out
    assert stored_bytes(db) == {key: before[key] for key in left}

    assert command("undo", run, "--apply", on=db).code == 0
    assert last_run(db)["undo"]["counts"] == {"restored": len(gone)}
    assert stored_bytes(db) == before
    for batches in seen.values():
        each = [sizes for sizes in batches.values() if sizes]
        assert sum(map(len, each)) >= len(gone)
        assert [sizes for sizes in each if sum(sizes) > MOST_BYTES and len(sizes) > 1] == []
        of_large_ones = [sizes for sizes in each if 2_000_000 < max(sizes) < MOST_BYTES]
        assert len(of_large_ones) <= 20  # at least two at a time
