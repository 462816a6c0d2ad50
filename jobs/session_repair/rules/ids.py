"""Ids: the key by which sessions and events are joined, and what it stands for. Pure.

A session id is any scalar, and two are one where MongoDB takes them as equal: numbers by value,
everything else by type and bytes. Nearly all ids of a database are of one kind, text, ObjectIds or
whole numbers. This is its *plain* kind, whose key is the text itself, or the digits. Any other id
has its envelope for a key, all whole numbers that of a long, and a text something like one; so has
a text that begins like an envelope.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from session_repair.dates import NUMBERS
from session_repair.rules.envelope import (
    HEAD,
    INTEGER_TAIL,
    LONG_HEAD,
    OBJECT_ID_HEAD,
    OBJECT_ID_TAIL,
    TAIL,
    content,
    json_number,
    json_text,
    last_text,
)
from session_repair.rules.usual_types import ENVELOPED, OBJECT_ID, TEXT, plain_kind

QUOTED_HEAD, QUOTED_TAIL = HEAD + '"', '"' + TAIL
UUID_HEAD, UUID_TAIL = HEAD + '{"$binary": {"base64": "', '", "subType": "04"}}}'
UUID_LENGTH = len(UUID_HEAD) + 24 + len(UUID_TAIL)  # of an envelope; 24 letters hold 16 bytes
PARTS_OF_UUID = r"^(.{8})(.{4})(.{4})(.{4})(.{12})$"


def key_of_id(text: Column, exact: Column, kind: Column, plain: str) -> Column:
    """The key of an id of the BSON type ``kind``; null where there is none, or it is malformed.

    Text, ObjectIds and numbers come as their ``text``, the others ``exact``, as their envelopes.
    """
    return (
        F.when(kind.isin(*NUMBERS), key_of_text(text, exact, "long", plain))
        .when(kind == OBJECT_ID, key_of_text(text, exact, OBJECT_ID, plain))
        .when(kind.isin(*ENVELOPED), exact)
        .otherwise(key_of_text(text, exact, TEXT, plain))
    )


def key_of_text(text: Column, exact: Column, kind: str, plain: str) -> Column:
    """The same of an id whose type is known beforehand."""
    if kind in ENVELOPED:
        return exact
    if plain_kind(kind) == plain:
        return F.when(is_enveloped(text), quoted(text)).otherwise(text) if kind == TEXT else text
    if kind == OBJECT_ID:
        return F.concat(F.lit(OBJECT_ID_HEAD), text, F.lit(OBJECT_ID_TAIL))
    return F.concat(F.lit(LONG_HEAD), text, F.lit(INTEGER_TAIL)) if kind != TEXT else quoted(text)


def is_enveloped(key: Column) -> Column:
    """True when the key is of an id not of the plain kind, or of a text like an envelope."""
    return key.startswith(HEAD)


def quoted(text: Column) -> Column:
    """What is like an envelope of the text, as it is; null where there is none.

    No JSON: Spark would not compile what reads all events.
    """
    return F.concat(F.lit(QUOTED_HEAD), text, F.lit(QUOTED_TAIL))


def unquoted(key: Column) -> Column:
    """The text whose key it is."""
    length = F.length(key) - F.lit(len(QUOTED_HEAD) + len(QUOTED_TAIL))
    text = F.substr(key, F.lit(len(QUOTED_HEAD) + 1), length)
    return F.when(key.startswith(QUOTED_HEAD), text).otherwise(key)


def stored_id(key: Column, exact: Column, kind: Column) -> Column:
    """The extended JSON of the very value that a session has as its id: its type, its bytes."""
    digits = digits_of(key)
    stored = F.when(exact.isNotNull(), content(exact))
    for name, tag in (("int", "Int"), ("long", "Long")):
        stored = stored.when(kind == name, json_number(F.lit(tag), digits))
    object_id = F.concat(F.lit('{"$oid": "'), digits, F.lit('"}'))
    return stored.when(kind == OBJECT_ID, object_id).otherwise(json_text(unquoted(key)))


def digits_of(key: Column) -> Column:
    """The digits of an ObjectId or of a whole number, be they the key or in an envelope."""
    is_number = key.startswith(LONG_HEAD)
    return F.when(is_number | key.startswith(OBJECT_ID_HEAD), last_text(key)).otherwise(key)


def name_of_id(key: Column) -> Column:
    """The id as people read it and ``--session-id`` takes it; null where there is none.

    Text itself, the digits of an ObjectId or of a number, a UUID in its usual form, the extended
    JSON of any other value.
    """
    octets = F.unbase64(F.substring(key, len(UUID_HEAD) + 1, 24))
    uuid = F.regexp_replace(F.lower(F.hex(octets)), PARTS_OF_UUID, "$1-$2-$3-$4-$5")
    is_uuid = key.startswith(UUID_HEAD) & key.endswith(UUID_TAIL)
    return (
        F.when(~is_enveloped(key), key)
        .when(key.startswith(QUOTED_HEAD), unquoted(key))
        .when(is_uuid & (F.length(key) == UUID_LENGTH), uuid)
        .when(key.startswith(LONG_HEAD) | key.startswith(OBJECT_ID_HEAD), digits_of(key))
        .otherwise(content(key))
    )
