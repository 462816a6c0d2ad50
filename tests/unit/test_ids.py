"""Ids: the key of each, the value that it stands for, and its name."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Timestamp, json_util
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from session_repair.rules.ids import key_of_id, key_of_text, name_of_id, stored_id
from tests.unit.frames import frame

AS_STORED = json_util.CANONICAL_JSON_OPTIONS
DIGITS, UUID = "68f0000000000000000000aa", uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
OID, NUMBER = f'{{"v": {{"$oid": "{DIGITS}"}}}}', '{"v": {"$numberLong": "7"}}'
LIKE_NUMBER, LIKE_TEXT = NUMBER, '{"v": "\u00e1\x00\\"}'


def enveloped(value: Any) -> str:
    return json_util.dumps({"v": value}, json_options=AS_STORED, ensure_ascii=False)


def quoted(text: str) -> str:
    return f'{{"v": "{text}"}}'


def exact(value: Any) -> tuple[Any, ...]:
    """An id of a type that is plain nowhere: type, text, envelope, its key by plain kind, name."""
    kinds = {bytes: "binData", Binary: "binData", bool: "bool", DatetimeMS: "date"}
    kind = kinds.get(type(value), "timestamp")
    content = json.dumps(json.loads(enveloped(value))["v"])
    return (
        kind,
        None,
        enveloped(value),
        enveloped(value),
        enveloped(value),
        enveloped(value),
        content,
    )


# type, text, envelope; the key where text, ObjectIds, numbers are plain; the name.
IDS: list[tuple[Any, ...]] = [
    ("string", "a", None, "a", '{"v": "a"}', '{"v": "a"}', "a"),
    ("string", DIGITS, None, DIGITS, f'{{"v": "{DIGITS}"}}', f'{{"v": "{DIGITS}"}}', DIGITS),
    ("string", "7", None, "7", '{"v": "7"}', '{"v": "7"}', "7"),
    ("string", "", None, "", '{"v": ""}', '{"v": ""}', ""),
    ("string", LIKE_NUMBER, None, *[quoted(LIKE_NUMBER)] * 3, LIKE_NUMBER),
    ("string", LIKE_TEXT, None, *[quoted(LIKE_TEXT)] * 3, LIKE_TEXT),
    ("objectId", DIGITS, None, OID, DIGITS, OID, DIGITS),
    ("int", "7", None, NUMBER, NUMBER, "7", "7"),
    ("long", "7", None, NUMBER, NUMBER, "7", "7"),
    ("double", "7", enveloped(7.0), NUMBER, NUMBER, "7", "7"),
    ("decimal", "7", enveloped(Decimal128("7.00")), NUMBER, NUMBER, "7", "7"),
    ("long", "-9223372036854775808", None, *['{"v": {"$numberLong": "-9223372036854775808"}}'] * 2)
    + ("-9223372036854775808",) * 2,
    (*exact(Binary(UUID.bytes, 4))[:6], str(UUID)),
    exact(Binary(UUID.bytes, 3)),
    exact(Binary(b"1234", 4)),
    exact(b"raw"),
    exact(True),
    exact(DatetimeMS(-5)),
    exact(Timestamp(1, 2)),
]
COLUMNS = "kind string, text string, exact string, place int"
KEYS = {"string": 3, "objectId": 4, "number": 5}


def rows_of(spark: SparkSession, plain: str) -> Any:
    """The ids with their keys."""
    given = [{"kind": it[0], "text": it[1], "exact": it[2], "place": n} for n, it in enumerate(IDS)]
    key = key_of_id(F.col("text"), F.col("exact"), F.col("kind"), plain)
    return frame(spark, given, COLUMNS).withColumn("key", key).orderBy("place")


@pytest.mark.parametrize("plain", KEYS)
def test_the_key_of_an_id(spark: SparkSession, plain: str) -> None:
    found = [row["key"] for row in rows_of(spark, plain).collect()]
    assert found == [it[KEYS[plain]] for it in IDS]


@pytest.mark.parametrize("plain", KEYS)
def test_the_key_of_the_usual_type_is_that_of_the_same_type_when_it_is_told(
    spark: SparkSession, plain: str
) -> None:
    rows = rows_of(spark, plain)
    for kind in {it[0] for it in IDS}:
        key = key_of_text(F.col("text"), F.col("exact"), kind, plain)
        some = rows.where(F.col("kind") == kind).select("key", key.alias("same")).collect()
        assert some
        assert [row["same"] for row in some] == [row["key"] for row in some]


@pytest.mark.parametrize("plain", KEYS)
def test_two_ids_have_one_key_only_where_they_are_equal_numbers(
    spark: SparkSession, plain: str
) -> None:
    keys = [row["key"] for row in rows_of(spark, plain).collect()]
    equal = [number for number, it in enumerate(IDS) if it[1] == "7" and it[0] != "string"]
    assert len({keys[number] for number in equal}) == 1
    assert len({*keys}) == len(IDS) - len(equal) + 1


def test_what_is_malformed_or_not_there_has_no_key(spark: SparkSession) -> None:
    kinds = ["missing", "null", "array", "double that no long equals", "there twice"]
    given = [{"kind": it, "text": None, "exact": None} for it in kinds]
    for plain in KEYS:
        key = key_of_id(F.col("text"), F.col("exact"), F.col("kind"), plain)
        rows = frame(spark, given, COLUMNS).select(key.alias("key")).collect()
        assert [row["key"] for row in rows] == [None] * len(kinds)


@pytest.mark.parametrize("plain", KEYS)
def test_the_name_of_a_key(spark: SparkSession, plain: str) -> None:
    named = rows_of(spark, plain).select(name_of_id(F.col("key")).alias("name"))
    assert [row["name"] for row in named.collect()] == [it[6] for it in IDS]


VALUES: dict[str, Any] = {"string": str, "objectId": ObjectId, "int": int, "long": Int64}


@pytest.mark.parametrize("plain", KEYS)
def test_the_stored_id_is_the_very_value(spark: SparkSession, plain: str) -> None:
    stored = stored_id(F.col("key"), F.col("exact"), F.col("kind"))
    found = [row["stored"] for row in rows_of(spark, plain).withColumn("stored", stored).collect()]
    for text, (kind, plainly, envelope, *_) in zip(found, IDS, strict=True):
        should = envelope or enveloped(VALUES[kind](plainly))
        assert json.loads(text) == json.loads(should)["v"]


@pytest.mark.parametrize("plain", KEYS)
def test_spark_compiles_what_makes_the_key_of_each_event(spark: SparkSession, plain: str) -> None:
    """Compiled parts bear a number in the plan; one function that is not compiled takes it away."""
    given = [F.lit(it).alias(it) for it in ("string", "7")]
    ids = spark.range(3).select(F.col("id").cast("string").alias("text"), *given)
    for key in (
        key_of_id(F.col("text"), F.col("text"), F.col("string"), plain),
        key_of_text(F.col("text"), F.col("text"), "string", plain),
    ):
        plan = ids.select(key.alias("key"))._jdf.queryExecution().executedPlan().toString()
        assert plan.startswith("*(1) Project")
