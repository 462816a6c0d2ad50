"""The symptoms: a truth table for each, over the joined row of a session and its events.

A case lays snippets over the sound session ``s``; ``stored`` and ``rebuilt`` of None are what the
join leaves for events without a session and for a session without events.
"""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from session_repair.aggregates import BASIC_SHAPE
from session_repair.rules import envelope, predicates, shown
from session_repair.rules.predicates import OF_BASICS as HOLDS
from session_repair.rules.predicates import shared_facts
from session_repair.rules.schemas import DIAGNOSED, REBUILT, SESSIONS, STORED
from tests.harness.table import CODES, SYMPTOMS
from tests.unit.frames import (
    BOB,
    Row,
    assert_rows,
    at,
    frame,
    malformed_events,
    oid,
    rebuilt,
    session,
)

# The codes that users filter by.
DOCUMENTED_CODES = [
    "empty_pages",
    "zero_events",
    "count_mismatch",
    "pages_missing",
    "pages_extra",
    "first_event_mismatch",
    "last_event_mismatch",
    "user_mismatch",
    "user_conflict",
    "duplicate_session",
    "orphan_session",
    "phantom_session",
    "orphan_events",
    "malformed",
]

JOINED = StructType(
    [
        SESSIONS["session_key"],
        SESSIONS["session_id"],
        SESSIONS["malformed"],
        StructField("stored", STORED),
        DIAGNOSED["canonical_key"],
        StructField("rebuilt", REBUILT),
    ]
)

NOTHING: Row = {}
NO_EVENTS: Row = {"rebuilt": None}
ONLY_EVENTS: Row = {"session_key": None, "canonical_key": None, "stored": None}
DUPLICATE: Row = {"canonical_key": oid(99)}
BAD_SESSION: Row = {"malformed": "pages: string"}
BAD_EVENT: Row = {"rebuilt": {"malformed_events": 1, "malformed": malformed_events("page: int")}}
NO_SOUND_EVENT: Row = {
    "rebuilt": {
        "event_count": 0,
        "pages": [],
        "first_event_at": None,
        "last_event_at": None,
        "user": None,
        "malformed_events": 1,
        "malformed": malformed_events("page: int"),
    }
}
EMPTY: Row = {"event_count": 0, "pages": []}


def stored(**snippet: Any) -> Row:
    return {"stored": snippet}


def events_say(**snippet: Any) -> Row:
    return {"rebuilt": snippet}


def both(*snippets: Row) -> Row:
    merged: Row = {}
    for snippet in snippets:
        merged.update(snippet)
    return merged


def joined(snippet: Row) -> Row:
    """The joined row of a session that agrees with its events, under the snippet."""
    document = session()
    row = {
        "session_key": document["session_key"],
        "session_id": "s",
        "malformed": None,
        "stored": {name: document[name] for name in STORED.fieldNames()},
        "canonical_key": document["session_key"],
        "rebuilt": rebuilt(),
    }
    for name, value in snippet.items():
        over = isinstance(row[name], dict) and isinstance(value, dict)
        row[name] = {**row[name], **value} if over else value
    return row


# What silences every symptom of a session's values.
SILENT = [
    ("the session agrees with its events", NOTHING, False),
    ("only events", ONLY_EVENTS, False),
]

