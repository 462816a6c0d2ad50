"""Deletable: which orphans or empty copies may be deleted, and why others may not. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import reduce
from operator import and_, or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.aggregates import BASIC_SHAPE, OF_EMPTY, Shape
from session_repair.reasons import BARE, FILLED, IN_FLIGHT, MALFORMED, YOUNG
from session_repair.symptoms import DUPLICATE, ORPHAN


def orphans(
    corrected: DataFrame, now: datetime, min_age: timedelta, shape: Shape = BASIC_SHAPE
) -> DataFrame:
    """The corrected rows of orphan sessions, and ``kept_for``: why one may not be deleted.

    That is null for those that are certainly empty and old enough.
    """
    found = corrected.where(has_finding(ORPHAN))
    return found.withColumn("kept_for", why_not_empty_or_at_rest(now, min_age, shape))


def copies(
    corrected: DataFrame, now: datetime, min_age: timedelta, shape: Shape = BASIC_SHAPE
) -> DataFrame:
    """The same of duplicates, of which empty ones may be deleted; never the canonical document.

    Where a document or an event of the session_id is malformed, nothing can be told of its copies.
    """
    facts = {"pages": "names_no_page", "event_count": "counts_nothing"}
    is_empty = reduce(and_, [F.col(fact) for it, fact in facts.items() if shape.keeps(it)])
    why = F.when(has_finding("malformed"), MALFORMED).when(~is_empty, FILLED)
    why = why.otherwise(why_not_empty_or_at_rest(now, min_age, shape))
    return corrected.where(has_finding(DUPLICATE)).withColumn("kept_for", why)


def why_not_empty_or_at_rest(now: datetime, min_age: timedelta, shape: Shape) -> Column:
    """Why an empty session may not be deleted: null where it is certainly empty, and at rest."""
    return (
        F.when(~is_certainly_empty(shape), BARE)
        .when(F.col("in_flight"), IN_FLIGHT)
        .when(~is_old(now, min_age), YOUNG)
    )


def is_certainly_empty(shape: Shape) -> Column:
    """True when the empty session has its pages or its count, be it null. Never null.

    One that has neither may be filled under the names that another program gives them.
    """
    types = [F.col(f"stored.types.{it}") for it in OF_EMPTY if shape.keeps(it)]
    return reduce(or_, [it != "missing" for it in types])


def is_old(now: datetime, min_age: timedelta) -> Column:
    """True when the session is older than ``min_age``. Never null.

    The age is that of the latest known instant of the document; without any it is not known, and
    the session stays.
    """
    return F.coalesce(latest_instant() < F.lit(now - min_age), F.lit(False))


def latest_instant() -> Column:
    """The latest of creation and stored dates; null when none is known."""
    return F.greatest("created_at", "stored.first_event_at", "stored.last_event_at")


def has_finding(code: str) -> Column:
    return F.array_contains("findings.code", code)
