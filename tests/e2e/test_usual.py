"""The usual type of dates that are numbers: what most documents have, at either end."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Decimal128, Int64

from session_repair.mongo.connection import connected
from session_repair.mongo.usual import usual_of_events, usual_of_sessions
from session_repair.settings import Settings
from tests.harness.documents import Db

DATES = ("first_event_at", "last_event_at")
MS, S = 1_760_947_200_000, 1_760_947_200


def usual(db: Db, uri: str, sessions: str, events: str) -> tuple[Any, ...]:
    """The types of a session's two dates, and of the one of an event."""
    settings = Settings(uri=uri, database=db.name, session_dates=sessions, event_dates=events)
    with connected(settings) as store:
        of_session, of_event = usual_of_sessions(store), usual_of_events(store)
    assert of_session["pages"] == ("array",)
    return (*(of_session[it] for it in DATES), of_event["timestamp"])


@pytest.mark.parametrize(
    ("first", "last", "events", "expected"),
    [
        ([float(MS)], [Int64(MS)], [float(MS)], ("double", "long", "double")),
        ([None, float(MS), Int64(MS), float(MS)], [None], [MS], ("double", "double", "long")),
        (["x"], [None], [float(MS)] * 2 + [Int64(MS)], ("double", "double", "double")),
        ([None], [None], [None], ("long", "long", "long")),
        ([Decimal128("1")], [5], [Decimal128("1")], ("decimal", "int", "decimal")),
    ],
)
def test_it_is_that_of_most_numbers_else_of_another_date(
    db: Db, mongo_uri: str, first: Any, last: Any, events: Any, expected: tuple[str, ...]
) -> None:
    db["sessions"].insert_many(
        [{"first_event_at": it, "last_event_at": last[n % len(last)]} for n, it in enumerate(first)]
    )
    db["events"].insert_many([{"timestamp": it} for it in events])
    found = usual(db, mongo_uri, "epoch_ms", "epoch_ms")
    assert found == tuple((kind,) for kind in expected)


def test_dates_of_events_say_nothing_of_sessions_that_keep_others(db: Db, mongo_uri: str) -> None:
    db["sessions"].insert_one({"first_event_at": None})
    db["events"].insert_one({"timestamp": float(MS)})
    found = usual(db, mongo_uri, "epoch_s", "epoch_ms")
    assert found == (("long",), ("long",), ("double",))
    assert usual(db, mongo_uri, "date", "date") == (("date",), ("date",), ("date",))


def test_the_newest_documents_are_looked_at_and_the_oldest(db: Db, mongo_uri: str) -> None:
    """Neither those in between, however many, nor one end alone."""
    kinds = [Int64(S)] * 60 + [None] * 40 + [float(S)] * 900 + [None] * 100
    db["sessions"].insert_many(
        [{"_id": n, "first_event_at": it, "last_event_at": it} for n, it in enumerate(kinds)]
    )
    db["events"].insert_one({"timestamp": S})
    assert usual(db, mongo_uri, "epoch_s", "epoch_s") == (("long",), ("long",), ("int",))
