"""Spellings: what an id as text is as a value of another BSON type."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from bson import Binary, Decimal128, ObjectId

from session_repair.mongo.spellings import other_spellings, spellings

TEXT = "00112233-4455-6677-8899-aabbccddeeff"
UUID = uuid.UUID(TEXT)
DIGITS = "68f0000000000000000000aa"

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
    TEXT: [
        Binary(UUID.bytes, 4),
        Binary(UUID.bytes, 3),
        Binary(UUID.bytes[7::-1] + UUID.bytes[:7:-1], 3),
        Binary(UUID.bytes_le, 3),
        UUID.bytes,  # a binary of no kind, subtype 0
    ],
    **{text: [] for text in ("", "a", "NaN", "sNaN", "-inf", "x" * 24, "$1", "\x00")},
}


@pytest.mark.parametrize(("text", "others"), SPELLED.items())
def test_a_text_spells_a_number_an_object_id_or_a_uuid(text: str, others: list[Any]) -> None:
    assert other_spellings(text) == others
    assert spellings([text, "b"]) == [text, "b", *others]
