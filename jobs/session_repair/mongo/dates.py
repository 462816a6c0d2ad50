"""Dates: what the server is asked of them, and how it makes milliseconds of epoch numbers.

A double of seconds is taken for the millisecond that it is nearest to of all doubles, where there
is one; of any other number counts the millisecond that has begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from math import nan
from typing import Any

from bson.datetime_ms import DatetimeMS

from session_repair.dates import (
    DATE,
    DATE_FIELDS,
    EPOCH_MS,
    EPOCH_S,
    GREATEST_DATE_MS,
    LEAST_DATE_MS,
    NUMBERS,
)

Document = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The first and the last date that there is, as a side keeps it.
BOUNDS: dict[str, tuple[Any, Any]] = {
    DATE: (DatetimeMS(LEAST_DATE_MS), DatetimeMS(GREATEST_DATE_MS)),
    EPOCH_MS: (LEAST_DATE_MS, GREATEST_DATE_MS),
    EPOCH_S: (LEAST_DATE_MS // 1000, GREATEST_DATE_MS / 1000),
}
# 1973 to 2099: a number in one of these is hardly anything else, least of all the other unit.
LIKELY = {EPOCH_MS: (100_000_000_000, 4_102_444_800_000), EPOCH_S: (100_000_000, 4_102_444_800)}
LIKE = " like "  # between the type of a number and what it looks like
OUT_OF_RANGE = " out of range"


def types_of_dates(dates: str) -> tuple[str, ...]:
    """The BSON types of a date on a side that keeps its dates so."""
    return (DATE,) if dates == DATE else NUMBERS


def within(value: str, bounds: tuple[Any, Any]) -> list[Document]:
    """Tests of whether it lies between the two: values of other types sort below or above both.

    So does what is no number among them, below.
    """
    return [{"$gte": [value, bounds[0]]}, {"$lte": [value, bounds[1]]}]


def are_usual_dates(value: str, types: tuple[str, ...], dates: str) -> list[Any]:
    """Tests of whether it is a date that its milliseconds and the usual type tell to the byte.

    A double need not be: it may have parts of a millisecond, or be -0.0. A decimal has many forms.
    """
    tests: list[Any] = within(value, BOUNDS[dates])
    if dates == DATE:
        return tests
    [kind] = types
    if kind == "decimal":
        return [False]
    tests.append({"$eq": [{"$type": value}, kind]})
    if kind == "double":
        again: Any = {"$floor": value}
        if dates == EPOCH_S:
            again = {"$divide": [nearest(value), 1000]}
        tests += [{"$eq": [again, value]}, {"$ne": [value, 0]}]
    return tests


def milliseconds(value: str, dates: str) -> Any:
    """The date for Spark."""
    if dates == DATE:
        return value
    if dates == EPOCH_MS:
        return {"$toLong": {"$floor": value}}
    begun = {"$floor": {"$multiply": [value, 1000]}}
    is_nearest = {"$eq": [{"$divide": [nearest(value), 1000]}, value]}
    return {"$toLong": {"$cond": [is_nearest, nearest(value), begun]}}


def exact_dates(paths: Mapping[str, str], dates: str) -> Document:
    """Where they are numbers: each date as it is stored, whatever its milliseconds say of it."""
    if dates == DATE:
        return {}
    kinds = list(types_of_dates(dates))
    exact = {
        field: {"v": {"$cond": [{"$in": [{"$type": f"${path}"}, kinds]}, f"${path}", None]}}
        for field, path in paths.items()
        if field in DATE_FIELDS
    }
    return {"exact": exact}


def nearest(seconds: str) -> Document:
    return {"$round": {"$multiply": [seconds, 1000]}}


def type_of_date(path: str, dates: str) -> Document:
    """The name of its type; a number that looks like a date of another kind is told so."""
    value = f"${path}"
    kind = {"$type": value}
    is_typed = {"$in": [kind, list(types_of_dates(dates))]}
    others: list[Document] = [
        {"case": {"$and": within(value, LIKELY[it])}, "then": {"$concat": [kind, LIKE, it]}}
        for it in LIKELY
        if it != dates
    ]
    others.append({"case": is_typed, "then": {"$concat": [kind, OUT_OF_RANGE]}})
    is_date = {"$and": [is_typed, *within(value, BOUNDS[dates])]}
    return {"$cond": [is_date, kind, {"$switch": {"branches": others, "default": kind}}]}


def dates_beyond(path: str, dates: str) -> list[Document]:
    """Filters of what has the type of a date, and is none."""
    least, greatest = BOUNDS[dates]
    none = [] if dates == DATE else [{path: nan}]
    return [{path: {"$lt": least}}, {path: {"$gt": greatest}}, *none]


def dated(path: str, since: datetime, until: datetime, dates: str) -> Document:
    """The filter of what is dated from the one instant on, to before the other, by its index.

    A whole second may have been any instant in it.
    """
    bounds: tuple[Any, Any] = (since, until)
    if dates != DATE:
        first, end = ((it - EPOCH) // timedelta(milliseconds=1) for it in (since, until))
        bounds = (first, end) if dates == EPOCH_MS else (first // 1000, end / 1000)
    return {path: {"$gte": bounds[0], "$lt": bounds[1]}}
