"""Journal rows: the plan as extended JSON, which must say exactly what was planned."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, json_util
from pyspark.sql import SparkSession

from session_repair.rules.journal_rows import PlanRows, journal_rows
from session_repair.rules.schemas import CHANGES, CORRECTED, JOURNAL_ROWS
from tests.unit.frames import NOW, TYPES_OF_SOUND, Row, assert_rows, at, frame, oid, shape

EXACT = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, tz_aware=True, tzinfo=timezone.utc
)
PLAN = PlanRows("r1", "r1:7:", NOW)
LEFT_ALONE: Row = dict.fromkeys(CHANGES.fieldNames())
FIELDS = ("user_id", "event_count", "pages", "first_event_at", "last_event_at")
ABSENT_FIELDS = dict.fromkeys(FIELDS, "missing")


def planned(number: int = 1, **snippet: Any) -> Row:
    """A corrected session, all its fields absent, whose count is to be set to 2."""
    stored = snippet.pop("stored", {})
    types = {**TYPES_OF_SOUND, **ABSENT_FIELDS, **stored.pop("types", {})}
    return {
        "session_key": oid(number),
        "session_id": "s",
        "stored": {**LEFT_ALONE, **stored, "types": types},
        "changes": {**LEFT_ALONE, "event_count": 2},
        "findings": [],
        **snippet,
    }


def plan_texts(spark: SparkSession, *rows: Row) -> list[str]:
    """The plans in the order of the given rows, whose numbers rise."""
    made = journal_rows(frame(spark, rows, CORRECTED), PLAN)
    return [row["plan"] for row in made.orderBy("_id").collect()]


def plans(spark: SparkSession, *rows: Row) -> list[Any]:
    """The plans as bson.json_util reads them."""
    return [json_util.loads(text, json_options=EXACT) for text in plan_texts(spark, *rows)]


def read_by_the_connector(spark: SparkSession, text: str) -> Any:
    """The plan as the Java driver reads it, which the connector calls, in Python's types."""
    jvm: Any = spark.sparkContext._jvm
    canonical = jvm.org.bson.json.JsonWriterSettings.builder()
    canonical = canonical.outputMode(jvm.org.bson.json.JsonMode.EXTENDED).build()
    return json_util.loads(
        jvm.org.bson.BsonDocument.parse(text).toJson(canonical), json_options=EXACT
    )


def test_a_journal_row_has_the_shape_of_the_schema(spark: SparkSession) -> None:
    assert shape(journal_rows(frame(spark, [], CORRECTED), PLAN).schema) == shape(JOURNAL_ROWS)


def test_only_planned_sessions_have_a_row_named_after_attempt_and_session(
    spark: SparkSession,
) -> None:
    rows = [planned(1), planned(2, changes=None)]
    assert_rows(
        journal_rows(frame(spark, rows, CORRECTED), PLAN),
        {"_id": f"r1:7:{oid(1)}", "run_id": "r1", "expires_at": NOW},
    )


def test_a_plan_says_what_was_observed_and_what_is_written(spark: SparkSession) -> None:
    finding = dict.fromkeys(("field", "stored", "rebuilt", "evidence", "action"))
    row = planned(
        stored={
            "event_count": 1,
            "pages": ["/a"],
            "first_event_at": at("10:00:00.001"),
            "last_event_at": at("10:01"),
            "user": oid(0xA),
            "types": TYPES_OF_SOUND,
        },
        changes={
            "event_count": 2,
            "pages": ["/a", "/b"],
            "first_event_at": at("10:00"),
            "last_event_at": at("10:02"),
            "user": oid(0xB),
        },
        findings=[{**finding, "code": "count_mismatch"}, {**finding, "code": "user_mismatch"}],
    )
    (plan,) = plans(spark, row)
    made_at_nine = "68dced90"
    assert plan == {
        "session": {"v": ObjectId(f"{made_at_nine}0000000000000001")},
        "session_id": "s",
        "observed": {
            "event_count": 1,
            "pages": ["/a"],
            "first_event_at": at("10:00:00.001"),
            "last_event_at": at("10:01"),
            "user_id": ObjectId(f"{made_at_nine}000000000000000a"),
        },
        "new": {
            "event_count": 2,
            "pages": ["/a", "/b"],
            "first_event_at": at("10:00"),
            "last_event_at": at("10:02"),
            "user_id": ObjectId(f"{made_at_nine}000000000000000b"),
        },
        "findings": ["count_mismatch", "user_mismatch"],
    }