TABLES: dict[str, list[tuple[str, Row, bool]]] = {
    "empty_pages": [
        *SILENT,
        ("[] and pages in the events", stored(pages=[]), True),
        ("null or missing, and pages in the events", stored(pages=None), True),
        ("[] and no page in the events", both(stored(pages=[]), events_say(pages=[])), False),
        ("[] and no event", both(stored(pages=[]), NO_EVENTS), False),
        ("other pages", stored(pages=["/x"]), False),
        ("[] in a duplicate", both(stored(pages=[]), DUPLICATE), False),
        ("[] in a malformed session", both(stored(pages=[]), BAD_SESSION), False),
        ("[] and a malformed event", both(stored(pages=[]), BAD_EVENT), False),
    ],
    "zero_events": [
        *SILENT,
        ("0", stored(event_count=0), True),
        ("null or missing", stored(event_count=None), True),
        ("0 and no event", both(stored(event_count=0), NO_EVENTS), False),
        ("0 and no sound event", both(stored(event_count=0), NO_SOUND_EVENT), False),
        ("1 of 2", stored(event_count=1), False),
        ("0 in a duplicate", both(stored(event_count=0), DUPLICATE), False),
        ("0 in a malformed session", both(stored(event_count=0), BAD_SESSION), False),
    ],
    "count_mismatch": [
        *SILENT,
        ("1 of 2", stored(event_count=1), True),
        ("3 of 2", stored(event_count=3), True),
        ("a negative count", stored(event_count=-1), True),
        ("0", stored(event_count=0), False),
        ("null or missing", stored(event_count=None), False),
        ("3 and no event", both(stored(event_count=3), NO_EVENTS), False),
        ("3 in a duplicate", both(stored(event_count=3), DUPLICATE), False),
        ("3 and a malformed event", both(stored(event_count=3), BAD_EVENT), False),
        ("3 and 0 events", both(stored(event_count=3), events_say(event_count=0)), False),
    ],
    "pages_missing": [
        *SILENT,
        ("one of two", stored(pages=["/home"]), True),
        ("others", stored(pages=["/x"]), True),
        ("another order", stored(pages=["/cart", "/home"]), False),
        ("one more", stored(pages=["/home", "/cart", "/x"]), False),
        ("repeated", stored(pages=["/home", "/home", "/cart"]), False),
        ("[] is empty_pages", stored(pages=[]), False),
        ("null is empty_pages", stored(pages=None), False),
        ("no page in the events", events_say(pages=[]), False),
        ("no event", NO_EVENTS, False),
        ("one of two in a duplicate", both(stored(pages=["/home"]), DUPLICATE), False),
        ("one of two in a malformed session", both(stored(pages=["/home"]), BAD_SESSION), False),
    ],
    "pages_extra": [
        *SILENT,
        ("one more", stored(pages=["/home", "/cart", "/x"]), True),
        ("others", stored(pages=["/x"]), True),
        ("no page in the events", events_say(pages=[]), True),
        ("one twice", stored(pages=["/home", "/home", "/cart"]), True),
        ("one twice, in the place of another", stored(pages=["/home", "/home"]), True),
        ("one twice and no event", both(stored(pages=["/home", "/home"]), NO_EVENTS), False),
        ("one twice in a duplicate", both(stored(pages=["/home", "/home"]), DUPLICATE), False),
        ("another order", stored(pages=["/cart", "/home"]), False),
        ("one of two", stored(pages=["/home"]), False),
        ("[]", stored(pages=[]), False),
        ("null or missing", stored(pages=None), False),
        ("no event is a phantom", NO_EVENTS, False),
        ("others in a duplicate", both(stored(pages=["/x"]), DUPLICATE), False),
        ("others and a malformed event", both(stored(pages=["/x"]), BAD_EVENT), False),
    ],
    "first_event_mismatch": [
        *SILENT,
        ("1 ms later", stored(first_event_at=at("10:00:00.001")), True),
        ("earlier", stored(first_event_at=at("09:00")), True),
        ("null or missing", stored(first_event_at=None), True),
        ("no event has a date", events_say(first_event_at=None), False),
        ("no event", NO_EVENTS, False),
        ("null in a duplicate", both(stored(first_event_at=None), DUPLICATE), False),
        ("null in a malformed session", both(stored(first_event_at=None), BAD_SESSION), False),
        ("only the last date differs", stored(last_event_at=at("10:06")), False),
    ],
    "last_event_mismatch": [
        *SILENT,
        ("1 ms earlier", stored(last_event_at=at("10:04:59.999")), True),
        ("later", stored(last_event_at=at("11:00")), True),
        ("null or missing", stored(last_event_at=None), True),
        ("no event has a date", events_say(last_event_at=None), False),
        ("no event", NO_EVENTS, False),
        ("null in a duplicate", both(stored(last_event_at=None), DUPLICATE), False),
        ("null and a malformed event", both(stored(last_event_at=None), BAD_EVENT), False),
        ("only the first date differs", stored(first_event_at=at("09:00")), False),
    ],
    "user_mismatch": [
        *SILENT,
        ("another", stored(user=BOB), True),
        ("null or missing", stored(user=None), True),
        ("the same digits as text", stored(user='{"v": "00000000000000000000000a"}'), True),
        ("no event names a user", events_say(user=None), False),
        ("no event", NO_EVENTS, False),
        ("another in a duplicate", both(stored(user=BOB), DUPLICATE), False),
        ("another in a malformed session", both(stored(user=BOB), BAD_SESSION), False),
    ],
    "user_conflict": [
        *SILENT,
        ("two users", events_say(user=None, user_conflict=True), True),
        ("no event names a user", events_say(user=None), False),
        ("no event", NO_EVENTS, False),
        ("two in a duplicate", both(events_say(user_conflict=True), DUPLICATE), False),
        ("two in a malformed session", both(events_say(user_conflict=True), BAD_SESSION), False),
    ],
    "duplicate_session": [
        *SILENT,
        ("another document is the canonical one", DUPLICATE, True),
        ("malformed, and another is the canonical one", both(DUPLICATE, BAD_SESSION), True),
        ("no event, and another is the canonical one", both(DUPLICATE, NO_EVENTS), True),
    ],
    "orphan_session": [
        *SILENT,
        ("0, [] and no event", both(stored(**EMPTY), NO_EVENTS), True),
        ("null, null and no event", both(stored(event_count=None, pages=None), NO_EVENTS), True),
        ("0, [] and events", stored(**EMPTY), False),
        ("0, a page and no event", both(stored(event_count=0), NO_EVENTS), False),
        ("a count, [] and no event", both(stored(pages=[]), NO_EVENTS), False),
        ("empty, malformed events only", both(stored(**EMPTY), NO_SOUND_EVENT), False),
        ("an empty duplicate", both(stored(**EMPTY), NO_EVENTS, DUPLICATE), False),
        ("an empty malformed session", both(stored(**EMPTY), NO_EVENTS, BAD_SESSION), False),
    ],
    "phantom_session": [
        *SILENT,
        ("filled and no event", NO_EVENTS, True),
        ("0, a page and no event", both(stored(event_count=0), NO_EVENTS), True),
        ("a count, [] and no event", both(stored(pages=[]), NO_EVENTS), True),
        ("empty and no event", both(stored(**EMPTY), NO_EVENTS), False),
        ("filled, malformed events only", NO_SOUND_EVENT, False),
        ("a filled duplicate", both(NO_EVENTS, DUPLICATE), False),
        ("a filled malformed session", both(NO_EVENTS, BAD_SESSION), False),
    ],
    "orphan_events": [
        ("a session and its events", NOTHING, False),
        ("a session and no event", NO_EVENTS, False),
        ("events and no session", ONLY_EVENTS, True),
        ("events without a session_id", both(ONLY_EVENTS, {"session_id": None}), True),
        ("malformed events and no session", both(ONLY_EVENTS, NO_SOUND_EVENT), True),
        ("a session without a session_id", both(NO_EVENTS, {"session_id": None}), False),
    ],
    "malformed": [
        ("sound, with events", NOTHING, False),
        ("sound, without events", NO_EVENTS, False),
        ("sound events and no session", ONLY_EVENTS, False),
        ("a field of the session", BAD_SESSION, True),
        ("a field of the session, no event", both(BAD_SESSION, NO_EVENTS), True),
        ("one event", BAD_EVENT, True),
        ("all events", NO_SOUND_EVENT, True),
        ("an event and no session", both(ONLY_EVENTS, BAD_EVENT), False),
        ("pages that fill a document", events_say(pages_size=16 * 1024 * 1024 + 1), True),
        ("pages that nearly fill it", events_say(pages_size=15 * 1024 * 1024), False),
    ],
}


