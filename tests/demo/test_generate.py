"""The generated data: the guide's figures, true to the flow, the same for the same seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from bson import encode
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from demo.generate import INCIDENT, Figures, generate, visits
from demo.ingest import Ingest
from tests.harness.documents import Db
from tests.oracle import said_by

EventsOf = dict[str, list[dict[str, Any]]]

HAS_EVENTS: list[dict[str, Any]] = [
    {
        "$lookup": {
            "from": "events",
            "localField": "session_id",
            "foreignField": "session_id",
            "as": "events",
            "pipeline": [{"$limit": 1}],
        }
    },
    {"$match": {"events": {"$ne": []}}},
    {"$count": "sessions"},
]
COLLECTIONS = ("sessions", "events")
EMPTY = {"pages": [], "event_count": 0}


@pytest.fixture(scope="module")
def full(full_size: None, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Db]:
    """The demo's data at its full size. Tests only read it."""
    database = mongo_client["test_demo_full"]
    mongo_client.drop_database(database.name)
    assert generate(database) == Figures(45_291, 320_410, 12_847, 12_545, 302)
    yield database
    mongo_client.drop_database(database.name)


@pytest.fixture(scope="module")
def events(full: Db) -> EventsOf:
    """The events of each session, by timestamp and then `_id`."""
    grouped = defaultdict(list)
    for event in full["events"].find({}, {"properties": 0, "client_id": 0}):
        grouped[event["session_id"]].append(event)
    for own in grouped.values():
        own.sort(key=lambda event: (event["timestamp"], event["_id"]))
    return grouped


def test_the_full_size_has_the_figures_of_the_guide(full: Db) -> None:
    assert full["sessions"].count_documents({}) == 45_291
    assert full["events"].count_documents({}) == 320_410
    assert full["sessions"].count_documents({"pages": []}) == 12_847
    assert full["sessions"].count_documents({"event_count": 0}) == 12_847
    assert full["sessions"].count_documents(EMPTY) == 12_847
    assert list(full["sessions"].aggregate([{"$match": EMPTY}, *HAS_EVENTS])) == [
        {"sessions": 12_545}
    ]
    assert list(full["sessions"].aggregate(HAS_EVENTS)) == [{"sessions": 44_989}]


def test_every_healthy_session_equals_its_events(full: Db, events: EventsOf) -> None:
    healthy = [s for s in full["sessions"].find() if s["event_count"] > 0]
    assert len(healthy) == 45_291 - 12_847
    for session in healthy:
        assert stored(session) == said_by(events[session["session_id"]])


def test_every_broken_session_has_one_user_and_a_page_to_find(full: Db, events: EventsOf) -> None:
    for session in full["sessions"].find(EMPTY):
        own = events.get(session["session_id"])
        if own:
            assert {event["user_id"] for event in own} == {session["user_id"]}
            assert any("page" in event for event in own)
            assert min(event["timestamp"] for event in own) == session["first_event_at"]


def test_most_sessions_of_the_incident_are_broken_and_few_others(full: Db) -> None:
    begins, ends = INCIDENT
    inside = {"first_event_at": {"$gte": begins, "$lt": ends}}
    outside = {"$nor": [inside]}
    share = {
        name: full["sessions"].count_documents({"$and": [when, EMPTY]})
        / full["sessions"].count_documents(when)
        for name, when in (("inside", inside), ("outside", outside))
    }
    assert share["inside"] > 0.8
    assert 0 < share["outside"] < 0.05


def test_object_ids_carry_the_time_of_their_documents(full: Db) -> None:
    for name, field in (("sessions", "first_event_at"), ("events", "timestamp")):
        for document in full[name].find({}, {field: 1}):
            lag = document[field] - document["_id"].generation_time
            assert timedelta(0) <= lag < timedelta(seconds=1)


