"""Ids of a wrong type, or no UTF-8: left alone, and told alike by a scan, a look-up, a window."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import Decimal128, Regex

from tests.harness.commands import Command, reported
from tests.harness.documents import Db, Document, raw_documents, with_bytes
from tests.harness.shop import ANN, MORNING, Shop

NO_UTF8 = "text that is not UTF-8"
pytestmark = pytest.mark.needs("many_runs")
LENIENT = ("--max-malformed", "100%")


def told(report: Document) -> dict[tuple[str, str, str], int]:
    """In how many documents of a collection a field is of which type."""
    return {
        (it["collection"], it["field"], it["type"]): it["documents"] for it in report["malformed"]
    }


def insert(db: Db, collection: str, odd: bytes, **fields: Any) -> None:
    """A document with these bytes, which are no UTF-8, for each ``~`` in it."""
    db[collection].insert_one(with_bytes(fields, odd))


@pytest.mark.parametrize("strategy", ["lookup", "scan"])
def test_a_session_whose_own_id_is_no_utf8_is_told_and_stops_no_other(
    command: Command, db: Db, strategy: str
) -> None:
    shop = Shop(db)
    empty = {"event_count": 0, "pages": [], "user_id": ANN}
    empty |= {"first_event_at": MORNING, "last_event_at": MORNING}
    for odd in (b"\xe9", b"\xff"):
        insert(db, "sessions", odd, _id="caf~", session_id=odd.hex(), **empty)
        shop.events(odd.hex(), {0: "/odd"})
    insert(db, "sessions", b"\xe9", _id={"of": "orphan~"}, session_id="orphan", **empty)
    db["sessions"].insert_one({"_id": "caf\ufffd", "session_id": "true", **empty})
    shop.events("true", {0: "/true"})
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    before = {it.raw for it in raw_documents(db)}

    how = ("--strategy", strategy, *LENIENT)
    code, report = reported(command, "fix", "--apply", *how, on=db)

    assert (code, report["outcomes"]["applied"], report["outcomes"]["skipped_gone"]) == (0, 1, 0)
    assert told(report) == {("sessions", "_id", NO_UTF8): 3}
    assert [it["_id"] for it in db["sessions"].find({"pages": "/true"})] == ["caf\ufffd"]
    deleted = command("delete-orphans", "--apply", *how, "--max-delete", "100%", on=db)
    assert (deleted.code, "Deleted 0 sessions" in deleted.out) == (0, True)
    assert len(before & {it.raw for it in raw_documents(db)}) == len(before) - 1 == 3


@pytest.fixture
def mixed(db: Db) -> Db:
    """Five sessions of text ids, and empty ones of what is none: two numbers, a regular
    expression, null, an array, two that are no UTF-8."""
    shop = Shop(db)
    for number in range(5):
        shop.session(f"{number:024x}")
        shop.events(f"{number:024x}", {0: "/a"})
    for odd in (7.5, Decimal128("NaN"), Regex("s"), None, ["a"]):
        shop.session(odd)
    for byte in (b"\xe9", b"\xff"):
        dates = {"first_event_at": minute_ago(9), "last_event_at": minute_ago(9)}
        insert(db, "sessions", byte, session_id="z~", event_count=0, pages=[], user_id=ANN, **dates)
    for name in ("sessions", "events"):
        db[name].create_index("session_id")
    return db


def minute_ago(number: int) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=number)


NO_LONG = "double that no long equals"
IDS = {NO_LONG: 1, "decimal that no long equals": 1, "regex": 1, "null": 1, "array": 1, NO_UTF8: 2}


def test_a_look_up_counts_each_id_that_cannot_be_told_once_as_a_scan_does(
    command: Command, mixed: Db
) -> None:
    found = {}
    for strategy in ("lookup", "scan"):
        code, report = reported(command, "fix", "--strategy", strategy, *LENIENT, on=mixed)
        assert code == 3
        totals = report["totals"]
        figures = [totals[it] for it in ("planned", "sessions_read", "sessions_malformed")]
        symptom = next(it for it in report["symptoms"] if it["code"] == "malformed")
        found[strategy] = (told(report), figures, symptom["found"], symptom["left"])
    malformed = {("sessions", "session_id", kind): number for kind, number in IDS.items()}
    assert found["scan"] == (malformed, [5, 12, 7], 7, {"malformed": 7})
    assert found["lookup"] == found["scan"]


def test_a_window_tells_of_the_ids_that_it_cannot_look_up(command: Command, mixed: Db) -> None:
    at = minute_ago(60)
    mixed["sessions"].update_many({}, {"$set": {"first_event_at": at, "last_event_at": at}})
    mixed["events"].update_many({}, {"$set": {"timestamp": at}})
    texts = [f"{number:024x}" for number in range(5)]
    mixed["events"].insert_many(
        {"_id": key, "session_id": of, "timestamp": at, "page": "/a", "user_id": ANN}
        for key, of in ((1, 7.5), (2, 8.5), (3, None))
    )
    event = {"timestamp": at, "user_id": ANN}
    insert(mixed, "events", b"\xe9", _id=4, session_id="z~", page="/a", **event)
    insert(mixed, "events", b"\xe9", _id=5, session_id=texts[1], page="/~", **event)
    mixed["events"].create_index("timestamp")
    mixed["sessions"].create_index("last_event_at")

    code, report = reported(command, "fix", "--since", "1d", "--apply", *LENIENT, on=mixed)

    assert (code, report["outcomes"]["applied"]) == (0, 4)  # not that of the page
    assert told(report) == {
        **{("sessions", "session_id", kind): number for kind, number in IDS.items()},
        ("events", "session_id", NO_LONG): 2,
        ("events", "session_id", NO_UTF8): 1,
        ("events", "page", NO_UTF8): 1,
    }
    totals = report["totals"]
    assert (totals["sessions_read"], totals["sessions_malformed"]) == (12, 8)
    assert (totals["events_read"], totals["events_malformed"]) == (9, 4)
    filled = {it["session_id"] for it in raw_documents(mixed) if it["event_count"]}
    assert filled == {*texts} - {texts[1]}
    stopped = command("fix", "--since", "1d", "--apply", on=mixed)
    assert stopped.code == 4
    assert "8 of 12 sessions read are malformed, --max-malformed 5% allows 1" in stopped.err
