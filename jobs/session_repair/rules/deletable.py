"""Deletable: choose the sessions that may be deleted, orphans or empty copies. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def deletable_orphans(corrected: DataFrame, now: datetime, min_age: timedelta) -> DataFrame:
    """The corrected rows of orphan sessions that are certainly empty and old enough."""
    is_orphan = has_finding("orphan_session") & is_certainly_empty()
    return corrected.where(is_orphan & is_at_rest(now, min_age))


def deletable_copies(corrected: DataFrame, now: datetime, min_age: timedelta) -> DataFrame:
    """The corrected rows of empty duplicates that are old enough; never the canonical document.

    Where a document or an event of the session_id is malformed, nothing can be told of its copies.
    """
    is_empty_copy = has_finding("duplicate_session") & ~has_finding("malformed")
    is_empty_copy = is_empty_copy & F.col("names_no_page") & F.col("counts_nothing")
    is_empty_copy = is_empty_copy & is_certainly_empty()
    return corrected.where(is_empty_copy & is_at_rest(now, min_age))


def is_certainly_empty() -> Column:
    """True when the empty session has its pages or its count, be it null. Never null.

    One that has neither may be filled under the names that another program gives them.
    """
    pages, count = F.col("stored.types.pages"), F.col("stored.types.event_count")
    return (pages != "missing") | (count != "missing")


def is_at_rest(now: datetime, min_age: timedelta) -> Column:
    """True when the session is older than ``min_age`` and not in flight. Never null.

    The age is that of the latest known instant of the document; without any it is not known, and
    the session stays.
    """
    is_old = F.coalesce(latest_instant() < F.lit(now - min_age), F.lit(False))
    return ~F.col("in_flight") & is_old


def latest_instant() -> Column:
    """The latest of creation and stored dates; null when none is known."""
    return F.greatest("created_at", "stored.first_event_at", "stored.last_event_at")


def has_finding(code: str) -> Column:
    return F.array_contains("findings.code", code)
