"""The guide's flow on a real MongoDB: what it leaves when broken, what it keeps when mended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId
from bson.int64 import Int64
from pymongo.database import Database
from pymongo.errors import OperationFailure, WriteError

from demo.ingest import Ingest, new_event, new_session, rejected_session_update

Db = Database[dict[str, Any]]

USER = ObjectId("68f248fd0b0aa1706983ef11")
START = datetime(2025, 10, 20, 15, 33, 20, tzinfo=timezone.utc)
CLIENT = "client_93ef11"


def test_a_new_session_is_empty_and_carries_its_start(db: Db) -> None:
    sid = begin(Ingest(db))
    assert db["sessions"].find_one() == {
        "_id": ObjectId(sid),
        "session_id": sid,
        "client_id": CLIENT,
        "user_id": USER,
        "event_count": 0,
        "pages": [],
        "first_event_at": START,
        "last_event_at": START,
        "created_by": "ensure_browsing_session",
        "device": {"type": "mobile"},
    }


def test_ensuring_a_session_again_changes_nothing(db: Db) -> None:
    ingest = Ingest(db)
    sid = begin(ingest)
    emit(ingest, sid, 0, "/home")
    before = db["sessions"].find_one()
    ingest.ensure_browsing_session(sid, ObjectId(), START + timedelta(hours=1), "another")
    assert list(db["sessions"].find()) == [before]


def test_mended_ingest_counts_events_and_keeps_distinct_pages_in_order(db: Db) -> None:
    ingest = Ingest(db)
    sid = begin(ingest)
    for second, page in enumerate(["/home", "/product/a", "/home", None, "/cart"]):
        emit(ingest, sid, second, page)
    session = db["sessions"].find_one({"session_id": sid})
    assert session is not None
    assert session["event_count"] == db["events"].count_documents({"session_id": sid}) == 5
    assert session["pages"] == ["/home", "/product/a", "/cart"]
    assert session["first_event_at"] == START
    assert session["last_event_at"] == START + timedelta(seconds=4)
    assert session["device"] == {"type": "mobile"}


def test_the_count_stays_a_32_bit_int(db: Db) -> None:
    ingest = Ingest(db)
    emit(ingest, begin(ingest), 0, "/home")
    assert db["sessions"].count_documents({"event_count": {"$type": "int"}}) == 1
    session = db["sessions"].find_one()
    assert session is not None
    assert not isinstance(session["event_count"], Int64)


def test_a_late_event_moves_the_first_date_and_not_the_last(db: Db) -> None:
    ingest = Ingest(db)
    sid = begin(ingest)
    emit(ingest, sid, 60, "/cart")
    emit(ingest, sid, -60, "/home")
    session = db["sessions"].find_one()
    assert session is not None
    assert session["first_event_at"] == START - timedelta(seconds=60)
    assert session["last_event_at"] == START + timedelta(seconds=60)


def test_an_event_without_a_page_has_no_such_field(db: Db) -> None:
    ingest = Ingest(db)
    emit(ingest, begin(ingest), 0, None)
    event = db["events"].find_one()
    assert event is not None
    assert "page" not in event


def test_broken_ingest_stores_the_event_and_leaves_the_session_empty(db: Db) -> None:
    ingest = Ingest(db, is_broken=True)
    sid = begin(ingest)
    before = db["sessions"].find_one()
    emit(ingest, sid, 5, "/home")
    emit(ingest, sid, 9, None)
    assert db["events"].count_documents({"session_id": sid}) == 2
    assert db["sessions"].find_one() == before


def test_it_is_the_server_that_rejects_the_broken_update(db: Db) -> None:
    sid = begin(Ingest(db))
    event = new_event(ObjectId(), USER, sid, START, "/home", "page_view", {}, CLIENT)
    with pytest.raises(WriteError, match="conflict at 'last_event_at'"):
        db["sessions"].update_one({"session_id": sid}, rejected_session_update(event))


def test_a_failed_update_is_logged_and_retried_until_it_holds(
    db: Db, caplog: pytest.LogCaptureFixture
) -> None:
    ingest = Ingest(db, backoff=(0.01, 0.01))
    sid = begin(ingest)
    with caplog.at_level(logging.WARNING), update_fails(db, times=2):
        emit(ingest, sid, 1, "/home")
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"[ingest] Warning: Failed to update session {sid}: ")
    session = db["sessions"].find_one()
    assert session is not None
    assert (session["event_count"], session["pages"]) == (1, ["/home"])
    assert db["events"].count_documents({}) == 1


def test_an_update_that_never_succeeds_raises_and_leaves_no_event(db: Db) -> None:
    ingest = Ingest(db, backoff=(0.01,))
    sid = begin(ingest)
    with update_fails(db, times=2), pytest.raises(OperationFailure):
        emit(ingest, sid, 1, "/home")
    assert db["events"].count_documents({}) == 0


def test_an_event_of_an_unknown_session_is_refused(db: Db) -> None:
    with pytest.raises(LookupError, match="ensure it before"):
        emit(Ingest(db), str(ObjectId()), 0, "/home")
    assert db["events"].count_documents({}) == 0


def test_an_event_sent_twice_is_counted_once(db: Db) -> None:
    ingest = Ingest(db)
    event = emit(ingest, begin(ingest), 0, "/home")
    ingest.ingest_event(event)
    session = db["sessions"].find_one()
    assert session is not None
    assert session["event_count"] == db["events"].count_documents({}) == 1


def test_sixteen_threads_on_the_same_sessions_lose_nothing(db: Db) -> None:
    ingest = Ingest(db, backoff=())  # conflicts are the transaction's to retry
    sids = [str(ObjectId()) for _ in range(4)]

    def visitor(thread: int) -> None:
        for number in range(12):
            sid = sids[(thread + number) % len(sids)]
            ingest.ensure_browsing_session(sid, USER, START, CLIENT)
            emit(ingest, sid, thread * 12 + number, f"/product/{number % 7}")

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(visitor, range(16)))

    assert db["events"].count_documents({}) == 16 * 12
    assert db["sessions"].count_documents({}) == len(sids)
    for session in db["sessions"].find():
        events = list(db["events"].find({"session_id": session["session_id"]}))
        assert session["event_count"] == len(events) == 48
        assert len(session["pages"]) == len(set(session["pages"]))
        assert set(session["pages"]) == {event["page"] for event in events}
        assert session["last_event_at"] == max(event["timestamp"] for event in events)
        assert session["first_event_at"] == START


def test_a_session_may_not_bend_the_fields_of_the_repair() -> None:
    with pytest.raises(ValueError, match="pages"):
        new_session(str(ObjectId()), USER, START, CLIENT, {"pages": ["/home"]})


def begin(ingest: Ingest) -> str:
    """The id of a new, empty session."""
    sid = str(ObjectId())
    ingest.ensure_browsing_session(sid, USER, START, CLIENT, {"device": {"type": "mobile"}})
    return sid


def emit(ingest: Ingest, sid: str, second: int, page: str | None) -> dict[str, Any]:
    return ingest.emit_event(
        USER, sid, START + timedelta(seconds=second), page, "page_view", {"n": second}, CLIENT
    )


@contextmanager
def update_fails(db: Db, times: int) -> Iterator[None]:
    """The server refuses so many updates, as it does when a right was taken away."""
    admin = db.client["admin"]
    admin.command(
        "configureFailPoint",
        "failCommand",
        mode={"times": times},
        data={"failCommands": ["update"], "errorCode": 13},
    )
    try:
        yield
    finally:
        admin.command("configureFailPoint", "failCommand", mode="off")
