"""Rebuild: what every session should be, from its events alone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import bson
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from session_repair.rules.rebuild import rebuild, rebuild_looked_up
from session_repair.rules.schemas import EVENTS, REBUILT
from tests.unit.frames import (
    ALICE,
    BOB,
    REBUILT_SESSIONS,
    Row,
    assert_rows,
    at,
    event,
    events_frame,
    frame,
    key_of,
    oid,
    shape,
)

MARK = at("12:00")
HORIZON = at("12:00") + timedelta(days=1)


def rebuilt_from(spark: SparkSession, *events: Row) -> DataFrame:
    """One row per session, the figures as columns."""
    return rebuild(events_frame(spark, *events), MARK, HORIZON).select("session_id", "rebuilt.*")


def test_a_rebuilt_session_has_the_shape_of_the_schema(spark: SparkSession) -> None:
    made = rebuild(events_frame(spark), MARK, HORIZON).schema
    assert shape(made) == shape(REBUILT_SESSIONS)
    assert made["rebuilt"].dataType.fieldNames() == REBUILT.fieldNames()  # type: ignore[attr-defined]


def test_pages_stand_in_the_order_of_their_first_visit(spark: SparkSession) -> None:
    rebuilt = rebuilt_from(
        spark,
        event(1, page="/late", timestamp=at("10:03")),
        event(2, page="/twice", timestamp=at("10:02")),
        event(3, page="/first", timestamp=at("10:01")),
        event(4, page="/twice", timestamp=at("10:04")),
        # The same millisecond: the older event first, whatever the names of the pages.
        event(6, session_id="tie", page="/a"),
        event(5, session_id="tie", page="/b"),
    )
    assert_rows(
        rebuilt,
        {"session_id": "s", "pages": ["/first", "/twice", "/late"], "event_count": 4},
        {"session_id": "tie", "pages": ["/b", "/a"], "event_count": 2},
    )


def test_an_event_without_a_page_counts_and_adds_none(spark: SparkSession) -> None:
    rebuilt = rebuilt_from(
        spark,
        event(1, page="/a"),
        event(2, page=None, timestamp=at("09:00")),
        event(3, session_id="no page", page=None),
        event(4, session_id="empty page", page=""),
    )
    assert_rows(
        rebuilt,
        {"session_id": "s", "event_count": 2, "pages": ["/a"], "first_event_at": at("09:00")},
        {"session_id": "no page", "event_count": 1, "pages": [], "first_event_at": at("10:00")},
        {
            "session_id": "empty page",
            "event_count": 1,
            "pages": [""],
            "first_event_at": at("10:00"),
        },
    )


def test_an_event_without_a_timestamp_counts_and_its_page_comes_last(spark: SparkSession) -> None:
    rebuilt = rebuilt_from(
        spark,
        event(1, page="/undated", timestamp=None),
        event(2, page="/dated", timestamp=at("10:00")),
        event(3, page="/both", timestamp=None),
        event(4, page="/both", timestamp=at("10:01")),
        event(6, session_id="undated", page="/b", timestamp=None),
        event(5, session_id="undated", page="/c", timestamp=None),
    )
    assert_rows(
        rebuilt,
        {
            "session_id": "s",
            "event_count": 4,
            "pages": ["/dated", "/both", "/undated"],
            "first_event_at": at("10:00"),
            "last_event_at": at("10:01"),
        },
        {
            "session_id": "undated",
            "event_count": 2,
            "pages": ["/c", "/b"],
            "first_event_at": None,
            "last_event_at": None,
        },
    )


def test_the_dates_are_the_least_and_the_greatest_to_the_millisecond(spark: SparkSession) -> None:
    long_ago = datetime(1899, 1, 1, tzinfo=timezone.utc)
    rebuilt = rebuilt_from(
        spark,
        event(1, timestamp=at("10:00:00.002"), page="/a"),
        event(2, timestamp=at("10:00:00.001"), page="/b"),
        event(3, timestamp=at("10:00:00.003"), page="/a"),
        event(4, session_id="ancient", timestamp=long_ago),
    )
    assert_rows(
        rebuilt,
        {
            "session_id": "s",
            "first_event_at": at("10:00:00.001"),
            "last_event_at": at("10:00:00.003"),
        },
        {"session_id": "ancient", "first_event_at": long_ago, "last_event_at": long_ago},
    )


USERS: dict[str, tuple[list[str | None], str | None, bool]] = {
    "one": ([ALICE, ALICE], ALICE, False),
    "one, not named by every event": ([None, ALICE, None], ALICE, False),
    "none": ([None, None], None, False),
    "two": ([ALICE, BOB], None, True),
    "two, and none": ([BOB, None, ALICE], None, True),
    "an ObjectId and its digits": ([ALICE, '{"v": "00000000000000000000000a"}'], None, True),
    "text": (['{"v": "bob"}', '{"v": "bob"}'], '{"v": "bob"}', False),
}


def test_the_user_is_the_one_of_all_events_that_name_one(spark: SparkSession) -> None:
    events = [
        event(number, session_id=case, user=user, page=f"/{number}")
        for case, (users, _, _) in USERS.items()
        for number, user in enumerate(users)
    ]
    expected = [
        {"session_id": case, "user": user, "user_conflict": conflict}
        for case, (_, user, conflict) in USERS.items()
    ]
    assert_rows(rebuilt_from(spark, *events), *expected)


def test_malformed_events_are_counted_apart_and_reach_no_other_figure(spark: SparkSession) -> None:
    bad: dict[str, Any] = {"user": BOB, "page": "/bad"}
    rebuilt = rebuilt_from(
        spark,
        event(1, page="/a"),
        event(2, **bad, timestamp=at("08:00"), malformed="page: int"),
        event(3, **bad, timestamp=at("23:00"), malformed="timestamp: string"),
        event(4, **bad, timestamp=None, malformed="page: int"),
        event(5, **bad, session_id="all bad", malformed="user_id: bool"),
    )
    assert_rows(
        rebuilt,
        {
            "session_id": "s",
            "event_count": 1,
            "pages": ["/a"],
            "first_event_at": at("10:00"),
            "last_event_at": at("10:00"),
            "user": ALICE,
            "user_conflict": False,
            "malformed_events": 3,
            "malformed": [
                {"types": "page: int", "events": 2},
                {"types": "timestamp: string", "events": 1},
            ],
            "pages_size": 2 + 16,
        },
        {
            "session_id": "all bad",
            "event_count": 0,
            "pages": [],
            "first_event_at": None,
            "last_event_at": None,
            "user": None,
            "user_conflict": False,
            "malformed_events": 1,
            "malformed": [{"types": "user_id: bool", "events": 1}],
            "pages_size": 0,
        },
    )


def test_events_without_a_session_id_gather_in_one_row(spark: SparkSession) -> None:
    rebuilt = rebuilt_from(spark, event(1), event(2, session_id=None), event(3, session_id=None))
    assert_rows(
        rebuilt, {"session_id": "s", "event_count": 1}, {"session_id": None, "event_count": 2}
    )


def test_the_last_creation_is_the_latest_time_in_an_object_id_since_the_mark(
    spark: SparkSession,
) -> None:
    text = '{"v": "ffffffff0000000000000000"}'
    rebuilt = rebuilt_from(
        spark,
        event(event_key=oid(1, at("12:00:01"))),
        event(event_key=oid(2, at("12:00:07")), malformed="page: int"),
        event(event_key=text),
        event(event_key=oid(3, HORIZON + timedelta(seconds=1))),  # a clock error
        event(session_id="at the mark", event_key=oid(4, MARK)),
        event(session_id="before", event_key=oid(4, MARK - timedelta(seconds=1))),
        event(session_id="no ObjectId", event_key=text),
    )
    assert_rows(
        rebuilt,
        {"session_id": "s", "last_created_at": at("12:00:07")},
        {"session_id": "at the mark", "last_created_at": MARK},
        {"session_id": "before", "last_created_at": None},
        {"session_id": "no ObjectId", "last_created_at": None},
    )


def test_a_timestamp_beyond_the_horizon_hides_no_activity(spark: SparkSession) -> None:
    rebuilt = rebuilt_from(
        spark,
        event(1, timestamp=at("11:58")),
        event(2, timestamp=HORIZON, session_id="at it"),
        event(3, timestamp=HORIZON + timedelta(milliseconds=1)),
        event(4, timestamp=at("11:59"), malformed="page: int"),
    )
    assert_rows(
        rebuilt,
        {"session_id": "s", "last_active_at": at("11:59")},
        {"session_id": "at it", "last_active_at": HORIZON},
    )


def test_events_of_an_age_that_the_server_counted_are_checked(spark: SparkSession) -> None:
    rebuilt = rebuilt_from(
        spark,
        event(event_key=oid(1, at("11:59:59"))),
        event(event_key=oid(2, at("11:59:59")), malformed="page: int"),
        event(event_key='{"v": {"$numberInt": "7"}}'),
        event(session_id="young", event_key=oid(0, at("12:00"))),
    )
    assert_rows(
        rebuilt,
        {"session_id": "s", "checked_events": 3},
        {"session_id": "young", "checked_events": 0},
    )


def test_the_size_of_the_pages_is_never_less_than_they_take_in_bson(spark: SparkSession) -> None:
    pages = [f"/é{'x' * number}" for number in range(300)]
    events = [event(number, page=page) for number, page in enumerate(pages)]
    row = rebuilt_from(spark, *events, *events).first()
    assert row is not None
    taken = len(bson.encode({"pages": pages}))
    assert taken <= row["pages_size"] <= taken + 16 * len(pages)


def looked_up(spark: SparkSession, rows: list[Row]) -> DataFrame:
    """The figures of events that sessions brought, each row ``of`` one of them."""
    schema = StructType([*EVENTS.fields, StructField("of", StringType())])
    events = frame(spark, [{**row, "user": key_of(row["user"])} for row in rows], schema)
    keyed = events.withColumn("event_key", F.expr("substring(event_key, 17, 24)"))
    return rebuild_looked_up(keyed, MARK, HORIZON)


def test_events_that_two_sessions_brought_count_once(spark: SparkSession) -> None:
    rows: list[Row] = []
    for of in ("b", "a"):
        rows.append({"of": of, **event(1, page="/home")})
        rows.append({"of": of, **event(2, page="/cart", timestamp=at("10:01"))})
    rows.append({"of": "b", **event(3, page="/late", timestamp=at("10:02"))})
    assert_rows(
        looked_up(spark, rows).select("session_id", "rebuilt.event_count", "rebuilt.pages"),
        {"session_id": "s", "event_count": 2, "pages": ["/home", "/cart"]},
    )


def test_a_session_that_brought_no_event_is_kept_without_figures(spark: SparkSession) -> None:
    nothing: Row = dict.fromkeys(EVENTS.fieldNames())
    rows: list[Row] = [
        {**nothing, "session_id": "none", "of": "a"},
        {"of": "b", **event(1, session_id="some")},
        {"of": "c", **event(2, session_id="bad", malformed="page: int")},
    ]
    assert_rows(
        looked_up(spark, rows).select(
            "session_id",
            F.col("rebuilt").isNull().alias("without"),
            "rebuilt.event_count",
            "rebuilt.malformed_events",
        ),
        {"session_id": "none", "without": True, "event_count": None, "malformed_events": None},
        {"session_id": "some", "without": False, "event_count": 1, "malformed_events": 0},
        {"session_id": "bad", "without": False, "event_count": 0, "malformed_events": 1},
    )