def test_absent_fields_are_left_out_and_null_ones_are_null(spark: SparkSession) -> None:
    all_null = dict.fromkeys(ABSENT_FIELDS, "null")
    absent, null = plans(spark, planned(1), planned(2, stored={"types": all_null}))
    assert absent["observed"] == {}
    assert null["observed"] == dict.fromkeys(ABSENT_FIELDS)
    assert absent["new"] == null["new"] == {"event_count": 2}
    assert absent["findings"] == []


def test_an_empty_list_of_pages_and_a_count_of_0_are_observed_as_such(spark: SparkSession) -> None:
    types = {"pages": "array", "event_count": "int"}
    (plan,) = plans(spark, planned(stored={"pages": [], "event_count": 0, "types": types}))
    assert plan["observed"] == {"pages": [], "event_count": 0}


def test_an_observed_count_keeps_its_type(spark: SparkSession) -> None:
    rows = [
        planned(number, stored={"event_count": 0, "types": {"event_count": kind}})
        for number, kind in enumerate(("int", "long"))
    ]
    as_int, as_long = plan_texts(spark, *rows)
    assert '"observed":{"event_count":{"$numberInt":"0"}}' in as_int
    assert '"observed":{"event_count":{"$numberLong":"0"}}' in as_long


def test_the_types_of_parents_stand_in_the_plan_only_where_fields_are_nested(
    spark: SparkSession,
) -> None:
    plain, nested = plans(spark, planned(1), planned(2, stored={"parents": ["object", "null"]}))
    assert "parents" not in plain
    assert nested["parents"] == ["object", "null"]


COUNTS = [
    (2, '{"$numberInt":"2"}', int),
    (-1, '{"$numberInt":"-1"}', int),
    (2**31 - 1, '{"$numberInt":"2147483647"}', int),
    (2**31, '{"$numberLong":"2147483648"}', Int64),
    (-(2**31), '{"$numberInt":"-2147483648"}', int),
    (-(2**31) - 1, '{"$numberLong":"-2147483649"}', Int64),
]


def test_a_count_is_an_int_where_it_fits_into_one(spark: SparkSession) -> None:
    rows = [
        planned(number, changes={**LEFT_ALONE, "event_count": count})
        for number, (count, _, _) in enumerate(COUNTS)
    ]
    texts = plan_texts(spark, *rows)
    assert [text.split('"new":{"event_count":')[1].split("}")[0] + "}" for text in texts] == [
        text for _, text, _ in COUNTS
    ]
    read = [json_util.loads(text, json_options=EXACT)["new"]["event_count"] for text in texts]
    assert [(value, type(value)) for value in read] == [(count, kind) for count, _, kind in COUNTS]


def test_a_new_count_keeps_the_type_of_the_observed_one_where_it_fits(spark: SparkSession) -> None:
    kinds = [("long", 2), ("int", 2), ("int", 2**31), ("null", 2), ("missing", 2)]
    rows = [
        planned(
            number,
            stored={"types": {"event_count": kind}},
            changes={**LEFT_ALONE, "event_count": count},
        )
        for number, (kind, count) in enumerate(kinds)
    ]
    texts = [text.split('"new":{"event_count":{"')[1] for text in plan_texts(spark, *rows)]
    assert [text.partition('"')[0] for text in texts] == [
        "$numberLong",
        "$numberInt",
        "$numberLong",
        "$numberInt",
        "$numberInt",
    ]


