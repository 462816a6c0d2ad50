"""Envelopes: a BSON value of any type as the extended JSON document ``{"v": value}``. Pure.

Text that looks like JSON stays text, because inside the envelope it is quoted; types survive a
round trip through Spark to the last bit; equal values have equal envelopes.
"""

from __future__ import annotations

from datetime import datetime

from bson import ObjectId
from pyspark.sql import Column
from pyspark.sql import functions as F

HEAD, TAIL = '{"v": ', "}"
OBJECT_ID_HEAD = HEAD + '{"$oid": "'
OBJECT_ID_DIGITS = 24


def in_envelope(value: Column) -> Column:
    """The envelope around extended JSON; null stays null."""
    return F.concat(F.lit(HEAD), value, F.lit(TAIL))


def content(envelope: Column) -> Column:
    """The extended JSON inside the envelope, to be embedded in another document."""
    return F.substr(
        envelope, F.lit(len(HEAD) + 1), F.length(envelope) - F.lit(len(HEAD) + len(TAIL))
    )


def present(envelope: Column) -> Column:
    """The envelope if it holds a value; null where it is empty or holds null."""
    return F.when(~envelope.isin("{}", '{"v": null}'), envelope)


def creation_time(key: Column) -> Column:
    """The second in which an ObjectId was made; null for an _id of another type."""
    seconds = F.conv(F.substring(key, len(OBJECT_ID_HEAD) + 1, 8), 16, 10).cast("bigint")
    return F.when(key.startswith(OBJECT_ID_HEAD), F.timestamp_seconds(seconds))


def object_id_before(key: Column, instant: datetime) -> Column:
    """True when the _id is an ObjectId made before the instant (a whole second). Never null.

    Compares digits, which is ten times cheaper than to convert the time of every event.
    """
    bound = OBJECT_ID_HEAD + ObjectId.from_datetime(instant).__str__()[:8]
    return F.coalesce(key.between(F.lit(OBJECT_ID_HEAD), F.lit(bound)), F.lit(False))


def is_object_id(key: Column) -> Column:
    """True when the envelope holds an ObjectId. Never null."""
    return F.coalesce(key.startswith(OBJECT_ID_HEAD), F.lit(False))


def readable(envelope: Column) -> Column:
    """The hex digits of an ObjectId, the extended JSON of any other value."""
    digits = F.substring(envelope, len(OBJECT_ID_HEAD) + 1, OBJECT_ID_DIGITS)
    return F.when(envelope.startswith(OBJECT_ID_HEAD), digits).otherwise(content(envelope))


TYPE_MARKS = {
    "objectId": '{"$oid": ',
    "string": '"',
    "int": '{"$numberInt": ',
    "long": '{"$numberLong": ',
    "double": '{"$numberDouble": ',
    "decimal": '{"$numberDecimal": ',
    "binData": '{"$binary": ',
    "date": '{"$date": ',
    "timestamp": '{"$timestamp": ',
    "null": "null",
    "bool": "true",
}


def type_name(envelope: Column) -> Column:
    """The BSON type of the value in the envelope, as ``$type`` names it; null for null."""
    kind = F.when(envelope.startswith(HEAD + "false"), "bool")
    for name, mark in TYPE_MARKS.items():
        kind = kind.when(envelope.startswith(HEAD + mark), name)
    return F.when(envelope.isNotNull(), kind.otherwise("object"))


# MongoDB's order of types, as far as they can be an _id.
RANKS = {
    "null": 0,
    **dict.fromkeys(("int", "long", "double", "decimal"), 1),
    "string": 2,
    "object": 3,
    "binData": 4,
    "objectId": 5,
    "bool": 6,
    "date": 7,
    "timestamp": 8,
}


def key_order(key: Column) -> Column:
    """What sorts _ids of several types as MongoDB does, shape KEY_ORDER; the envelope breaks ties.

    Numbers go by value, as doubles, strings by code point, binary data by length. Others stand in
    the order of their JSON.
    """
    value = F.from_json(
        key,
        """v struct<`$numberInt`: string, `$numberLong`: string, `$numberDouble`: string,
        `$numberDecimal`: string, `$binary`: struct<base64: string>>""",
    )["v"]
    numbers = [value[f"$number{kind}"] for kind in ("Int", "Long", "Double", "Decimal")]
    string = F.when(key.startswith(HEAD + '"'), F.from_json(key, "v string")["v"])
    octets = F.unbase64(value["$binary"]["base64"])
    binary = F.concat(F.lpad(F.octet_length(octets).cast("string"), 8, "0"), F.hex(octets))
    ranks = F.create_map(*[F.lit(it) for pair in RANKS.items() for it in pair])
    return F.struct(
        ranks[type_name(key)].alias("rank"),
        F.coalesce(*numbers).cast("double").alias("number"),
        F.coalesce(string, binary).alias("text"),
    )
