"""Usual: the BSON types that nearly all sessions have. What is not told of a type is this."""

from __future__ import annotations

from collections.abc import Mapping

from session_repair.dates import NUMBERS

# The types that nearly all documents have. What has just these is read without their names.
USUAL_TYPES = {
    "session_id": "string",
    "user_id": "objectId",
    "event_count": "int",
    "first_event_at": "date",
    "last_event_at": "date",
    "pages": "array",
}
# The types of session ids beside text and ObjectIds: one by value, one by type and bytes.
ENVELOPED = ("binData", "bool", "date", "timestamp")
TEXT, OBJECT_ID, NUMBER = "string", "objectId", "number"  # the kinds that may be plain
USUAL_ID = {"_id": "objectId"}  # others are as good: only what is no UTF-8 makes one malformed

# What Java shows for bytes that are no UTF-8, though text may hold it itself; and what then stands
# for the name of the type.
MARK = "\ufffd"
NO_UTF8 = "text that is not UTF-8"


def plain_kind(usual: str) -> str:
    """The plain kind of session ids, see ``rules/ids``, where nearly all are of this BSON type."""
    return {OBJECT_ID: OBJECT_ID, **dict.fromkeys(NUMBERS, NUMBER)}.get(usual, TEXT)


def names_of(usual: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The one type by which each field of what has usual types only is told."""
    return {field: types[0] for field, types in usual.items()}
