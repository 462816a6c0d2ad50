"""Declared JSON: what is written of declared aggregates, and what is held of them. Pure.

A number is written in the type of the one that the session holds, where it fits.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import FROM_NOTHING, SPAN, SUM, Aggregate, Shape
from session_repair.rules import tokens
from session_repair.rules.envelope import INT_HEAD, fits_int, json_number
from session_repair.rules.held import token_held


def with_numbers(rows: DataFrame, shape: Shape) -> DataFrame:
    """The corrected rows, with the whole number of each that is to be written, and its type."""
    numbers = [it for it in shape.declared if "number" in it.members]
    if not numbers:
        return rows
    exact = {f"exact_{it.name}": exact_of(it) for it in numbers}
    whole = {f"whole_{it.name}": whole_of(it) for it in numbers}
    tags = {f"tag_{it.name}": tag_of(it) for it in numbers}
    return rows.withColumns(exact).withColumns(whole).withColumns(tags)


def new_value(aggregate: Aggregate) -> Column:
    return F.col(f"changes.more.{aggregate.name}")


def exact_of(aggregate: Aggregate) -> Column:
    """The exact number; of a span whole seconds, but where their parts are stored."""
    value, held = new_value(aggregate), token_held(aggregate)
    if aggregate.kind != SPAN:
        return value["exact"]
    has_parts = F.coalesce(tokens.is_double(held) | tokens.is_decimal(held), F.lit(False))
    whole = F.floor(value["number"]).cast(tokens.DECIMAL)
    return F.when(has_parts, value["exact"]).otherwise(F.coalesce(value["exact"], whole))


def whole_of(aggregate: Aggregate) -> Column:
    """The number as a bigint, where it is whole and doubles of its size are exact; else null.

    Null for a decimal beyond long too, of which Spark's cast would keep the low 64 bits.
    """
    exact, number = F.col(f"exact_{aggregate.name}"), new_value(aggregate)["number"]
    is_whole = (F.floor(exact) == exact) & tokens.fits_long(exact)
    of_exact = F.when(is_whole, exact.cast("bigint"))
    return F.when(exact.isNotNull(), of_exact).otherwise(tokens.whole_in(number))


def tag_of(aggregate: Aggregate) -> Column:
    """The type of the stored number, where the new one fits it, else that which comes of events.

    Null for a bound, which then is as the event has it.
    """
    whole, held = F.col(f"whole_{aggregate.name}"), token_held(aggregate)
    is_exact = F.col(f"exact_{aggregate.name}").isNotNull()
    stored = (
        F.when(held.startswith(INT_HEAD) & fits_int(whole), "Int")
        .when(tokens.is_whole(held), "Long")
        .when(tokens.is_double(held) & (F.abs(whole) <= tokens.BEYOND), "Double")
        .when(tokens.is_decimal(held) & is_exact, "Decimal")
    )
    stored = F.when(whole.isNotNull(), stored)
    if aggregate.kind not in FROM_NOTHING:
        is_decimal = tokens.is_decimal(new_value(aggregate)["token"])
        return F.when(~(tokens.is_decimal(held) & is_decimal), stored)
    is_decimal = new_value(aggregate)["is_decimal"] if aggregate.kind == SUM else F.lit(False)
    own = F.when(~is_exact, "Double").when(is_decimal, "Decimal")
    return F.coalesce(stored, own.when(fits_int(whole), "Int").otherwise("Long"))


def json_of_new(aggregate: Aggregate) -> Column:
    """What is to be written of it, as extended JSON; null for nothing. In rows with_numbers."""
    value = new_value(aggregate)
    if aggregate.is_list:
        return tokens.json_of_list(value)
    if "number" not in aggregate.members:
        return tokens.json_of(value["token"])
    exact, whole, tag = (F.col(f"{it}_{aggregate.name}") for it in ("exact", "whole", "tag"))
    digits = F.when(tag == "Double", value["number"].cast("string"))
    if aggregate.kind == SUM:
        digits = digits.when(tag == "Decimal", tokens.without_zeros(exact))
    number = json_number(tag, digits.otherwise(whole.cast("string")))
    if aggregate.kind in FROM_NOTHING:
        return number
    return F.coalesce(number, tokens.json_of(value["token"]))


def declared_values(shape: Shape, owner: str) -> dict[str, Column]:
    """What is declared in ``stored`` or ``changes`` as extended JSON, by name; null for null.

    Of ``changes`` in rows with_numbers.
    """
    if owner == "changes":
        return {it.name: json_of_new(it) for it in shape.declared}
    return {
        it.name: (tokens.json_of_list if it.is_list else tokens.json_of)(token_held(it))
        for it in shape.declared
    }
