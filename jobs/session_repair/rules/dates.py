"""Dates: as what sessions keep an instant, to the byte and as far as they can hold it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column
from pyspark.sql import functions as F

from session_repair.dates import DATE, EPOCH_S, NUMBERS, WHOLE
from session_repair.rules.envelope import content, fits_int, json_number
from session_repair.rules.usual_types import USUAL_TYPES

LARGEST = "decimal(18, 0)"  # that holds the milliseconds of any date


@dataclass(frozen=True)
class Dates:
    """As what the sessions keep their dates, and by field, of which type they mostly are."""

    kind: str = DATE
    usual: Mapping[str, str] = field(default_factory=lambda: USUAL_TYPES)


def as_kept(name: str, date: Column, dates: Dates) -> Column:
    """The date, as far as a session can hold it: one of whole seconds, the second that has begun.

    So what is written is what the next run looks for.
    """
    second = F.timestamp_seconds(F.floor(F.unix_millis(date) / 1000))
    return F.when(kept_type(name, dates).isin(*WHOLE), second).otherwise(date)


def kept_type(name: str, dates: Dates) -> Column:
    """The type in which a date is written: that of the stored one, else the usual one."""
    stored = F.col(f"stored.types.{name}")
    return F.when(stored.isin(*NUMBERS), stored).otherwise(dates.usual[name])


def written_date(name: str, date: Column, dates: Dates) -> Column:
    """What is to be written, as extended JSON; null for null."""
    if dates.kind == DATE:
        return json_date(date)
    return json_epoch(date, kept_type(name, dates), dates.kind)


def observed_date(name: str, date: Column, dates: Dates) -> Column:
    """What is stored, as extended JSON to the byte; null for null."""
    if dates.kind == DATE:
        return json_date(date)
    derived = json_epoch(date, F.col(f"stored.types.{name}"), dates.kind)
    return F.coalesce(content(F.col(f"stored.exact.{name}")), derived)


def json_date(date: Column) -> Column:
    milliseconds = F.unix_millis(date).cast("string")
    return F.concat(F.lit('{"$date":{"$numberLong":"'), milliseconds, F.lit('"}}'))


def json_epoch(date: Column, kind: Column, dates: str) -> Column:
    """The date as a number of this BSON type; a long in place of an int that is too small."""
    milliseconds = F.unix_millis(date)
    whole, double = milliseconds, milliseconds.cast("double")
    decimal = milliseconds.cast(LARGEST)
    if dates == EPOCH_S:
        whole, double = F.floor(milliseconds / 1000), double / 1000
        decimal = (decimal / 1000).cast("decimal(18, 3)")
    is_int = (kind == "int") & fits_int(whole)
    tag = F.when(kind == "double", "Double").when(kind == "decimal", "Decimal")
    tag = tag.when(is_int, "Int").otherwise("Long")
    digits = F.when(kind == "double", double.cast("string"))
    digits = digits.when(kind == "decimal", decimal.cast("string")).otherwise(whole.cast("string"))
    return json_number(tag, digits)
