"""Tokens: values of declared aggregates as text. Pure.

Text that does not begin with a brace stands for itself; any other value is its envelope
``{"v": value}``, as extended JSON; of a value of a wrong type there is only the name of the type,
``{"!": name}``. Null is a value of a session, and none of an event.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from session_repair.rules.envelope import (
    HEAD,
    INT_HEAD,
    INTEGER_TAIL,
    LONG_HEAD,
    OBJECT_ID_HEAD,
    content,
    date_text,
    digits_in,
    fits_int,
    json_text,
    last_text,
)
from session_repair.rules.usual_types import MARK, NO_UTF8

WRONG_HEAD = '{"!": "'
NULL = f"{HEAD}null}}"
NUMBER_HEAD = HEAD + '{"$number'
DOUBLE_HEAD, DECIMAL_HEAD = HEAD + '{"$numberDouble": "', HEAD + '{"$numberDecimal": "'
DATE_HEAD = HEAD + '{"$date": {"$numberLong": "'
MOST_LONG = 2**63 - 1
BEYOND = 2**53  # whole numbers up to it are doubles too
DECIMAL = "decimal(38,18)"
DIGITS_OF_BSON = 34
DIGITS, PLACES = 20, 18  # a decimal has no more, before the point and after it
IS_DECIMAL = "^-?({})$".format(
    "|".join(
        (
            rf"\d{{1,{DIGITS}}}(\.\d{{1,{PLACES}}})?",
            rf"\d(\.\d{{1,{DIGITS - 1}}})?E\+(\d|1\d)",
            r"0E-\d+",
            *(rf"\d(\.\d{{1,{PLACES - places}}})?E-{places}" for places in range(7, PLACES)),
            rf"\dE-{PLACES}",
        )
    )
)
GREATEST_MS = 2**63 // 1000  # of a date that Spark can tell
NO_NUMBER = ("NaN", "Infinity", "-Infinity")


def wrong_type(token: Column, text: Column) -> Column:
    """The name of the type of a value that is of a wrong one; null for any other.

    ``text`` are its digits: a column, like the token, so that neither is computed over and over.
    """
    is_odd_decimal = token.startswith(DECIMAL_HEAD) & ~text.rlike(IS_DECIMAL)
    return (
        F.when(token.startswith(WRONG_HEAD), text)
        .when(
            token.startswith(DOUBLE_HEAD) & text.isin(*NO_NUMBER), F.concat(F.lit("double "), text)
        )
        .when(is_odd_decimal, "decimal of many digits")
        .when(is_date_beyond(token, text), "date out of range")
        .when(token.contains(MARK), NO_UTF8)
    )


def is_date_beyond(token: Column, text: Column) -> Column:
    is_known = text.cast("bigint").between(-GREATEST_MS, GREATEST_MS)
    return is_date(token) & ~is_known


def is_whole(token: Column) -> Column:
    """True when the token is of an int or a long."""
    return token.startswith(INT_HEAD) | token.startswith(LONG_HEAD)


def is_double(token: Column) -> Column:
    return token.startswith(DOUBLE_HEAD)


def is_decimal(token: Column) -> Column:
    return token.startswith(DECIMAL_HEAD)


def is_date(token: Column) -> Column:
    return token.startswith(DATE_HEAD)


def is_number(token: Column) -> Column:
    return token.startswith(NUMBER_HEAD)


def exact(token: Column, text: Column) -> Column:
    """The number in the token as a decimal; null for a double, and for what is no number."""
    return F.when(is_number(token) & ~is_double(token), text.cast(DECIMAL))


def approximate(token: Column, text: Column) -> Column:
    """The number in the token as a double; null for what is no number."""
    return F.when(is_number(token), text.cast("double"))


def milliseconds(token: Column, text: Column) -> Column:
    """The date in the token; null for what is none."""
    return F.when(is_date(token), text.cast("bigint"))


def normal(token: Column, text: Column) -> Column:
    """The token that is the same for whole numbers of one value, whatever their type."""
    value, number = text.cast(DECIMAL), text.cast("double")
    # The text of a large double is not all of its digits.
    of_double = F.when((F.floor(number) == number) & (F.abs(number) < 2.0**63), number)
    of_exact = F.when((F.floor(value) == value) & fits_long(value), value)
    whole = F.when(is_double(token), of_double.cast("bigint")).otherwise(of_exact.cast("bigint"))
    fraction = F.when(is_decimal(token), of_decimal(value))
    return F.when(is_number(token), F.coalesce(of_whole(whole), fraction, token)).otherwise(token)


def normal_alone(token: Column) -> Column:
    """The same of a token that has no digits beside it."""
    return normal(token, last_text(token))


def parsed(token: Column, text: Column, members: Iterable[str]) -> list[Column]:
    """The parts of the value in the token, taken apart once."""
    return [PARTS[it](token, text).alias(it) for it in members]


def whole_in(number: Column) -> Column:
    """The number as a bigint where it is whole, and one that doubles hold too; else null."""
    is_plain = (F.floor(number) == number) & (F.abs(number) <= BEYOND)
    return F.when(is_plain, number.cast("bigint"))


def fits_long(number: Column) -> Column:
    """True for a decimal that the BSON type long can hold, but for the least of all."""
    return F.abs(number) <= F.lit(str(MOST_LONG)).cast("decimal(19,0)")


def fits_decimal(number: Column) -> Column:
    """True for a decimal that the BSON type can hold: one of 34 digits in all."""
    return F.length(F.translate(without_zeros(number), "-.", "")) <= DIGITS_OF_BSON


def without_zeros(number: Column) -> Column:
    """A decimal as plain text, without the zeros at its end.

    Spark's own text of a small one has an exponent.
    """
    size = F.abs(number)
    places = F.substring((size % 1 + F.lit(1)).cast("string"), 2, PLACES + 1)  # with the point
    text = F.concat(F.when(number < 0, "-").otherwise(""), F.floor(size).cast("string"), places)
    return F.regexp_replace(text, r"\.?0+$", "")


def of_whole(number: Column) -> Column:
    """The token of a bigint: an int where it fits, as drivers write it."""
    text = number.cast("string")
    as_int = F.concat(F.lit(INT_HEAD), text, F.lit(INTEGER_TAIL))
    return F.when(fits_int(number), as_int).otherwise(
        F.concat(F.lit(LONG_HEAD), text, F.lit(INTEGER_TAIL))
    )


def of_decimal(number: Column) -> Column:
    return F.concat(F.lit(DECIMAL_HEAD), without_zeros(number), F.lit(INTEGER_TAIL))


def json_of(token: Column) -> Column:
    """The value in the token as extended JSON; null for no token."""
    is_envelope = token.startswith(HEAD)
    return F.when(is_envelope, content(token)).when(token.isNotNull(), json_text(token))


def text_of_number(token: Column) -> Column:
    """The number in the token as people read it; null for none."""
    return F.when(is_number(token), last_text(token))


def text_of_date(token: Column) -> Column:
    """The date in the token as people read it, or the number; null for none."""
    date = F.timestamp_millis(last_text(token).cast("bigint"))
    return text_of_number(token).otherwise(F.when(token.startswith(DATE_HEAD), date_text(date)))


def text_of(token: Column) -> Column:
    """The value in the token as people read it; null for none."""
    others = F.when(token.startswith(HEAD), content(token)).otherwise(token)
    return F.when(
        token != NULL,
        F.coalesce(text_of_date(token), text_of_object_id(token), others),
    )


def text_of_object_id(token: Column) -> Column:
    return F.when(token.startswith(OBJECT_ID_HEAD), digits_in(token))


def json_of_list(values: Column) -> Column:
    """The values of the tokens as an array of extended JSON."""
    array = F.concat(F.lit("["), F.array_join(F.transform(values, json_of), ","), F.lit("]"))
    return F.when(is_null_list(values), "null").otherwise(array)


def is_null_list(values: Column) -> Column:
    """True where null stands in the place of a list."""
    return values == F.array(F.lit(NULL))


def text_of_list(values: Column) -> Column:
    """The values of the tokens as people read them; by patterns, as Spark compiles these."""
    text = F.to_json(values)
    for pattern, shown in SHOWN_IN_LISTS:
        text = F.regexp_replace(text, pattern, shown)
    return F.when(~is_null_list(values), text)


# What an ObjectId and a number are in a list of tokens that is JSON itself.
SHOWN_IN_LISTS = (
    (r'"\{\\"v\\": \{\\"\$oid\\": \\"([0-9a-f]{24})\\"\}\}"', '"$1"'),
    (r'"\{\\"v\\": \{\\"\$number\w+\\": \\"([^"\\]+)\\"\}\}"', "$1"),
)

# What a value is taken apart into.
PARTS = {"key": normal, "number": approximate, "exact": exact, "date": milliseconds}
