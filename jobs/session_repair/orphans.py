"""Orphans: choose the sessions that are to be deleted. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from session_repair.correct import has_finding


def deletable_orphans(corrected: DataFrame, now: datetime, min_age: timedelta) -> DataFrame:
    """The corrected rows of orphan sessions older than ``min_age`` and not in flight.

    The age is that of the latest known instant of the document; without any it is not known, and
    the session stays.
    """
    return corrected.where(
        has_finding("orphan_session")
        & ~F.col("in_flight")
        & F.coalesce(latest_instant() < F.lit(now - min_age), F.lit(False))
    )


def latest_instant() -> Column:
    """The latest of creation and stored dates; null when none is known."""
    return F.greatest("created_at", "stored.first_event_at", "stored.last_event_at")
