"""Ids of every type: two are one where MongoDB takes them as equal, in each way to read."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp

from session_repair.mongo.connection import connected
from session_repair.mongo.usual import usual_of_events, usual_of_sessions
from session_repair.settings import Settings
from tests.harness.commands import Command, reported
from tests.harness.documents import JOURNAL, SESSIONS, Db, raw_documents, stored_bytes
from tests.harness.runs import last_run
from tests.harness.shop import MORNING, Shop
from tests.oracle import key_of, recomputed_documents

pytestmark = pytest.mark.needs("many_runs")

LENIENT = ("--max-malformed", "100%")
DELETE = ("delete-orphans", "--apply", "--max-delete", "100%")
LONG_AGO = MORNING - timedelta(days=200)

KINDS: dict[str, Callable[[int], Any]] = {
    "string": lambda number: f"s{number}",
    "objectId": lambda number: ObjectId(f"{number:024x}"),
    "int": lambda number: number,
    "long": lambda number: Int64(2**53 + 1 + number),
    "double": lambda number: number * 1e12,
    "decimal": lambda number: Decimal128(f"{number}.50E+1"),
    "binData": lambda number: Binary(uuid.UUID(int=number).bytes, 4),
    "date": lambda number: MORNING + timedelta(days=number),
    "timestamp": lambda number: Timestamp(number, 1),
}


def index(db: Db) -> None:
    for name in ("sessions", "events"):
        db[name].create_index("session_id")


def fill(db: Db, made: Callable[[int], Any]) -> None:
    """Six sound sessions, two empty ones of two events, and an orphan."""
    shop = Shop(db)
    for number in range(1, 7):
        shop.session(made(number), event_count=1, pages=["/home"])
        shop.events(made(number), {0: "/home"})
    for number in (7, 8):
        shop.session(made(number))
        shop.events(made(number), {1: "/home", 2: "/cart"})
    shop.session(made(9))


@pytest.mark.parametrize("kind", ["objectId", "long", "double", "binData"])
def test_sessions_whose_ids_are_all_of_one_type_are_repaired_and_put_back(
    command: Command, db: Db, kind: str
) -> None:
    fill(db, KINDS[kind])
    index(db)
    before, expected = stored_bytes(db), recomputed_documents(db)
    stored = {row["_id"]: row["session_id"] for row in db[SESSIONS].find()}

    code, scanned = reported(command, "verify", on=db)
    assert (code, scanned["totals"]["planned"], scanned["malformed"]) == (3, 2, [])
    code, report = reported(command, "fix", "--apply", on=db)

    assert (code, report["strategy"], report["outcomes"]["applied"]) == (0, "lookup", 2)
    assert stored_bytes(db) == expected
    plans = [row["plan"] for row in db[JOURNAL].find()]
    assert [repr(it["session_id"]) for it in plans] == [
        repr(stored[plan["session"]["v"]]) for plan in plans
    ]
    assert command("undo", last_run(db)["_id"], "--apply", on=db).code == 0
    assert stored_bytes(db) == before


def test_the_type_that_most_ids_have_is_known_before_they_are_read(db: Db, mongo_uri: str) -> None:
    def usual() -> tuple[Any, Any]:
        with connected(Settings(uri=mongo_uri, database=db.name)) as store:
            found = usual_of_sessions(store), usual_of_events(store)
        assert [it["user_id"] for it in found] == [("objectId",)] * 2
        return found[0]["session_id"], found[1]["session_id"]

    assert usual() == (("string",), ("string",))  # of nothing
    others: list[Any] = [None, ["a"], {}, 0.5]
    for kind, made in KINDS.items():
        told = ("long",) if kind in ("double", "decimal") else (kind,)
        ids = [{"session_id": made(number)} for number in range(5)]
        for name in ("sessions", "events"):
            db[name].drop()
            db[name].insert_many([*({"session_id": it} for it in others), *ids])
        assert usual() == (told, told)
        # By an index: none of the first documents has an id.
        for name in ("sessions", "events"):
            db[name].drop()
            db[name].insert_many([{"number": number} for number in range(120)])
            db[name].insert_many([*ids, {"session_id": None}, {"session_id": {}}])
        assert usual() == (("string",), ("string",))
        index(db)
        assert usual() == (told, told)
    db["events"].insert_one({"session_id": True})  # the last of an index with two types
    assert usual()[1] == ("string",)


@pytest.mark.parametrize("strategy", ["scan", "lookup"])
def test_numbers_are_one_id_by_their_value_whatever_their_types(
    command: Command, db: Db, strategy: str
) -> None:
    shop = Shop(db)
    great = 2**53 + 1  # which no double equals
    for number in (7, Int64(great), Decimal128("-3.0E+1"), 0):
        shop.session(number)
    for same in (7, Int64(7), 7.0, Decimal128("7.00")):
        shop.events(same, {1: f"/{type(same).__name__}"})
    for same in (Int64(great), Decimal128(str(great))):
        shop.events(same, {2: "/great"})
    shop.events(float(great), {3: "/no"})  # 2**53
    shop.events(-30, {4: "/less"})
    for same in (-0.0, Decimal128("0E+3")):
        shop.events(same, {5: "/zero"})
    shop.events("7", {6: "/text"})
    shop.events(True, {7: "/true"})
    for none in (7.5, Decimal128("7.5"), float("nan"), 2.0**63, Decimal128("9223372036854775808")):
        shop.events(none, {8: "/none"})
    shop.session(7.0, event_count=0, pages=[])  # a copy, not the oldest
    shop.session("text")
    shop.events("text", {9: "/text"})
    index(db)
    before = stored_bytes(db)

    how = ("--strategy", strategy, *LENIENT)
    code, report = reported(command, "fix", "--apply", *how, on=db)

    assert (code, report["outcomes"]["applied"]) == (0, 5)
    filled = {
        repr(it["session_id"]): (it["event_count"], it["pages"]) for it in db[SESSIONS].find()
    }
    assert filled == {
        "7": (4, ["/int", "/Int64", "/float", "/Decimal128"]),
        repr(Int64(great)): (2, ["/great"]),
        repr(Decimal128("-3.0E+1")): (1, ["/less"]),
        "0": (2, ["/zero"]),
        "7.0": (0, []),
        "'text'": (1, ["/text"]),
    }
    kept = [
        {"types": "double", "sessions": 1, "samples": [str(great)]},  # as a program may round it
        {"types": "string", "sessions": 1, "samples": ["7"]},
    ]
    assert report["kept"] == kept
    if strategy == "scan":
        odd = {(it["type"], it["documents"], len(it["samples"])) for it in report["malformed"]}
        assert odd == {("double that no long equals", 3, 3), ("decimal that no long equals", 2, 2)}
    assert command("undo", last_run(db)["_id"], "--apply", on=db).code == 0
    assert stored_bytes(db) == before


def test_a_text_and_the_number_that_it_spells_are_two_ids_and_told(
    command: Command, db: Db
) -> None:
    shop = Shop(db)
    digits = "68f0000000000000000000aa"
    for number in range(4):
        shop.session(f"s{number}", event_count=1, pages=["/home"])
        shop.events(f"s{number}", {0: "/home"})
    for ours, theirs in (("777", 777), (digits, ObjectId(digits)), (888, "888")):
        shop.session(ours)
        shop.events(theirs, {1: "/theirs"})
    shop.events("777", {1: "/ours"})
    index(db)
    before = stored_bytes(db)

    kept = [
        {"types": "int", "sessions": 1, "samples": ["777"]},
        {"types": "objectId", "sessions": 1, "samples": [digits]},
        {"types": "string", "sessions": 1, "samples": ["888"]},
    ]
    lines = [
        "   1 session: some events spell its id as int, which joins nothing: 777\n",
        f"   1 session: some events spell its id as objectId, which joins nothing: {digits}\n",
        "   1 session: some events spell its id as string, which joins nothing: 888\n",
    ]
    for words in (("verify",), ("fix",), ("fix", "--strategy", "scan")):
        code, report = reported(command, *words, on=db)
        assert (code, report["totals"]["planned"], report["kept"]) == (3, 1, kept)
    told = command("fix", "--apply", *LENIENT, on=db)
    assert told.code == 0
    assert [line for line in told.out.splitlines(keepends=True) if "spell" in line] == lines
    session = db[SESSIONS].find_one({"session_id": "777"})
    assert session is not None
    assert (session["event_count"], session["pages"]) == (1, ["/ours"])
    # Neither is deleted for want of events.
    deleted = command(*DELETE, on=db)
    assert (deleted.code, last_run(db)["report"]["kept"]) == (0, kept[1:])
    assert stored_bytes(db).keys() == before.keys()


def test_what_session_id_names_is_tried_as_text_and_as_what_it_spells(
    command: Command, db: Db, tmp_path: Path
) -> None:
    """The lines of a file too."""
    shop = Shop(db)
    digits, key = "68f0000000000000000000aa", uuid.UUID(int=5)
    day = {"$date": {"$numberLong": str(int(MORNING.timestamp()) * 1000)}}
    great = 2**53 + 1
    named: dict[str, list[Any]] = {
        "plain": ["plain"],
        digits: [ObjectId(digits)],
        "777": [777, "777"],
        str(great): [Int64(great)],
        str(key): [Binary(key.bytes, 4)],
        json.dumps(day): [MORNING],
    }
    others = [Int64(great - 1), ObjectId(f"{7:024x}"), Binary(uuid.UUID(int=6).bytes, 4), "778"]
    for session_id in [*(it for ids in named.values() for it in ids), *others]:
        shop.session(session_id)
        shop.events(session_id, {1: "/home"})
    before = stored_bytes(db)
    first, *others_named = [*named, "779"]
    file = tmp_path / "ids.txt"
    file.write_text("\n".join([*others_named, "", first]))
    words = ("--session-id", first, "--session-ids-from", str(file), "--samples", "1")

    code, report = reported(command, "fix", "--apply", *words, on=db)

    assert (code, report["outcomes"]["applied"], report["missing"]) == (0, 7, ["779"])
    assert report["settings"]["session_ids"] == [*named, "779"]
    samples = {it["code"]: len(it["samples"]) for it in report["symptoms"] if it["found"]}
    assert (set(samples.values()), len(report["corrections"])) == ({1}, 1)
    left = [it["session_id"] for it in db[SESSIONS].find({"event_count": 0})]
    assert left == [Int64(great - 1), ObjectId(f"{7:024x}"), others[2], "778"]
    # What others changed since is named as an option takes it, to be looked at again.
    run = last_run(db)["_id"]
    db[SESSIONS].update_many({"event_count": 1}, {"$set": {"event_count": 0}})
    code, again = reported(command, "verify", "--run", run, on=db)
    assert (code, again["totals"]["sessions_read"], again["totals"]["planned"]) == (3, 7, 7)
    db[SESSIONS].update_many({"pages": {"$ne": []}}, {"$set": {"event_count": 1}})
    assert command("undo", run, "--apply", on=db).code == 0
    assert stored_bytes(db) == before


REFERENCES = """
[fields.sessions]
session_id = "_id"
[fields.events]
session_id = "session"
"""


@pytest.mark.parametrize("kind", ["objectId", "mixed"])
def test_events_may_name_the_id_of_the_document(
    command: Command, db: Db, tmp_path: Path, kind: str
) -> None:
    made = KINDS.get(kind, lambda number: list(KINDS.values())[number % len(KINDS)](number))
    fill(db, made)
    sessions = list(db[SESSIONS].find())
    db[SESSIONS].drop()
    db[SESSIONS].insert_many(
        {"_id": it.pop("session_id"), **{k: v for k, v in it.items() if k != "_id"}}
        for it in sessions
    )
    db["events"].update_many({}, {"$rename": {"session_id": "session"}})
    db["events"].create_index("session")
    config = tmp_path / "references.toml"
    config.write_text(REFERENCES)
    before = {raw.raw for raw in raw_documents(db)}

    named = ("--config", str(config))
    for strategy in ("scan", "lookup"):
        how = (*named, "--strategy", strategy)
        code, report = reported(command, "fix", "--apply", *how, on=db)
        assert (code, report["strategy"], report["outcomes"]["applied"]) == (0, strategy, 2)
        filled = {key_of(it["_id"]) for it in db[SESSIONS].find({"event_count": 2})}
        assert filled == {key_of(made(number)) for number in (7, 8)}
        assert command("undo", last_run(db)["_id"], "--apply", *named, on=db).code == 0
        assert {raw.raw for raw in raw_documents(db)} == before
    deleted = command(*DELETE, *named, on=db)
    assert (deleted.code, db[SESSIONS].find_one({"_id": made(9)})) == (0, None)
    assert command("undo", last_run(db)["_id"], "--apply", *named, on=db).code == 0
    assert {raw.raw for raw in raw_documents(db)} == before


def test_orphans_and_copies_of_any_id_are_deleted_and_put_back(command: Command, db: Db) -> None:
    shop = Shop(db)
    for number, made in enumerate(KINDS.values()):
        for each in range(3):
            session_id = made(10 * number + each + 1)
            shop.session(session_id, event_count=1, pages=["/home"])
            shop.events(session_id, {0: "/home"})
        shop.session(made(10 * number + 5), note="an orphan")
    for own, copy in ((1000, 1000.0), (Int64(2000), Decimal128("2000.0")), ("a", "a")):
        shop.session(own, event_count=1, pages=["/home"])
        shop.events(own, {0: "/home"})
        shop.session(copy, note="a copy")
    shop.session(3000, event_count=1, pages=["/home"])
    shop.session(3000, note="a copy of which an event is spelled otherwise")
    shop.events(3000.0, {0: "/home"})
    shop.events("3000", {0: "/home"})
    index(db)
    before = stored_bytes(db)
    notes = {it["_id"]: it.get("note") for it in db[SESSIONS].find()}

    for strategy in ("scan", "lookup"):
        for kind, words in (("an orphan", ()), ("a copy", ("--duplicates",))):
            ended = command(*DELETE, *words, "--strategy", strategy, on=db)
            assert (ended.code, ended.complaints) == (0, "")
            gone = {key for key, note in notes.items() if note == kind}
            assert before.keys() - stored_bytes(db).keys() == gone
            assert command("undo", last_run(db)["_id"], "--apply", on=db).code == 0
            assert stored_bytes(db) == before
    kept = [{"types": "string", "sessions": 1, "samples": ["3000"]}]
    assert last_run(db)["report"]["kept"] == kept


def test_text_that_looks_like_an_envelope_is_an_id_of_its_own(command: Command, db: Db) -> None:
    shop = Shop(db)
    texts = ['{"v": {"$numberLong": "7"}}', '{"v": "a"}', "a", '{"v": ', "7"]
    for number, session_id in enumerate([*texts, 7]):
        shop.session(session_id)
        shop.events(session_id, {1: f"/{number}"})
    # One of them is read with the names of its types, its event without.
    db[SESSIONS].update_one({"session_id": texts[1]}, {"$set": {"event_count": None}})
    fixed = command("fix", "--apply", *LENIENT, on=db)
    assert (fixed.code, fixed.complaints) == (0, "")
    pages = {repr(it["session_id"]): it["pages"] for it in db[SESSIONS].find()}
    assert pages == {repr(it): [f"/{number}"] for number, it in enumerate([*texts, 7])}
