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
    digits_in,
    fits_int,
)
from session_repair.rules.usual_types import MARK, NO_UTF8

WRONG_HEAD, WRONG_TAIL = '{"!": "', '"}'
NULL = f"{HEAD}null}}"
DOUBLE_HEAD, DECIMAL_HEAD = HEAD + '{"$numberDouble": "', HEAD + '{"$numberDecimal": "'
DATE_HEAD = HEAD + '{"$date": {"$numberLong": "'
BEYOND = 2**53  # whole numbers up to it are doubles too
DECIMAL = "decimal(38,18)"
# A decimal that has no more digits than that, before the point and after it.
IS_DECIMAL = r"^-?\d{1,20}(\.\d{1,18})?$"
NO_NUMBER = ("NaN", "Infinity", "-Infinity")


def wrong_type(token: Column) -> Column:
    """The name of the type of a value that is of a wrong one; null for any other."""
    told = F.substring_index(F.substring_index(token, '"', -2), '"', 1)
    is_double = token.startswith(DOUBLE_HEAD) & digits(token).isin(*NO_NUMBER)
    is_odd_decimal = token.startswith(DECIMAL_HEAD) & ~digits(token).rlike(IS_DECIMAL)
    return (
        F.when(token.startswith(WRONG_HEAD), told)
        .when(is_double, F.concat(F.lit("double "), digits(token)))
        .when(is_odd_decimal, "decimal of many digits")
        .when(token.contains(MARK), NO_UTF8)
    )


def digits(token: Column) -> Column:
    """The text of the number in the token; of no use for any other value."""
    return F.substring_index(F.substring_index(token, '"', -2), '"', 1)


def is_whole(token: Column) -> Column:
    """True when the token is of an int or a long."""
    return token.startswith(INT_HEAD) | token.startswith(LONG_HEAD)


def is_double(token: Column) -> Column:
    return token.startswith(DOUBLE_HEAD)


def is_decimal(token: Column) -> Column:
    return token.startswith(DECIMAL_HEAD)


def is_number(token: Column) -> Column:
    return is_whole(token) | is_double(token) | is_decimal(token)


def exact(token: Column) -> Column:
    """The number in the token as a decimal; null for a double, and for what is no number."""
    return F.when(is_whole(token) | is_decimal(token), digits(token).cast(DECIMAL))


def approximate(token: Column) -> Column:
    """The number in the token as a double; null for what is no number."""
    return F.when(is_number(token), digits(token).cast("double"))


def milliseconds(token: Column) -> Column:
    """The date in the token; null for what is none."""
    return F.when(token.startswith(DATE_HEAD), digits(token).cast("bigint"))


def parsed(token: Column, wrong: Column | None, members: Iterable[str]) -> Column:
    """The value in the token, taken apart once: a struct of it and these. To be given a column.

    Where that may be ``wrong``, that stands there too, and no token then.
    """
    parts = [PARTS[it](token).alias(it) for it in members]
    if wrong is None:
        return F.struct(token.alias("token"), *parts)
    return F.struct(F.when(wrong.isNull(), token).alias("token"), wrong.alias("wrong"), *parts)


def normal(token: Column) -> Column:
    """The token that is the same for whole numbers of one value, whatever their type."""
    whole = F.when(is_whole(token), digits(token).cast("bigint"))
    whole = whole.when(is_double(token), whole_in(approximate(token)))
    whole = whole.when(is_decimal(token), whole_in(exact(token)))
    decimal = F.when(is_decimal(token), of_decimal(exact(token)))
    return F.when(is_number(token), F.coalesce(of_whole(whole), decimal, token)).otherwise(token)


def whole_in(number: Column) -> Column:
    """The number as a bigint where it is whole, and one that doubles hold too; else null."""
    is_plain = (F.floor(number) == number) & (F.abs(number) <= BEYOND)
    return F.when(is_plain, number.cast("bigint"))


def plain(number: Column) -> Column:
    """A decimal as text, without the zeros at its end."""
    return F.regexp_replace(F.regexp_replace(number.cast("string"), r"0+$", ""), r"\.$", "")


def of_whole(number: Column) -> Column:
    """The token of a bigint: an int where it fits, as drivers write it."""
    text = number.cast("string")
    as_int = F.concat(F.lit(INT_HEAD), text, F.lit(INTEGER_TAIL))
    return F.when(fits_int(number), as_int).otherwise(
        F.concat(F.lit(LONG_HEAD), text, F.lit(INTEGER_TAIL))
    )


def of_double(number: Column) -> Column:
    return F.concat(F.lit(DOUBLE_HEAD), number.cast("string"), F.lit(INTEGER_TAIL))


def of_decimal(number: Column) -> Column:
    return F.concat(F.lit(DECIMAL_HEAD), plain(number), F.lit(INTEGER_TAIL))


def of_number(number: Column, exact: Column, as_decimal: Column) -> Column:
    """The token of a number: a double where it is not exact, a decimal, else an int or a long."""
    whole = of_whole(exact.cast("bigint"))
    return (
        F.when(exact.isNull(), of_double(number))
        .when(as_decimal, of_decimal(exact))
        .otherwise(whole)
    )


def in_number_type_of(stored: Column, token: Column, value: Column) -> Column:
    """The token of a value; of a number in the type of the stored one, where it fits that.

    The token is a column, and both values are such that are taken apart.
    """
    like, number = stored["token"], value["number"]
    whole = F.when(is_whole(token), value["exact"].cast("bigint")).otherwise(whole_in(number))
    as_long = F.concat(F.lit(LONG_HEAD), whole.cast("string"), F.lit(INTEGER_TAIL))
    fitting = (
        F.when(like.startswith(INT_HEAD), of_whole(whole))
        .when(like.startswith(LONG_HEAD), as_long)
        .when(is_double(like) & (F.abs(whole) <= BEYOND), of_double(number))
        .when(is_decimal(like) & is_whole(token), of_decimal(value["exact"]))
    )
    return F.coalesce(fitting, token)


def json_of(token: Column) -> Column:
    """The value in the token as extended JSON; null for no token."""
    array = F.to_json(F.array(token))
    text = F.substr(array, F.lit(2), F.length(array) - F.lit(2))
    return F.when(token.startswith(HEAD), content(token)).when(token.isNotNull(), text)


def text_of(token: Column) -> Column:
    """The value in the token as people read it; null for none."""
    return (
        F.when(token == NULL, F.lit(None).cast("string"))
        .when(is_number(token), digits(token))
        .when(token.startswith(OBJECT_ID_HEAD), digits_in(token))
        .when(
            token.startswith(DATE_HEAD),
            F.date_format(F.timestamp_millis(milliseconds(token)), "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"),
        )
        .when(token.startswith(HEAD), content(token))
        .otherwise(token)
    )


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
