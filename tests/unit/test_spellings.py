"""Spellings: what an id is as a value of another BSON type, and when two values are one id."""

from __future__ import annotations

import uuid
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Regex, Timestamp

from session_repair.mongo.bson_bytes import elements
from session_repair.mongo.spellings import (
    NOTHING,
    comparable,
    keeping,
    named_by,
    other_spellings,
    scalar_in,
    shown_id,
    spellings,
)

TEXT = "00112233-4455-6677-8899-aabbccddeeff"
UUID = uuid.UUID(TEXT)
DIGITS = "68f0000000000000000000aa"
AS_BINARY: list[bytes] = [
    Binary(UUID.bytes, 4),
    Binary(UUID.bytes, 3),
    Binary(UUID.bytes[7::-1] + UUID.bytes[:7:-1], 3),
    Binary(UUID.bytes_le, 3),
    UUID.bytes,  # a binary of no kind, subtype 0
]

SPELLED: dict[str, list[Any]] = {
    "777": [Decimal128("777"), 777.0],
    "-1.5": [Decimal128("-1.5"), -1.5],
    "0.1": [Decimal128("0.1"), 0.1],
    "9" * 40: [float("9" * 40)],  # more digits than a decimal has
    "1e999": [Decimal128("1e999")],  # more than a double has
    DIGITS: [ObjectId(DIGITS)],
    "123456789012345678901234": [
        ObjectId("123456789012345678901234"),
        Decimal128("123456789012345678901234"),
        float("123456789012345678901234"),
    ],
    TEXT: [*AS_BINARY],
    **{text: [] for text in ("", "a", "NaN", "sNaN", "-inf", "x" * 24, "$1", "\x00")},
}


@pytest.mark.parametrize(("text", "others"), SPELLED.items())
def test_a_text_spells_a_number_an_object_id_or_a_uuid(text: str, others: list[Any]) -> None:
    assert other_spellings(text) == others
    assert {comparable(it) for it in spellings(text)} == {*map(comparable, (text, *others))}


TEXTS = [TEXT, UUID.hex, TEXT.upper()]
OTHERS: list[tuple[Any, list[Any]]] = [
    *((number, ["777", "777.0"]) for number in (777, Int64(777), 777.0, Decimal128("7.77E2"))),
    (Int64(2**53 + 1), [str(2**53 + 1), f"{2**53 + 1}.0", float(2**53)]),
    (ObjectId(DIGITS), [DIGITS]),
    (Binary(UUID.bytes, 4), [*TEXTS, *AS_BINARY]),
    (UUID.bytes, [*TEXTS, *AS_BINARY]),
    *(
        (value, [])
        for value in (True, DatetimeMS(5), Timestamp(1, 2), b"raw", Binary(bytes(16), 5))
    ),
]


@pytest.mark.parametrize(("value", "others"), OTHERS, ids=repr)
def test_a_value_that_is_no_text_is_spelled_by_texts(value: Any, others: list[Any]) -> None:
    found = [comparable(it) for it in spellings(value)]
    assert {*found} == {*map(comparable, (value, *others))}
    assert len(found) == len({*found})


def test_a_legacy_uuid_is_spelled_as_its_three_orders_of_bytes_read() -> None:
    found = {comparable(it) for it in spellings(Binary(UUID.bytes_le, 3))}
    assert {*map(comparable, (TEXT, *AS_BINARY))} < found
    other = str(uuid.UUID(bytes=UUID.bytes_le))  # were the bytes in the order of the text
    assert comparable(other) in found


def test_capital_letters_keep_a_session_too() -> None:
    assert ObjectId(DIGITS) in keeping(DIGITS.upper())
    assert DIGITS.upper() in keeping(ObjectId(DIGITS))


SAME: list[list[Any]] = [
    [0, Int64(0), 0.0, -0.0, Decimal128("0"), Decimal128("-0E+3")],
    [7, Int64(7), 7.0, Decimal128("7.00")],
    [2**53 + 1, Decimal128(str(2**53 + 1))],
    [float(2**53)],
    ["7"],
    [True],
    [False],
    [DatetimeMS(7)],
    [Timestamp(0, 7)],
    [b"7", Binary(b"7", 0)],
    [Binary(b"7", 5)],
    [Binary(b"1234", 2)],
    [Binary(b"1234", 4)],  # a UUID of four bytes, which the server takes
    [ObjectId(DIGITS)],
    [DIGITS],
]


def test_values_are_one_id_where_the_server_takes_them_as_equal() -> None:
    keys = []
    for same in SAME:
        as_stored = [next(elements(bson.encode({"v": it}))) for it in same]
        [key] = {comparable(scalar_in(it)) for it in as_stored} | {*map(comparable, same)}
        keys.append(key)
    assert len({*keys}) == len(SAME)


@pytest.mark.parametrize(
    "value", [None, {}, [7], Regex("a"), float("nan"), float("inf"), Decimal128("NaN")], ids=repr
)
def test_what_is_no_scalar_or_no_number_is_no_id(value: Any) -> None:
    assert comparable(scalar_in(next(elements(bson.encode({"v": value}))))) == NOTHING


NAMED: list[tuple[Any, str]] = [
    ("a", "a"),
    ("777", "777"),
    (ObjectId(DIGITS), DIGITS),
    *((number, "777") for number in (777, Int64(777), 777.0, Decimal128("777.00"))),
    (Binary(UUID.bytes, 4), TEXT),
    (Binary(b"1234", 4), '{"$binary": {"base64": "MTIzNA==", "subType": "04"}}'),
    (UUID.bytes, '{"$binary": {"base64": "ABEiM0RVZneImaq7zN3u/w==", "subType": "00"}}'),
    (True, "true"),
    (DatetimeMS(5), '{"$date": {"$numberLong": "5"}}'),
    (Timestamp(1, 2), '{"$timestamp": {"t": 1, "i": 2}}'),
]


@pytest.mark.parametrize(("value", "name"), NAMED, ids=repr)
def test_the_name_of_an_id_names_it(value: Any, name: str) -> None:
    assert shown_id(value) == name
    assert comparable(value) in [comparable(it) for it in named_by(name)]


@pytest.mark.parametrize("text", ["{", "{}", "{}, w: {}", '{"$oid": "x"}', '{"$oid": 5}', "[1]"])
def test_a_text_that_is_no_extended_json_of_a_scalar_names_itself_only(text: str) -> None:
    assert named_by(text) == [text]


def test_a_number_names_the_very_number_and_not_the_double_next_to_it() -> None:
    text = str(2**53 + 1)
    assert named_by(text) == [text, Decimal128(text)]