def test_every_symptom_is_documented_and_has_a_table_in_the_same_order() -> None:
    assert list(CODES) == DOCUMENTED_CODES
    assert list(TABLES) == DOCUMENTED_CODES


def test_what_a_symptom_is_and_when_it_holds_stand_side_by_side() -> None:
    assert tuple(HOLDS) == CODES
    assert set(shown.texts_of(BASIC_SHAPE)) == {symptom.field for symptom in SYMPTOMS} - {None}
    assert set(shown.evidence_of(BASIC_SHAPE)) < set(CODES)


def test_every_symptom_looks_at_a_field_that_is_both_stored_and_rebuilt() -> None:
    both_have = set(STORED.fieldNames()) & set(REBUILT.fieldNames())
    assert {symptom.field for symptom in SYMPTOMS} - {None} == both_have


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> dict[str, dict[str, bool]]:
    """By code, what the symptom says of each case of its table; one job for all of them."""
    schema = StructType([*JOINED.fields]).add("code", "string").add("case", "string")
    rows = [
        {**joined(snippet), "code": code, "case": case}
        for code, table in TABLES.items()
        for case, snippet, _ in table
    ]
    holds = F.coalesce(*[F.when(F.col("code") == code, says()) for code, says in HOLDS.items()])
    judgements: dict[str, dict[str, bool]] = {code: {} for code in TABLES}
    told = frame(spark, rows, schema).withColumns(shared_facts(BASIC_SHAPE))
    for row in told.select("code", "case", holds.alias("holds")).collect():
        judgements[row["code"]][row["case"]] = row["holds"]
    return judgements


