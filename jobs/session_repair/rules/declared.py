"""Declared: what each kind of aggregate is, from an event to what a session should hold. Pure.

An event has a token for each, null where it does not match or has no value. Partial figures are of
the events of one session and page, and merged as they are made: a kind is a row of ``KINDS``.

Values are columns of their own at each step, since an expression is a tree, and one that stands in
it ten times is ten trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import (
    BY_DATE,
    COUNT,
    FIRST,
    LAST,
    MAX,
    MIN,
    SINGLE,
    SPAN,
    SUM,
    Aggregate,
    S,
    Shape,
)
from session_repair.rules import tokens
from session_repair.rules.envelope import last_text

Figures = dict[str, Column]
Merge = Mapping[str, Callable[[Any], Column]]


@dataclass(frozen=True)
class Kind:
    """What a kind of aggregate is.

    ``partial`` makes figures of the events of a group, by the name of the aggregate; ``merge`` of
    several groups; ``final`` makes of these the token, what it is compared by, and ``fault``, why
    it cannot be told.
    """

    partial: Callable[[str], Figures]
    merge: Merge
    final: Callable[[Aggregate, Figures], Figures]


def no_text() -> Column:
    return F.lit(None).cast("string")


def part_of(name: str, part: str) -> Column:
    """Of an event's value the token, null for one of a ``wrong`` type; or that; or a part."""
    return F.col(f"more.{name}.{part}")


def with_values(events: DataFrame, shape: Shape) -> DataFrame:
    """The events, each token in ``more`` taken apart, but of what is only counted."""
    if not shape.read:
        return events
    said = {it.name: F.col(f"more.{it.name}") for it in shape.read}
    taken = [it for it in shape.read if it.kind != COUNT]
    names = [it.name for it in taken]
    text = {f"text_{it}": last_text(said[it]) for it in names}
    wrong = {f"wrong_{it}": tokens.wrong_type(said[it], F.col(f"text_{it}")) for it in names}
    values = [value_of(it) if it in taken else said[it.name].alias(it.name) for it in shape.read]
    apart = events.withColumns(text).withColumns(wrong)
    return apart.withColumn("more", F.struct(*values)).drop(*text, *wrong)


def value_of(aggregate: Aggregate) -> Column:
    """The value that an event holds: its token and its parts; or why it is wrong, and no token."""
    names = (f"{it}_{aggregate.name}" for it in ("text", "wrong"))
    token, text, wrong = F.col(f"more.{aggregate.name}"), *map(F.col, names)
    parts = tokens.parsed(token, text, reads_of(aggregate))
    sound = F.when(wrong.isNull(), token).alias("token")
    return F.struct(sound, wrong.alias("wrong"), *parts).alias(aggregate.name)


def reads_of(aggregate: Aggregate) -> tuple[str, ...]:
    """What of an event's values it goes by: of a span the dates, of the ends of a session none."""
    if aggregate.kind in (FIRST, LAST):
        return ()
    return BY_DATE if aggregate.kind == SPAN else aggregate.members


def in_order(name: str, is_dated_last: bool) -> Column:
    """The token beside what sorts its event among others; of undated ones the last, or first."""
    dated = F.col("timestamp").isNotNull() if is_dated_last else F.col("timestamp").isNull()
    by = (dated.alias("dated"), "timestamp", "key_order", "event_key")
    token = part_of(name, "token")
    return F.when(token.isNotNull(), F.struct(*by, token.alias("token")))


def by(name: str, *members: str) -> Column:
    """The token behind what it is sorted by."""
    order = [part_of(name, member).alias(member) for member in members]
    token = part_of(name, "token")
    return F.when(token.isNotNull(), F.struct(*order, token.alias("token")))


def counted(name: str) -> Figures:
    return {"number": F.count(f"more.{name}")}


def count_of(_: Aggregate, found: Figures) -> Figures:
    return whole_number(found["number"])


def whole_number(number: Column) -> Figures:
    return {"number": number.cast("double"), "exact": number.cast(tokens.DECIMAL)}


def added(name: str) -> Figures:
    token, exact = part_of(name, "token"), part_of(name, "exact")
    double = F.when(tokens.is_double(token), part_of(name, "number"))
    return {
        "exact": F.sum(exact),  # of whole numbers and decimals, in one scale
        "exacts": F.count(exact),
        # Spark's sum is null then, and left out of the sum of those of several groups.
        "beyond": (F.count(exact) > 0) & F.sum(exact).isNull(),
        "decimals": F.count(F.when(tokens.is_decimal(token), 1)),
        "double": F.sum(double),
        "size": F.sum(F.abs(double)),
    }


def sum_of(_: Aggregate, found: Figures) -> Figures:
    """Integers and decimals exactly; doubles with integers, as doubles."""
    has_decimal, has_double = found["decimals"] > 0, found["double"].isNotNull()
    is_beyond = found["beyond"] | ((found["exacts"] > 0) & found["exact"].isNull())
    total = F.coalesce(found["exact"], F.lit(0).cast(tokens.DECIMAL))
    double = found["double"] + total.cast("double")
    wrong = (
        F.when(has_decimal & has_double, "double and decimal")
        .when(has_decimal & (is_beyond | ~tokens.fits_decimal(total)), "decimal of many digits")
        .when(is_beyond | (~has_decimal & ~has_double & ~tokens.fits_long(total)), "beyond long")
        .when(has_double & (F.isnan(double) | (F.abs(double) == float("inf"))), "double Infinity")
    )
    exact = F.when(~has_double, total)
    number = F.coalesce(double, exact.cast("double"))
    size = F.coalesce(found["size"], F.lit(0.0))
    values = {"number": number, "exact": exact, "size": size, "is_decimal": has_decimal}
    return {**values, "fault": wrong}


