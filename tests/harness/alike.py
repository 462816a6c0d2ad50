"""Values that MongoDB takes as equal and that are other bytes; values of every type of BSON.

As bytes, for some are none that Python has. Source: bsonspec.org.
"""

from __future__ import annotations

import struct
from typing import Any

import bson
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)

Typed = tuple[int, bytes]  # the type of a value, and its bytes


def typed(value: Any) -> Typed:
    """As the driver encodes it."""
    document = bson.encode({"v": value})
    return document[4], document[7:-1]


def raw_document(*fields: tuple[str, Typed]) -> bytes:
    """A document of these fields, of which one name may stand twice."""
    body = b"".join(b"%c%s\0%s" % (kind, name.encode(), raw) for name, (kind, raw) in fields)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def text(value: str) -> bytes:
    raw = value.encode() + b"\0"
    return struct.pack("<i", len(raw)) + raw


def double(bits: int) -> Typed:
    return 0x01, struct.pack("<Q", bits)


UNDEFINED: Typed = (0x06, b"")
SYMBOL: Typed = (0x0E, text("/home"))
ARRAY_NAMED_OTHERWISE: Typed = (0x04, raw_document(("5", typed("/home")), ("7", typed("/a"))))

ALIKE: dict[str, tuple[Typed, Typed]] = {
    "int and long": (typed(0), typed(Int64(0))),
    "int and double": (typed(0), typed(0.0)),
    "long and double": (typed(Int64(2**40)), typed(float(2**40))),
    "int and decimal": (typed(7), typed(Decimal128("7"))),
    "double and decimal": (typed(0.5), typed(Decimal128("0.5"))),
    "zero and its negative": (typed(0.0), typed(-0.0)),
    "decimals of other digits": (typed(Decimal128("7")), typed(Decimal128("7.0"))),
    "decimal zeros": (typed(Decimal128("0")), typed(Decimal128("-0E+3"))),
    "not a number": (double(0x7FF8 << 48), double(0xFFF8 << 48 | 1)),
    "not a number, and no decimal": (double(0x7FF8 << 48), typed(Decimal128("NaN"))),
    "text and symbol": (typed("/home"), SYMBOL),
    "lists of other numbers": (typed([1, "/a"]), typed([Int64(1), "/a"])),
    "lists of other names": (typed(["/home", "/a"]), ARRAY_NAMED_OTHERWISE),
    "documents of other numbers": (typed({"a": {"b": 1}}), typed({"a": {"b": 1.0}})),
}

OF_EVERY_TYPE: dict[str, Typed] = {
    "double": typed(-1.5),
    "not a number": double(0xFFF8 << 48 | 1),
    "string": typed("caf\u00e9 \0 \U0001f9ff"),
    "no UTF-8": (0x02, b"\x02\0\0\0\xff\0"),
    "empty string": typed(""),
    "object": typed({"a": {"b": [1, {"c": None}]}, "": 2}),
    "empty object": typed({}),
    "array": typed([1, "a", [], {}]),
    "array named otherwise": ARRAY_NAMED_OTHERWISE,
    "binary": typed(Binary(b"\0\xff", 5)),
    "binary of the old kind": (0x05, b"\x06\0\0\0\x02\x02\0\0\0ab"),
    "UUID of four bytes": (0x05, b"\x04\0\0\0\x04abcd"),
    "undefined": UNDEFINED,
    "ObjectId": typed(ObjectId("68d000000000000000000001")),
    "false": typed(False),
    "true": typed(True),
    "date": typed(DatetimeMS(-70_000_000_000_000)),
    "null": typed(None),
    "regex": typed(Regex("^a\u00e9.*b$", "im")),
    "empty regex": typed(Regex("", "")),
    "DBPointer": (0x0C, text("shop.x") + bytes(range(12))),
    "code": typed(Code("return 1;")),
    "symbol": SYMBOL,
    "code with scope": typed(Code("return a;", {"a": [1, {}]})),
    "int": typed(-7),
    "timestamp": typed(Timestamp(7, 3)),
    "long": typed(Int64(2**40)),
    "decimal": typed(Decimal128("1.10")),
    "least key": typed(MinKey()),
    "greatest key": typed(MaxKey()),
}
