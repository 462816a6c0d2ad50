"""Envelopes: a BSON value of any type as the extended JSON document ``{"v": value}``. Pure.

Text that looks like JSON stays text, because inside the envelope it is quoted; types survive a
round trip through Spark to the last bit; equal values have equal envelopes.

A *key* is the shorter form in which many rows travel: the digits of an ObjectId, the envelope of
any other value. Equal values have equal keys too.
"""

from __future__ import annotations

from datetime import datetime

from bson import ObjectId
from pyspark.sql import Column
from pyspark.sql import functions as F

HEAD, TAIL = '{"v": ', "}"
OBJECT_ID_HEAD, OBJECT_ID_TAIL = HEAD + '{"$oid": "', '"}}'
OBJECT_ID_DIGITS = 24
INT_HEAD, LONG_HEAD = HEAD + '{"$numberInt": "', HEAD + '{"$numberLong": "'
INTEGER_TAIL = '"}}'


def envelope_of(key: Column) -> Column:
    """The envelope of what the key stands for; null stays null."""
    digits = F.concat(F.lit(OBJECT_ID_HEAD), key, F.lit(OBJECT_ID_TAIL))
    return F.when(is_object_id(key), digits).otherwise(key)


def key_of(envelope: Column) -> Column:
    """The key of what the envelope holds; null stays null."""
    return F.when(envelope.startswith(OBJECT_ID_HEAD), digits_in(envelope)).otherwise(envelope)


def digits_in(envelope: Column) -> Column:
    """The digits of the ObjectId in the envelope."""
    return F.substring(envelope, len(OBJECT_ID_HEAD) + 1, OBJECT_ID_DIGITS)


def content(envelope: Column) -> Column:
    """The extended JSON inside the envelope, to be embedded in another document."""
    return F.substr(
        envelope, F.lit(len(HEAD) + 1), F.length(envelope) - F.lit(len(HEAD) + len(TAIL))
    )


def in_type_of(stored: Column, envelope: Column) -> Column:
    """The envelope; an integer in it has the type, int or long, of a stored one, where it fits.

    Whoever stored it reads that type, and a validator may ask for it.
    """
    digits = last_text(envelope)
    is_int = envelope.startswith(INT_HEAD) & stored.startswith(LONG_HEAD)
    is_long = envelope.startswith(LONG_HEAD) & stored.startswith(INT_HEAD)
    as_long = F.concat(F.lit(LONG_HEAD), digits, F.lit(INTEGER_TAIL))
    as_int = F.concat(F.lit(INT_HEAD), digits, F.lit(INTEGER_TAIL))
    fitting = F.when(is_int, as_long).when(is_long & fits_int(digits.cast("bigint")), as_int)
    return F.coalesce(fitting, envelope)


def last_text(envelope: Column) -> Column:
    """The last text in quotes: the digits of a number, of a date, of an ObjectId."""
    return F.substring_index(F.substring_index(envelope, '"', -2), '"', 1)


def json_text(text: Column) -> Column:
    """A string as quoted and escaped JSON."""
    array = F.to_json(F.array(text))
    return F.substr(array, F.lit(2), F.length(array) - F.lit(2))


def json_number(tag: Column, digits: Column) -> Column:
    """A number as extended JSON; ``tag`` is Int, Long, Double or Decimal. Null where either is."""
    return F.concat(F.lit('{"$number'), tag, F.lit('":"'), digits, F.lit('"}'))


def date_text(date: Column) -> Column:
    """An instant as people read it, in UTC."""
    return F.date_format(date, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")


def fits_int(number: Column) -> Column:
    """True when the number fits into the BSON type int."""
    return number.between(-(2**31), 2**31 - 1)


def present(envelope: Column) -> Column:
    """The envelope if it holds a value; null where it is empty or holds null."""
    return F.when(~envelope.isin("{}", '{"v": null}'), envelope)


def creation_time(key: Column) -> Column:
    """The second in which an ObjectId was made; null for an _id of another type."""
    seconds = F.conv(F.substring(key, 1, 8), 16, 10).cast("bigint")
    return F.when(is_object_id(key), F.timestamp_seconds(seconds))


def object_id_before(key: Column, instant: datetime) -> Column:
    """True when the key is of an ObjectId made before the instant (a whole second). Never null.

    Compares digits, which is ten times cheaper than to convert the time of every event; the brace
    that an envelope begins with comes after all of them.
    """
    bound = str(ObjectId.from_datetime(instant))[:8]
    return F.coalesce(key < F.lit(bound), F.lit(False))


def is_object_id(key: Column) -> Column:
    """True when the key is of an ObjectId. Never null."""
    return F.coalesce(~key.startswith("{"), F.lit(False))


def readable(envelope: Column) -> Column:
    """The hex digits of an ObjectId, the extended JSON of any other value."""
    is_of_object_id = envelope.startswith(OBJECT_ID_HEAD)
    return F.when(is_of_object_id, digits_in(envelope)).otherwise(content(envelope))


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


def key_order(envelope: Column) -> Column:
    """What sorts _ids of several types as MongoDB does, shape KEY_ORDER; their text breaks ties.

    Numbers go by value, as doubles, strings by code point, binary data by length. Others stand in
    the order of their JSON.
    """
    value = F.from_json(
        envelope,
        """v struct<`$numberInt`: string, `$numberLong`: string, `$numberDouble`: string,
        `$numberDecimal`: string, `$binary`: struct<base64: string>>""",
    )["v"]
    numbers = [value[f"$number{kind}"] for kind in ("Int", "Long", "Double", "Decimal")]
    is_string = envelope.startswith(HEAD + '"')
    string = F.when(is_string, F.from_json(envelope, "v string")["v"])
    octets = F.unbase64(value["$binary"]["base64"])
    binary = F.concat(F.lpad(F.octet_length(octets).cast("string"), 8, "0"), F.hex(octets))
    ranks = F.create_map(*[F.lit(it) for pair in RANKS.items() for it in pair])
    return F.struct(
        ranks[type_name(envelope)].alias("rank"),
        F.coalesce(*numbers).cast("double").alias("number"),
        F.coalesce(string, binary).alias("text"),
    )