def bounds(name: str) -> Figures:
    return ends(name, "number", "exact", "date")


def bound_of(name: str) -> Callable[[Aggregate, Figures], Figures]:
    def found_bound(aggregate: Aggregate, found: Figures) -> Figures:
        # The order begins with numbers, null for a date; so both ends tell whether there are both.
        ends = [found[end]["number"].isNull() for end in ("least", "greatest")]
        value = {member: found[name][member] for member in ("token", *aggregate.members)}
        return {**value, "fault": F.when(ends[0] != ends[1], "number and date")}

    return found_bound


def span_of(aggregate: Aggregate, found: Figures) -> Figures:
    least, greatest = (found[end]["date"] for end in ("least", "greatest"))
    return length_of(aggregate, greatest - least)


def length_of(aggregate: Aggregate, length: Column) -> Figures:
    """A length in milliseconds, 0 for null; of seconds a double where they are not whole."""
    length = F.coalesce(length, F.lit(0).cast("bigint"))
    if aggregate.unit != S:
        return whole_number(length)
    seconds = length.cast("double") / 1000
    exact = F.when(length % 1000 == 0, seconds.cast("bigint").cast(tokens.DECIMAL))
    return {"number": seconds, "exact": exact}


def ends(name: str, *members: str) -> Figures:
    order = by(name, *members)
    return {"least": F.min(order), "greatest": F.max(order)}


def single_of(_: Aggregate, found: Figures) -> Figures:
    is_one = found["least"]["key"] == found["greatest"]["key"]
    return {it: F.when(is_one, found["least"][it]) for it in ("token", "key")}


def end_of(_: Aggregate, found: Figures) -> Figures:
    token = found["end"]["token"]
    return {"token": token, "key": tokens.normal_alone(token)}


ADD = {**dict.fromkeys(("exact", "exacts", "decimals", "double", "size"), F.sum), "beyond": F.max}
ENDS = {"least": F.min, "greatest": F.max}
KINDS = {
    COUNT: Kind(counted, {"number": F.sum}, count_of),
    SUM: Kind(added, ADD, sum_of),
    MIN: Kind(bounds, ENDS, bound_of("least")),
    MAX: Kind(bounds, ENDS, bound_of("greatest")),
    SPAN: Kind(lambda it: ends(it, "date"), ENDS, span_of),
    FIRST: Kind(lambda it: {"end": F.min(in_order(it, False))}, {"end": F.min}, end_of),
    LAST: Kind(lambda it: {"end": F.max(in_order(it, True))}, {"end": F.max}, end_of),
    SINGLE: Kind(lambda it: ends(it, "key"), ENDS, single_of),
}
WRONG: Merge = {"wrong": F.min, "wrong_events": F.sum}


# From groups of events to sessions


def partial_figures(shape: Shape) -> list[Column]:
    """A column of partial figures for each, of the events of a group."""
    return [struct_of(of_events(it)).alias(f"part_{it.name}") for it in shape.read]


def struct_of(figures: Figures) -> Column:
    return F.struct(*[figure.alias(name) for name, figure in figures.items()])


def of_events(aggregate: Aggregate) -> Figures:
    name = aggregate.name
    if aggregate.kind == COUNT:
        return KINDS[COUNT].partial(name)
    told = {"wrong": F.min(part_of(name, "wrong")), "wrong_events": F.count(part_of(name, "wrong"))}
    if aggregate.is_list:
        return told  # its values are groups of their own
    return {**told, **KINDS[aggregate.kind].partial(name)}


def rebuilt_values(shape: Shape, is_sound: Column, known: Mapping[str, Column]) -> Column:
    """What a session should hold, of the sound groups of its events: the struct ``more``.

    To be given to an aggregation. What no partial figures make is ``known``: the values of a list;
    and the first and the last timestamp, of which a span may be.
    """
    return F.struct(*[rebuilt_value(it, is_sound, known).alias(it.name) for it in shape.declared])


def rebuilt_value(aggregate: Aggregate, is_sound: Column, known: Mapping[str, Column]) -> Column:
    """Its value, why it cannot be told, by how many events, and whether they disagree."""
    found = {
        name: function(F.when(is_sound, F.col(f"part_{aggregate.name}.{name}")))
        for name, function in merge_of(aggregate).items()
    }
    disagrees = F.lit(False)
    if aggregate.is_list:
        value, fault = known[aggregate.name], no_text()
    else:
        final = final_of(aggregate, found, known)
        fault = final.pop("fault", no_text())
        value = struct_of(final)
    wrong = F.coalesce(found.get("wrong", no_text()), fault)
    if aggregate.kind == SINGLE:
        other = found["least"]["key"] != found["greatest"]["key"]
        disagrees = F.coalesce(wrong.isNull() & other, F.lit(False))
    events = F.coalesce(found.get("wrong_events", F.lit(0)), F.lit(0))
    return F.struct(
        F.when(wrong.isNull(), value).alias("value"),
        wrong.alias("wrong"),
        events.cast("bigint").alias("events"),
        disagrees.alias("disagrees"),
    )


def merge_of(aggregate: Aggregate) -> Merge:
    if aggregate.is_of_timestamp:
        return {}
    wrong = {} if aggregate.kind == COUNT else WRONG
    return wrong if aggregate.is_list else {**wrong, **KINDS[aggregate.kind].merge}


def final_of(aggregate: Aggregate, found: Figures, known: Mapping[str, Column]) -> Figures:
    if aggregate.is_of_timestamp:
        first, last = known["first_event_at"], known["last_event_at"]
        return length_of(aggregate, F.unix_millis(last) - F.unix_millis(first))
    return KINDS[aggregate.kind].final(aggregate, found)
