"""Bytes: BSON documents taken apart and put together without decoding a value.

What a session holds is compared, written and put back as the bytes that it is: 0, 0L, 0.0 and -0.0
are four values, and some that MongoDB holds are none that Python has. Source: bsonspec.org.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bson.raw_bson import RawBSONDocument

DOCUMENT, ARRAY, NULL = 0x03, 0x04, 0x0A
TYPE_NAMES: Mapping[int, str] = {  # as $type names them
    0x01: "double",
    0x02: "string",
    DOCUMENT: "object",
    ARRAY: "array",
    0x05: "binData",
    0x06: "undefined",
    0x07: "objectId",
    0x08: "bool",
    0x09: "date",
    NULL: "null",
    0x0B: "regex",
    0x0C: "dbPointer",
    0x0D: "javascript",
    0x0E: "symbol",
    0x0F: "javascriptWithScope",
    0x10: "int",
    0x11: "timestamp",
    0x12: "long",
    0x13: "decimal",
    0x7F: "maxKey",
    0xFF: "minKey",
}
# Bytes of a value; of those that begin with a length, what comes beside that many.
FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, NULL: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16}
FIXED |= {0x7F: 0, 0xFF: 0}
BESIDE = {0x02: 4, DOCUMENT: 0, ARRAY: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
REGEX = 0x0B


class Element(NamedTuple):
    """One field of a document: its type, its name, the bytes of its value."""

    kind: int
    name: bytes
    value: bytes

    @property
    def raw(self) -> bytes:
        return b"%c%s\0%s" % self

    def named(self, name: str) -> Element:
        return self._replace(name=name.encode())


def elements(document: bytes | memoryview) -> Iterator[Element]:
    """The fields of a document, or of an array, in their order; one that stands twice, twice."""
    document = bytes(document)  # pymongo's of a large one is a view
    at, end = 4, len(document) - 1
    while at < end:
        kind, name_end = document[at], document.index(0, at + 1)
        begin = name_end + 1
        size = FIXED.get(kind)
        if size is None:
            if kind == REGEX:  # two texts, each up to its NUL
                size = document.index(0, document.index(0, begin) + 1) + 1 - begin
            else:
                size = int.from_bytes(document[begin : begin + 4], "little") + BESIDE[kind]
        yield Element(kind, document[at + 1 : name_end], document[begin : begin + size])
        at = begin + size


def documents_in(batches: Any) -> Iterator[bytes]:
    """The documents of a cursor that hands over raw batches, at a third of the cost of objects."""
    for batch in batches:
        at = 0
        while at < len(batch):
            end = at + int.from_bytes(batch[at : at + 4], "little")
            yield batch[at:end]
            at = end


def document_of(fields: Iterable[Element]) -> bytes:
    """The document, or the array, of these fields."""
    body = b"".join([it.raw for it in fields])
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def nested(name: str, fields: Iterable[Element], kind: int = DOCUMENT) -> Element:
    """The field of that name which holds a document, or an array, of these."""
    return Element(kind, name.encode(), document_of(fields))


def array_of(name: str, values: Iterable[Element]) -> Element:
    """The field of that name which holds these values."""
    members = (it.named(str(number)) for number, it in enumerate(values))
    return nested(name, members, ARRAY)


def as_document(fields: Iterable[Element]) -> Any:
    """A document of these fields that pymongo sends as it is."""
    return RawBSONDocument(document_of(fields))


def text_in(value: Element) -> str:
    """The text that a string holds."""
    return value.value[4:-1].decode()


def has_field_twice(document: bytes | memoryview) -> bool:
    """Whether a field stands twice in the document, or in one inside it."""
    fields = list(elements(document))
    if len({it.name for it in fields}) < len(fields):
        return True
    return any(has_field_twice(it.value) for it in fields if it.kind in (DOCUMENT, ARRAY))