@pytest.mark.parametrize("code", CODES)
def test_a_symptom_holds_as_its_table_says(judged: dict[str, dict[str, bool]], code: str) -> None:
    assert judged[code] == {case: holds for case, _, holds in TABLES[code]}


@pytest.mark.parametrize("code", TABLES)
def test_a_table_holds_both_answers_and_names_each_case_once(code: str) -> None:
    table = TABLES[code]
    assert {holds for _, _, holds in table} == {True, False}
    assert len({case for case, _, _ in table}) == len(table)


def assert_table(spark: SparkSession, kinds: str, fact: Any, table: list[tuple[Any, ...]]) -> None:
    """Each row of the table is the arguments of the fact, then what it must say."""
    names = [f"argument_{number}" for number in range(len(kinds.split(",")))]
    schema = ", ".join(f"{n} {k}" for n, k in zip(names, kinds.split(","), strict=True))
    rows = [
        {"number": number, **dict(zip(names, row[:-1], strict=True))}
        for number, row in enumerate(table)
    ]
    arguments = frame(spark, rows, f"number int, {schema}")
    judged = arguments.withColumn("says", fact(*[F.col(name) for name in names]))
    assert_rows(judged, *[{"number": n, "says": row[-1]} for n, row in enumerate(table)])


def test_pages_that_are_null_or_empty_name_no_page(spark: SparkSession) -> None:
    table = [(None, True), ([], True), (["/a"], False), ([""], False)]
    assert_table(spark, "array<string>", predicates.names_no_page, table)


def test_a_count_that_is_null_or_0_counts_nothing(spark: SparkSession) -> None:
    table = [(None, True), (0, True), (1, False), (-1, False)]
    assert_table(spark, "bigint", predicates.counts_nothing, table)


def test_pages_lack_what_others_have_and_null_has_nothing(spark: SparkSession) -> None:
    table = [
        (["/a"], ["/a", "/b"], True),
        (["/a", "/b"], ["/b", "/a"], False),
        (["/a", "/b"], ["/a"], False),
        (["/a"], ["/A"], True),
        ([], ["/a"], True),
        ([], [], False),
        (None, ["/a"], True),
        (["/a"], None, False),
        (None, None, False),
    ]
    assert_table(spark, "array<string>,array<string>", predicates.lacks, table)


def test_a_value_differs_only_from_a_rebuilt_one(spark: SparkSession) -> None:
    table = [(1, 1, False), (1, 2, True), (None, 2, True), (1, None, False), (None, None, False)]
    assert_table(spark, "bigint,bigint", predicates.differs, table)


def test_a_text_of_more_than_500_characters_is_cut(spark: SparkSession) -> None:
    table = [("é" * 500, "é" * 500), ("é" * 501, "é" * 500 + "…"), (None, None), ("", "")]
    assert_table(spark, "string", shown.in_short, table)


def test_values_are_shown_as_text(spark: SparkSession) -> None:
    assert_table(spark, "bigint", shown.number_text, [(0, "0"), (2**40, "1099511627776")])
    pages = [(["/a", 'b"'], '["/a","b\\""]'), ([], "[]"), (None, None)]
    assert_table(spark, "array<string>", shown.texts_of(BASIC_SHAPE)["pages"][0], pages)
    dates = [(at("10:00:00.007"), "2025-10-01T10:00:00.007Z"), (None, None)]
    assert_table(spark, "timestamp", envelope.date_text, dates)
    users = [
        ('{"v": {"$oid": "68dd0e100000000000000001"}}', "68dd0e100000000000000001"),
        ('{"v": "bob"}', '"bob"'),
        (None, None),
    ]
    assert_table(spark, "string", shown.texts_of(BASIC_SHAPE)["user"][0], users)


def test_types_are_told_by_the_names_of_the_documents(spark: SparkSession) -> None:
    named = {"event_count": "pages", "pages": r"a$1\b", "user_id": "user_id"}
    table = [
        ("event_count: string", "pages: string"),
        ("pages: int, event_count: bool, user_id: date", r"a$1\b: int, pages: bool, user_id: date"),
        ("its duplicate: malformed", "its duplicate: malformed"),
        (None, None),
    ]
    assert_table(spark, "string", lambda types: shown.as_named(types, named), table)
