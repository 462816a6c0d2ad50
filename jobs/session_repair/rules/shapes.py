"""Shapes: the frames of sessions that keep more than the basics; else they are ``schemas``."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from session_repair.aggregates import COUNT, FROM_NOTHING, SUM, Aggregate, Shape
from session_repair.rules.schemas import (
    CHANGES,
    CORRECTED,
    EVENTS,
    REBUILT,
    SESSIONS,
    STORED,
    column,
)

LISTED = ArrayType(StringType())
PARTS = {
    it.name: it
    for it in (
        column("token", StringType(), "the token of the value"),
        column("key", StringType(), "the same for whole numbers of one value"),
        column("number", DoubleType(), "the number, as a double; null for what is none"),
        column("exact", DecimalType(38, 18), "the number; null for a double, and for no number"),
        column("date", LongType(), "the date, in milliseconds since 1970; null for none"),
        column("size", DoubleType(), "the sum of doubles, each without its sign"),
        column("is_decimal", BooleanType(), "the number is to be written as a decimal"),
    )
}
LIST_STORED = StructType(
    [
        column("value", LISTED, "tokens of what the list holds; that of null alone for null"),
        column("keys", LISTED, "the same for numbers of one value, whatever their type"),
    ]
)


def more(meaning: str, of_each: Mapping[str, DataType]) -> list[StructField]:
    """The column of what is declared, none where that is nothing."""
    if not of_each:
        return []
    return [column("more", StructType([column(it, of_each[it], "") for it in of_each]), meaning)]


def value_of_kind(aggregate: Aggregate) -> StructType:
    """A value of the aggregate, taken apart into what it is compared by."""
    return StructType([PARTS[it] for it in ("token", *aggregate.members)])


def value_said(aggregate: Aggregate) -> StructType:
    """What events say of it; of numbers without a token, that only what is wrong needs."""
    if aggregate.kind not in FROM_NOTHING:
        return value_of_kind(aggregate)
    more = ("size", "is_decimal") if aggregate.kind == SUM else ()
    return StructType([PARTS[it] for it in (*aggregate.members, *more)])


def more_stored(shape: Shape) -> list[StructField]:
    kinds = {it.name: LIST_STORED if it.is_list else value_of_kind(it) for it in shape.declared}
    return more("values of the declared aggregates; null for what is missing", kinds)


def more_of_events(shape: Shape) -> list[StructField]:
    kinds = {it.name: LongType() if it.kind == COUNT else StringType() for it in shape.read}
    return more("a token, or 1, of what the event says of each; null for nothing", kinds)


def more_rebuilt(shape: Shape) -> list[StructField]:
    kinds = {
        it.name: StructType(
            [
                column("value", LISTED if it.is_list else value_said(it), "what the events say"),
                column("wrong", StringType(), "why it cannot be told; null where it can"),
                column("events", LongType(), "number of events with a value of a wrong type"),
                column("disagrees", BooleanType(), "events disagree on what should be single"),
            ]
        )
        for it in shape.declared
    }
    return more("the declared aggregates", kinds)


def more_changes(shape: Shape) -> list[StructField]:
    kinds = {it.name: LISTED if it.is_list else value_said(it) for it in shape.declared}
    return more("what to write of the declared aggregates", kinds)


def sessions_of(shape: Shape) -> StructType:
    return StructType([*SESSIONS, *more_stored(shape)])


def events_of(shape: Shape) -> StructType:
    return StructType([*EVENTS, *more_of_events(shape)])


def stored_of(shape: Shape) -> StructType:
    return StructType([*STORED, *more_stored(shape)])


def rebuilt_of(shape: Shape) -> StructType:
    return StructType([*REBUILT, *more_rebuilt(shape)])


def changes_of(shape: Shape) -> StructType:
    return StructType([*CHANGES, *more_changes(shape)])


OF_SESSION = ("session_key", "session_id", "canonical_key", "started_at")
KEPT = (*OF_SESSION, "stored", "changes", "findings")


def kept_rows_of(shape: Shape) -> StructType:
    """The shape of rows with findings that are put aside."""
    structs = {"stored": stored_of(shape), "changes": changes_of(shape)}
    return StructType([StructField(it, structs.get(it, CORRECTED[it].dataType)) for it in KEPT])
