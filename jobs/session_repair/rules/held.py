"""Held: what sessions hold of declared aggregates, beside what their events say. Pure."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import (
    COUNT,
    FROM_NOTHING,
    LOST_BY_ADDING,
    MAX,
    MIN,
    SPAN,
    SUM,
    TOLERANCE,
    Aggregate,
    Shape,
)
from session_repair.rules import tokens
from session_repair.rules.envelope import last_text

# What sessions hold, as it is read


def stored_values(shape: Shape) -> list[Column]:
    """The column ``more`` of a session; nothing where nothing is declared."""
    values = [stored_value(it).alias(it.name) for it in shape.declared]
    return [F.struct(*values).alias("more")] if values else []


def with_texts(rows: DataFrame, shape: Shape) -> DataFrame:
    """The rows as they come, with the digits of each token beside it."""
    texts = {
        text_beside(it): last_text(F.col(f"more.{it.name}"))
        for it in shape.declared
        if not it.is_list
    }
    return rows.withColumns(texts) if texts else rows


def text_beside(aggregate: Aggregate) -> str:
    return f"text_{aggregate.name}"


def stored_value(aggregate: Aggregate) -> Column:
    """Its value, taken apart; null where there is none, not even null."""
    token = F.col(f"more.{aggregate.name}")
    if not aggregate.is_list:
        parts = tokens.parsed(token, F.col(text_beside(aggregate)), aggregate.members)
        return F.when(token.isNotNull(), F.struct(token.alias("token"), *parts))
    keys = F.transform(token, tokens.normal_alone)
    return F.when(token.isNotNull(), F.struct(token.alias("value"), keys.alias("keys")))


def with_declared(malformed: Column, shape: Shape) -> Column:
    """The same text, with 'name: type' of each declared value of a wrong type."""
    if not shape.declared:
        return malformed
    told = []
    for it in shape.declared:
        token = F.col(f"more.{it.name}")
        is_list = it.is_list
        kind = wrong_in_list(token) if is_list else tokens.wrong_type(token, F.col(text_beside(it)))
        told.append(F.concat(F.lit(f"{it.name}: "), kind))
    return F.nullif(F.concat_ws(", ", malformed, *told), F.lit(""))


def wrong_in_list(values: Column) -> Column:
    """The type of the first of the values that is of a wrong one; null for none."""
    kinds = F.transform(
        F.when(~tokens.is_null_list(values), values),
        lambda token: tokens.wrong_type(token, last_text(token)),
    )
    return F.get(F.filter(kinds, lambda kind: kind.isNotNull()), F.lit(0))


def wrong_held(aggregate: Aggregate) -> Column:
    """The type of what a session holds, if that is a wrong one."""
    token = token_held(aggregate)
    if aggregate.is_list:
        return wrong_in_list(token)
    return tokens.wrong_type(token, last_text(token))


# Beside what their events say


def token_held(aggregate: Aggregate) -> Column:
    """The token that the session holds, or the tokens of its list; null where it has none."""
    member = "value" if aggregate.is_list else "token"
    return F.col(f"stored.more.{aggregate.name}.{member}")


def is_none(aggregate: Aggregate) -> Column:
    """True where the session has no value, or null. Never null."""
    token = token_held(aggregate)
    is_null = tokens.is_null_list(token) if aggregate.is_list else token == tokens.NULL
    return F.coalesce(is_null, F.lit(True))


def rebuilt_value(aggregate: Aggregate) -> Column:
    """What its events say: taken apart, or the tokens of a list; null where they say nothing."""
    return F.col(f"rebuilt.more.{aggregate.name}.value")


def differs(aggregate: Aggregate) -> Column:
    """True when the events say a value, and the session holds another, or none. Never null."""
    value, stored = rebuilt_value(aggregate), F.col(f"stored.more.{aggregate.name}")
    if aggregate.is_list:
        lacks = F.size(F.array_except(value, keys_held(aggregate))) > 0
        return F.coalesce(lacks | has_more(aggregate), F.lit(False))
    if aggregate.kind not in FROM_NOTHING:
        is_same = ~is_none(aggregate) & is_one_value(aggregate, stored, value)
        return value["token"].isNotNull() & ~is_same & wrong_beside(aggregate).isNull()
    number = value["number"]
    # A span is of whole seconds, but where its parts are stored.
    floor = F.floor(number) if aggregate.kind == SPAN else number
    is_same = F.when(is_none(aggregate), floor == 0).otherwise(is_one_number(stored, value))
    if aggregate.kind == SUM:
        # Doubles that cancel leave what their order makes of it, where there may be nothing.
        held = F.when(is_none(aggregate), F.lit(0.0)).otherwise(stored["number"])
        is_near = F.abs(held - number) <= value["size"] * LOST_BY_ADDING
        is_same = is_same | ((value["size"] > 0) & is_near)  # else exact numbers are compared
    if aggregate.kind == SPAN:
        is_whole = tokens.is_whole(stored["token"]) & (floor == stored["number"])
        is_same = is_same | F.coalesce(is_whole, F.lit(False))
    return number.isNotNull() & ~F.coalesce(is_same, F.lit(False))


def wrong_beside(aggregate: Aggregate) -> Column:
    """Why what is held cannot be compared with what the events say; null where it can.

    A date is kept as a date or as a number: which, whoever stored the session knows.
    """
    if aggregate.kind in FROM_NOTHING:
        return F.lit(None).cast("string")
    own, said = token_held(aggregate), rebuilt_value(aggregate)["token"]
    is_date = tokens.is_date(own) & tokens.is_number(said)
    is_number = tokens.is_number(own) & tokens.is_date(said)
    return F.when(is_date, "date beside a number").when(is_number, "number beside a date")


def wrong_with(aggregate: Aggregate) -> Column:
    """Why it cannot be told, or not be compared; null where it can."""
    return F.coalesce(F.col(f"rebuilt.more.{aggregate.name}.wrong"), wrong_beside(aggregate))


def keys_held(aggregate: Aggregate) -> Column:
    """What the session's list holds, whatever the types of its numbers. Never null."""
    nothing = F.array().cast("array<string>")
    keys = F.col(f"stored.more.{aggregate.name}.keys")
    return F.when(is_none(aggregate), nothing).otherwise(keys)


