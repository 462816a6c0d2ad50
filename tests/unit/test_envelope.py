"""Envelopes: BSON values of any type as text, and what can be read from them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from bson import Binary, Decimal128, Int64, ObjectId, Timestamp, json_util
from pyspark.sql import SparkSession

from session_repair.rules import envelope
from tests.unit.frames import at, oid, oid_digits
from tests.unit.test_symptoms import assert_table

OBJECT_ID = ObjectId("68dceda0000000000000000a")
OBJECT_ID_AS_TEXT = '{"v": "{\\"$oid\\": \\"68dceda0000000000000000a\\"}"}'


def envelope_of(value: Any) -> str:
    return json_util.dumps({"v": value}, json_options=json_util.CANONICAL_JSON_OPTIONS)


def test_the_content_of_an_envelope_is_what_was_put_into_it(spark: SparkSession) -> None:
    texts = ['{"$oid": "68dceda0000000000000000a"}', '"é}"', "null", '{"a": {}}']
    opened = [(f'{{"v": {text}}}', text) for text in texts]
    assert_table(spark, "string", envelope.content, [*opened, (None, None)])


def test_a_key_is_the_digits_of_an_object_id_and_the_envelope_of_all_else(
    spark: SparkSession,
) -> None:
    table = [
        (envelope_of(OBJECT_ID), str(OBJECT_ID)),
        (OBJECT_ID_AS_TEXT, OBJECT_ID_AS_TEXT),
        ('{"v": "68dceda0000000000000000a"}', '{"v": "68dceda0000000000000000a"}'),
        (None, None),
    ]
    assert_table(spark, "string", envelope.key_of, table)
    assert_table(spark, "string", envelope.envelope_of, [(key, full) for full, key in table])
    kept = [(full, full) for full, _ in table]
    assert_table(spark, "string", envelope.envelope_of, kept)


def test_an_envelope_that_is_empty_or_holds_null_is_no_value(spark: SparkSession) -> None:
    table = [
        ("{}", None),
        ('{"v": null}', None),
        (None, None),
        ('{"v": "null"}', '{"v": "null"}'),
        ('{"v": ""}', '{"v": ""}'),
        (oid(1), oid(1)),
    ]
    assert_table(spark, "string", envelope.present, table)


def test_an_integer_takes_the_type_of_another_where_it_fits(spark: SparkSession) -> None:
    five, long_five, beyond = 5, Int64(5), Int64(2**31)
    table = [
        (Int64(4), five, long_five),
        (4, long_five, five),
        (4, Int64(-(2**31)), -(2**31)),
        (4, Int64(-(2**31) - 1), Int64(-(2**31) - 1)),
        (4, beyond, beyond),
        (4, five, five),
        (Int64(4), long_five, long_five),
        (Int64(4), "5", "5"),
        ("4", five, five),
        (Int64(4), '{"$numberInt": "5"}', '{"$numberInt": "5"}'),
        (OBJECT_ID, long_five, long_five),
    ]
    rows: list[tuple[Any, ...]] = [tuple(envelope_of(it) for it in row) for row in table]
    rows += [(None, envelope_of(five), envelope_of(five)), (envelope_of(Int64(4)), None, None)]
    assert_table(spark, "string, string", envelope.in_type_of, rows)


def test_the_creation_time_is_read_from_object_ids_alone(spark: SparkSession) -> None:
    table = [
        (oid_digits(1, at("10:00:07")), at("10:00:07")),
        ("000000000000000000000000", datetime(1970, 1, 1, tzinfo=timezone.utc)),
        # Past 2038: the seconds have no sign.
        (
            "ffffffff0000000000000000",
            datetime(2106, 2, 7, 6, 28, 15, tzinfo=timezone.utc),
        ),
        ('{"v": "68dceda0000000000000000a"}', None),
        (OBJECT_ID_AS_TEXT, None),
        ('{"v": {"$numberInt": "7"}}', None),
        (None, None),
    ]
    assert_table(spark, "string", envelope.creation_time, table)


def test_an_object_id_is_before_an_instant_by_its_second(spark: SparkSession) -> None:
    table = [
        (oid_digits(0xFFFF, at("11:59:59")), True),
        (oid_digits(0, at("12:00")), False),
        (oid_digits(1, at("12:00:01")), False),
        ('{"v": "00"}', False),
        ('{"v": {"$numberInt": "7"}}', False),
        (OBJECT_ID_AS_TEXT, False),
        (None, False),
    ]
    assert_table(spark, "string", lambda key: envelope.object_id_before(key, at("12:00")), table)


def test_an_object_id_is_told_from_text_that_looks_like_one(spark: SparkSession) -> None:
    table = [
        (oid_digits(1), True),
        (OBJECT_ID_AS_TEXT, False),
        ('{"v": {"a": 1}}', False),
        (None, False),
    ]
    assert_table(spark, "string", envelope.is_object_id, table)


def test_a_reader_sees_the_digits_of_an_object_id_and_the_json_of_others(
    spark: SparkSession,
) -> None:
    table = [
        (envelope_of(OBJECT_ID), "68dceda0000000000000000a"),
        ('{"v": "68dceda0000000000000000a"}', '"68dceda0000000000000000a"'),
        ('{"v": {"$numberInt": "7"}}', '{"$numberInt": "7"}'),
        (None, None),
    ]
    assert_table(spark, "string", envelope.readable, table)


def test_every_type_is_named_as_the_server_names_it(spark: SparkSession) -> None:
    values = {
        "objectId": OBJECT_ID,
        "string": '{"$oid": "68dceda0000000000000000a"}',
        "int": 7,
        "long": Int64(7),
        "double": 7.5,
        "decimal": Decimal128("7.5"),
        "binData": Binary(b"\x00"),
        "date": at("10:00"),
        "timestamp": Timestamp(7, 1),
        "object": {"a": 1},
        "null": None,
    }
    table = [(envelope_of(value), name) for name, value in values.items()]
    booleans = [(envelope_of(True), "bool"), (envelope_of(False), "bool")]
    assert_table(spark, "string", envelope.type_name, [*table, *booleans, (None, None)])