def test_all_dates_lie_in_the_autumn_of_2025(full: Db) -> None:
    winter = datetime(2025, 12, 1, tzinfo=timezone.utc)
    for name, field in (("sessions", "last_event_at"), ("events", "timestamp")):
        assert full[name].count_documents({field: {"$not": {"$lt": winter}}}) == 0
        assert full[name].count_documents({field: {"$lt": datetime(2025, 9, 1)}}) == 0  # noqa: DTZ001


def test_types_are_those_of_the_contract(full: Db) -> None:
    types = {"event_count": "int", "user_id": "objectId", "pages": "array", "_id": "objectId"}
    types |= {"session_id": "string", "first_event_at": "date", "last_event_at": "date"}
    for field, bson_type in types.items():
        assert full["sessions"].count_documents({field: {"$not": {"$type": bson_type}}}) == 0


def test_events_are_inserted_out_of_order(full: Db) -> None:
    dates = [e["timestamp"] for e in full["events"].find({}, {"timestamp": 1}).limit(2_000)]
    forward = sum(a <= b for a, b in pairwise(dates))
    assert 0.4 < forward / len(dates) < 0.6


def test_users_come_back_and_pages_are_those_of_a_shop(full: Db) -> None:
    assert 5_000 < len(full["sessions"].distinct("user_id")) < 20_000
    assert 30 <= len(full["events"].distinct("page")) <= 50
    assert full["events"].count_documents({"page": {"$exists": False}}) > 10_000


def test_both_collections_are_indexed_by_session(full: Db) -> None:
    for name in COLLECTIONS:
        assert "session_id_1" in full[name].index_information()


def test_the_same_seed_leaves_the_same_bytes_in_the_same_order_and_another_seed_does_not(
    mongo_client: MongoClient[dict[str, Any]], db: Db
) -> None:
    def left_by(seed: int) -> list[list[bytes]]:
        mongo_client.drop_database(db.name)
        generate(db, 300, seed)
        return [[encode(document) for document in db[name].find()] for name in COLLECTIONS]

    assert left_by(1) == left_by(1)
    assert left_by(1) != left_by(2)


def test_bulk_writes_leave_the_same_documents_as_the_flow_event_by_event(
    mongo_client: MongoClient[dict[str, Any]], db: Db
) -> None:
    generate(db, 60, seed=7)
    bulk = {name: contents(db, name) for name in COLLECTIONS}
    mongo_client.drop_database(db.name)
    broken, mended = Ingest(db, is_broken=True), Ingest(db)
    for visit in visits(60, seed=7):
        visit.replay(broken if visit.is_broken else mended)
    assert {name: contents(db, name) for name in COLLECTIONS} == bulk


@pytest.mark.parametrize("sessions", [1, 2, 3, 4, 10, 151])
def test_a_small_database_holds_what_its_figures_say(db: Db, sessions: int) -> None:
    figures = generate(db, sessions)
    assert figures.sessions == db["sessions"].count_documents({}) == sessions
    assert figures.events == db["events"].count_documents({})
    assert figures.empty == db["sessions"].count_documents(EMPTY)
    found = next(iter(db["sessions"].aggregate([{"$match": EMPTY}, *HAS_EVENTS])))
    assert figures.broken == found["sessions"]


@given(st.integers(min_value=1, max_value=10_000_000))
def test_figures_add_up_at_any_size(sessions: int) -> None:
    figures = Figures.of(sessions)
    assert figures.empty == figures.broken + figures.orphans <= sessions
    assert figures.events >= sessions - figures.orphans
    assert figures.broken > 0
    assert figures.orphans > 0 or sessions == 1
    assert sessions > figures.empty or sessions <= 2
    assert abs(figures.broken / sessions - 12_545 / 45_291) <= 1 / sessions


def test_figures_of_no_sessions_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Figures.of(0)


def stored(session: dict[str, Any]) -> dict[str, Any]:
    fields = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")
    return {field: session[field] for field in fields}


def contents(db: Db, name: str) -> list[bytes]:
    """Every document as BSON, types and field order included."""
    return [encode(document) for document in db[name].find().sort("_id")]