DATES = [
    (datetime(1970, 1, 1, tzinfo=timezone.utc), "0"),
    (datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc), "-1"),
    (datetime(1899, 12, 31, tzinfo=timezone.utc), "-2209075200000"),
    (datetime(2025, 10, 1, 10, 0, 0, 7000, tzinfo=timezone.utc), "1759312800007"),
    (datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc), "253402300799999"),
]


def test_a_date_is_its_milliseconds_since_1970(spark: SparkSession) -> None:
    rows = [
        planned(number, changes={**LEFT_ALONE, "last_event_at": date})
        for number, (date, _) in enumerate(DATES)
    ]
    texts = plan_texts(spark, *rows)
    for text, (date, milliseconds) in zip(texts, DATES, strict=True):
        assert f'"new":{{"last_event_at":{{"$date":{{"$numberLong":"{milliseconds}"}}}}}}' in text
        assert json_util.loads(text, json_options=EXACT)["new"] == {"last_event_at": date}


VALUES: dict[str, Any] = {
    "ObjectId": ObjectId("68dceda0000000000000000a"),
    "string": "bob",
    "text of an ObjectId": '{"$oid": "68dceda0000000000000000a"}',
    "int": 7,
    "long": Int64(7),
    "double": 7.5,
    "decimal": Decimal128("7.50"),
    "bytes": Binary(b"\x00\xff", 128),
    "uuid": Binary(bytes(range(16)), 4),
    "date": at("10:00"),
    "bool": False,
    "document": {"tenant": "t", "n": Int64(1)},
}


def envelope_of(value: Any) -> str:
    return json_util.dumps({"v": value}, json_options=EXACT)


def test_ids_and_users_of_every_type_come_back_as_they_were(spark: SparkSession) -> None:
    rows = [
        planned(
            session_key=envelope_of(value),
            session_id=f"{number:02d}",
            stored={"user": envelope_of(value), "types": {"user_id": "string"}},
            changes={**LEFT_ALONE, "user": envelope_of(value)},
        )
        for number, value in enumerate(VALUES.values())
    ]
    made = journal_rows(frame(spark, rows, CORRECTED), PLAN).collect()
    read = {
        plan["session_id"]: plan
        for plan in (json_util.loads(it["plan"], json_options=EXACT) for it in made)
    }
    for number, value in enumerate(VALUES.values()):
        plan = read[f"{number:02d}"]
        said = [plan["session"]["v"], plan["observed"]["user_id"], plan["new"]["user_id"]]
        assert said == [value] * 3
        assert {type(it) for it in said} == {type(value)}


HOSTILE = [
    "{}, w: {}",
    "[1]",
    '{"$oid": "68dceda0000000000000000a"}',
    '"quoted"',
    "back\\slash \\u0041",
    "two\nlines\r\ttab",
    "NUL \x00 inside",
    "emoji 🛒 and é",
    "\u2028 separator \u202e turned",
    "",
    " ",
    "null",
    '"},"new":{"event_count":9}}',
    "$numberInt",
]


@pytest.mark.parametrize("is_connector", [False, True], ids=["json_util", "connector"])
def test_hostile_text_comes_back_letter_by_letter(spark: SparkSession, is_connector: bool) -> None:
    row = planned(
        stored={"pages": HOSTILE[:7], "types": {"pages": "array"}},
        changes={**LEFT_ALONE, "pages": HOSTILE},
    )
    named = [planned(number + 2, session_id=text) for number, text in enumerate(HOSTILE)]
    texts = plan_texts(spark, row, *named)
    read = [
        read_by_the_connector(spark, text)
        if is_connector
        else json_util.loads(text, json_options=EXACT)
        for text in texts
    ]
    assert read[0]["new"] == {"pages": HOSTILE}
    assert read[0]["observed"] == {"pages": HOSTILE[:7]}
    assert [plan["session_id"] for plan in read[1:]] == HOSTILE
    assert {tuple(plan) for plan in read} == {
        ("session", "session_id", "observed", "new", "findings")
    }
