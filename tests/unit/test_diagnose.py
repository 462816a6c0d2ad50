"""Diagnose: sessions joined with what their events say, and what does not match."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from session_repair.aggregates import BASIC_SHAPE
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import OF_SUSPECTS, diagnose, with_canonical
from session_repair.rules.schemas import DIAGNOSED
from tests.unit.frames import (
    BOB,
    NOW,
    REBUILT_SESSIONS,
    SETTLE,
    TYPES_OF_SOUND,
    Row,
    assert_rows,
    at,
    frame,
    malformed_events,
    oid,
    oid_digits,
    rebuilt,
    rebuilt_frame,
    session,
    sessions_frame,
    shape,
)


def diagnosed(spark: SparkSession, sessions: list[Row], **by_session: Row) -> DataFrame:
    """The diagnosed frame of the sessions, and of what their events say."""
    return diagnose(
        sessions_frame(spark, *sessions), rebuilt_frame(spark, **by_session), NOW, SETTLE
    )


def told(found: DataFrame) -> DataFrame:
    """What is told of each symptom of the diagnosed frame."""
    corrected = found.transform(correct, "all", False)
    return corrected.withColumn("symptoms", F.col("findings.code"))


def test_a_diagnosed_session_has_the_shape_of_the_schema(spark: SparkSession) -> None:
    made = diagnose(sessions_frame(spark), rebuilt_frame(spark), NOW, SETTLE)
    assert shape(made.schema) == shape(DIAGNOSED)


def test_a_sound_session_has_no_finding_and_carries_no_values(spark: SparkSession) -> None:
    found = diagnosed(spark, [session()], s=rebuilt(malformed_events=0))
    assert_rows(
        found,
        {
            "session_key": oid(100),
            "session_id": "s",
            "canonical_key": oid(100),
            "symptoms": [],
            "stored": None,
            "rebuilt": None,
            "in_flight": False,
            "names_no_page": False,
            "counts_nothing": False,
            "events": 2,
            "checked_events": 2,
        },
    )


def test_the_usual_types_are_named_where_there_is_a_finding(spark: SparkSession) -> None:
    usual, odd = session(1, pages=[]), session(2, session_id="t", pages=[])
    usual["types"], odd["types"] = None, {**TYPES_OF_SOUND, "event_count": "long"}
    found = diagnosed(spark, [usual, odd], s=rebuilt(), t=rebuilt(), lost=rebuilt())
    assert_rows(
        found.select("session_id", "stored.types.event_count", "stored.types.pages"),
        {"session_id": "s", "event_count": "int", "pages": "array"},
        {"session_id": "t", "event_count": "long", "pages": "array"},
        {"session_id": "lost", "event_count": None, "pages": None},
    )


def test_an_empty_session_has_every_finding_that_its_events_tell(spark: SparkSession) -> None:
    empty = session(
        event_count=0, pages=[], first_event_at=None, last_event_at=at("09:00"), user=None
    )
    (row,) = told(diagnosed(spark, [empty], s=rebuilt())).collect()
    user = oid_digits(0xA)
    assert [tuple(finding) for finding in row["findings"]] == [
        ("empty_pages", "pages", "[]", '["/home","/cart"]', None, "correct", None),
        ("zero_events", "event_count", "0", "2", None, "correct", None),
        (
            "first_event_mismatch",
            "first_event_at",
            None,
            "2025-10-01T10:00:00.000Z",
            None,
            "correct",
            None,
        ),
        (
            "last_event_mismatch",
            "last_event_at",
            "2025-10-01T09:00:00.000Z",
            "2025-10-01T10:05:00.000Z",
            None,
            "correct",
            None,
        ),
        ("user_mismatch", "user", None, user, None, "correct", None),
    ]
    assert (row["names_no_page"], row["counts_nothing"]) == (True, True)
    assert (row["stored"]["event_count"], row["rebuilt"]["event_count"]) == (0, 2)


def test_a_user_of_another_integer_type_is_the_same_and_one_to_write_has_the_stored_type(
    spark: SparkSession,
) -> None:
    five, long_five, long_four = (
        f'{{"v": {{"$number{kind}"}}}}' for kind in ('Int": "5', 'Long": "5', 'Long": "4')
    )
    users = {"a": long_five, "b": long_four}
    made = [session(n, session_id=it, user=users[it]) for n, it in enumerate(users)]
    found = diagnosed(spark, made, a=rebuilt(user=five), b=rebuilt(user=five))
    assert_rows(
        told(found).select("session_id", "symptoms", F.col("findings.rebuilt").alias("users")),
        {"session_id": "a", "symptoms": [], "users": []},
        {"session_id": "b", "symptoms": ["user_mismatch"], "users": ['{"$numberLong": "5"}']},
    )


def test_sessions_without_events_are_orphans_or_phantoms(spark: SparkSession) -> None:
    found = diagnosed(
        spark,
        [
            session(1, session_id="empty", event_count=0, pages=[]),
            session(2, session_id="absent", event_count=None, pages=None),
            session(3, session_id="filled"),
        ],
    )
    assert_rows(
        found,
        {"session_id": "empty", "symptoms": ["orphan_session"], "events": None},
        {"session_id": "absent", "symptoms": ["orphan_session"], "events": None},
        {"session_id": "filled", "symptoms": ["phantom_session"], "events": None},
    )


def test_of_what_was_looked_up_only_pairs_are_told(spark: SparkSession) -> None:
    """The others were suspects when one of the two was read, and none when the other was."""
    empty: Row = {"event_count": 0, "pages": []}
    rows: list[Row] = [
        {"session_id": "orphan", "rebuilt": None},
        {"session_id": "filled since", "rebuilt": rebuilt()},
    ]
    sessions = [session(1, session_id="orphan", **empty), session(2, session_id="gone", **empty)]
    found = diagnose(
        sessions_frame(spark, *sessions),
        frame(spark, rows, REBUILT_SESSIONS),
        NOW,
        SETTLE,
        OF_SUSPECTS,
    )
    assert_rows(
        found.select("session_id", "symptoms"),
        {"session_id": "orphan", "symptoms": ["orphan_session"]},
    )


def test_what_is_malformed_says_so_of_its_copies_and_of_no_session_without_an_id(
    spark: SparkSession,
) -> None:
    odd = {"malformed": "pages: string"}
    sessions = [
        session(100, **odd),
        session(101),
        session(102, session_id=None, **odd),
        session(103, session_id=None),
    ]
    found = with_canonical(sessions_frame(spark, *sessions), BASIC_SHAPE).select(
        "session_key", "malformed"
    )
    assert {row["session_key"]: row["malformed"] for row in found.collect()} == {
        oid(100): "pages: string",
        oid(101): "its duplicate: malformed",
        oid(102): "pages: string",
        oid(103): None,
    }


def test_events_without_a_session_are_one_row_for_each_session_id(spark: SparkSession) -> None:
    rows: list[Row] = [
        {"session_id": "s", "rebuilt": rebuilt()},
        {"session_id": "lost", "rebuilt": rebuilt(event_count=3, malformed_events=1)},
        {"session_id": None, "rebuilt": rebuilt(event_count=4)},
    ]
    found = diagnose(
        sessions_frame(spark, session(), session(101, session_id=None, malformed="session_id: x")),
        frame(spark, rows, REBUILT_SESSIONS),
        NOW,
        SETTLE,
    )
    sound: Row = {"session_key": oid(100), "session_id": "s", "events": 2, "symptoms": []}
    nameless: Row = {"session_key": oid(101), "session_id": None, "events": None}
    assert_rows(
        told(found).select(
            "session_key",
            "session_id",
            "events",
            "symptoms",
            F.expr("findings.evidence").alias("evidence"),
        ),
        {**sound, "evidence": []},
        {**nameless, "symptoms": ["malformed"], "evidence": ["session session_id: x"]},
        {
            "session_key": None,
            "session_id": "lost",
            "events": 4,
            "symptoms": ["orphan_events"],
            "evidence": ["4 events"],
        },
        {
            "session_key": None,
            "session_id": None,
            "events": 4,
            "symptoms": ["orphan_events"],
            "evidence": ["4 events"],
        },
    )


def test_among_duplicates_the_greatest_count_then_the_oldest_document_is_kept(
    spark: SparkSession,
) -> None:
    empty: dict[str, Any] = {"event_count": 0, "pages": []}
    found = diagnosed(
        spark,
        [
            session(11, session_id="count", event_count=1),
            session(12, session_id="count"),
            session(13, session_id="count", **empty),
            session(22, session_id="tie"),
            session(21, session_id="tie"),
            session(31, session_id="absent", event_count=None, pages=None),
            session(32, session_id="absent", **empty),
            session(41, session_id="alone"),
        ],
        count=rebuilt(),
        tie=rebuilt(),
        absent=rebuilt(),
        alone=rebuilt(),
    )
    evidence = F.col("findings")[0]["evidence"]
    duplicate = ["duplicate_session"]
    assert_rows(
        told(found).withColumn("evidence", F.when(F.col("symptoms")[0] == duplicate[0], evidence)),
        *[
            {
                "session_key": oid(key),
                "symptoms": codes,
                "evidence": text,
                "canonical_key": oid(kept),
            }
            for key, codes, text, kept in [
                (11, duplicate, f"canonical _id {oid_digits(12)}", 12),
                (12, [], None, 12),
                (13, duplicate, f"canonical _id {oid_digits(12)}", 12),
                (21, [], None, 21),
                (22, duplicate, f"canonical _id {oid_digits(21)}", 21),
                (31, duplicate, f"canonical _id {oid_digits(32)}", 32),
                (32, ["empty_pages", "zero_events"], None, 32),
                (41, [], None, 41),
            ]
        ],
    )


def test_documents_without_a_session_id_are_no_duplicates_of_each_other(
    spark: SparkSession,
) -> None:
    nameless = {"session_id": None, "malformed": "session_id: null"}
    found = diagnosed(spark, [session(1, **nameless), session(2, **nameless)])
    assert_rows(
        found,
        {"session_key": oid(1), "canonical_key": oid(1), "symptoms": ["malformed"]},
        {"session_key": oid(2), "canonical_key": oid(2), "symptoms": ["malformed"]},
    )


def test_a_wrong_type_is_the_only_finding_of_its_session(spark: SparkSession) -> None:
    wrong: dict[str, Any] = {"event_count": 0, "pages": [], "user": BOB}
    found = diagnosed(
        spark,
        [
            session(1, session_id="document", **wrong, malformed="first_event_at: string"),
            session(2, session_id="event", **wrong),
            session(3, session_id="both", **wrong, malformed="event_count: double"),
            session(4, session_id="size", **wrong),
        ],
        document=rebuilt(),
        event=rebuilt(malformed_events=2, malformed=malformed_events("page: int", "user_id: bool")),
        both=rebuilt(malformed_events=1, malformed=malformed_events("page: int")),
        size=rebuilt(pages_size=2**24 + 1),
    )
    assert_rows(
        told(found).select("session_id", "symptoms", F.expr("findings.evidence").alias("evidence")),
        *[
            {"session_id": name, "symptoms": ["malformed"], "evidence": [evidence]}
            for name, evidence in [
                ("document", "session first_event_at: string"),
                ("event", "event page: int, user_id: bool"),
                ("both", "session event_count: double, event page: int"),
                ("size", "over 16 MB: rebuilt pages of 16777217 bytes"),
            ]
        ],
    )


OPENED, CLOSES = NOW - SETTLE, NOW + timedelta(days=1)
TICK = timedelta(milliseconds=1)
LONG_AGO = at("00:00")
FAR = datetime(9999, 12, 31, tzinfo=timezone.utc)

INSTANTS: dict[str, tuple[Row, Row, bool]] = {
    "quiet": ({}, {}, False),
    "stored first": ({"first_event_at": NOW}, {}, True),
    "stored last": ({"last_event_at": NOW}, {}, True),
    "creation of the document": ({"created_at": NOW}, {}, True),
    "an event": ({}, {"last_active_at": NOW}, True),
    "an event before one of the year 9999": (
        {},
        {"last_active_at": NOW, "last_event_at": FAR},
        True,
    ),
    "creation of an event": ({}, {"last_created_at": NOW}, True),
    "as the window opens": ({}, {"last_active_at": OPENED}, True),
    "before the window": ({}, {"last_active_at": OPENED - TICK}, False),
    "a clock that runs ahead": ({}, {"last_active_at": CLOSES}, True),
    "beyond every clock error": ({"last_event_at": CLOSES + TICK}, {}, False),
    "year 9999": ({"last_event_at": FAR}, {"last_event_at": FAR}, False),
    "far future, but created now": ({"last_event_at": FAR, "created_at": NOW}, {}, True),
}


def test_a_session_is_in_flight_by_each_sign_of_activity(spark: SparkSession) -> None:
    quiet = dict.fromkeys(("first_event_at", "last_event_at"), LONG_AGO)
    idle = dict.fromkeys(("last_created_at", "last_active_at"), LONG_AGO)
    sessions = [
        session(number, session_id=case, **{**quiet, "created_at": LONG_AGO, **document})
        for number, (case, (document, _, _)) in enumerate(INSTANTS.items())
    ]
    by_session = {
        case: rebuilt(**{**quiet, **idle, **events}) for case, (_, events, _) in INSTANTS.items()
    }
    found = diagnosed(spark, sessions, **by_session)
    assert_rows(
        found, *[{"session_id": case, "in_flight": it} for case, (_, _, it) in INSTANTS.items()]
    )


def test_a_session_without_any_date_is_not_in_flight(spark: SparkSession) -> None:
    dateless = session(first_event_at=None, last_event_at=None, created_at=None)
    assert_rows(
        diagnosed(spark, [dateless]),
        {"session_id": "s", "in_flight": False, "started_at": None},
    )


def test_a_session_starts_with_its_first_event_else_as_stored_else_as_created(
    spark: SparkSession,
) -> None:
    found = diagnosed(
        spark,
        [
            session(1, session_id="events", first_event_at=at("08:00")),
            session(2, session_id="stored", first_event_at=at("08:00")),
            session(3, session_id="created", first_event_at=None),
        ],
        events=rebuilt(first_event_at=at("10:00")),
        stored=rebuilt(first_event_at=None),
    )
    assert_rows(
        found,
        {"session_id": "events", "started_at": at("10:00")},
        {"session_id": "stored", "started_at": at("08:00")},
        {"session_id": "created", "started_at": at("09:00")},
    )