def has_more(aggregate: Aggregate) -> Column:
    """True when the session's list has what the events do not say, or something twice."""
    own, value = keys_held(aggregate), rebuilt_value(aggregate)
    has_twice = F.size(F.array_distinct(own)) < F.size(own)
    return F.when(value.isNotNull(), (F.size(F.array_except(own, value)) > 0) | has_twice)


def is_one_value(aggregate: Aggregate, one: Column, other: Column) -> Column:
    """True for values that MongoDB takes as equal. Never null."""
    if "key" in aggregate.members:
        return F.coalesce(one["key"] == other["key"], F.lit(False))
    # A bound is one of the events' values, so that of doubles too.
    alike = [one[it] == other[it] for it in ("exact", "number", "date")]
    return F.coalesce(*alike, F.lit(False))


def is_one_number(one: Column, other: Column) -> Column:
    """True for numbers of one value; as doubles, where those are as good as one. Never null."""
    values = one["number"], other["number"]
    is_near = F.abs(values[0] - values[1]) <= F.greatest(*map(F.abs, values)) * TOLERANCE
    return F.coalesce(one["exact"] == other["exact"], is_near, F.lit(False))


# What a correction would leave


def wanted(aggregate: Aggregate) -> Column:
    """The column of what a correction would write; null where it would leave what there is."""
    return F.col(f"wanted_{aggregate.name}")


def with_wanted(diagnosed: DataFrame, shape: Shape, shrink: bool, expired: Column) -> DataFrame:
    """The rows, with that column of all that is declared: what the events say, or a list.

    Where events have ``expired`` no count is lowered, a bound is only widened, and what rests on
    all events stays; a list loses nothing unless it may ``shrink``.
    """
    want = {f"wanted_{it.name}": to_write(it, shrink, expired) for it in shape.declared}
    return diagnosed.withColumns(want) if want else diagnosed


def to_write(aggregate: Aggregate, may_shrink: bool, expired: Column) -> Column:
    value, stored = rebuilt_value(aggregate), F.col(f"stored.more.{aggregate.name}")
    if aggregate.is_list:
        if may_shrink:
            return F.when(differs(aggregate), value)
        missing = F.array_except(value, keys_held(aggregate))
        own = F.when(is_none(aggregate), F.array().cast("array<string>"))
        own = own.otherwise(token_held(aggregate))
        left = F.when(has_more(aggregate), F.concat(own, missing)).otherwise(value)
        return F.when(F.size(missing) > 0, left)
    if aggregate.kind not in (COUNT, SPAN, MIN, MAX):
        return F.when(differs(aggregate) & ~expired, value)
    less, more = (stored, value) if aggregate.kind != MIN else (value, stored)
    parts = [it for it in aggregate.members if it != "exact"]
    is_wider = F.coalesce(*[less[it] < more[it] for it in parts], F.lit(False))
    return F.when(differs(aggregate) & (~expired | is_none(aggregate) | is_wider), value)
