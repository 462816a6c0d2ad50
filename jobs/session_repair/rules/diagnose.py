"""Diagnose: join sessions with what their events say, and name what does not match. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from session_repair.aggregates import BASIC_SHAPE, Shape
from session_repair.dates import EPOCH_S, KEPT_DATES
from session_repair.rules.dates import Dates, as_kept
from session_repair.rules.predicates import (
    array_of,
    counts_nothing,
    holds_of,
    is_session,
    is_told,
    names_no_page,
    rebuilt,
    shared_facts,
    stored,
)
from session_repair.rules.schemas import DIAGNOSED
from session_repair.rules.shapes import stored_of
from session_repair.rules.usual_types import USUAL_ID, USUAL_TYPES

# Which of the sessions and of the rebuilt ones are joined: all; or of the suspects what both hold,
# since what one lacks was no suspect any more when it was read; or, of what is active, that and
# the events without a session.
OF_ALL, OF_SUSPECTS, OF_ACTIVE = "full_outer", "inner", "right_outer"

# Clocks of clients run ahead by hours; a date further in the future is no sign of activity,
# or a session that says 9999 would be deferred for ever.
CLOCK_ERROR = timedelta(days=1)


def diagnose(
    sessions: DataFrame,
    rebuilt_sessions: DataFrame,
    now: datetime,
    settle: timedelta,
    found_in: str = OF_ALL,
    usual: Mapping[str, str] = USUAL_TYPES,
    shape: Shape = BASIC_SHAPE,
) -> DataFrame:
    """One row per session document, and one per session_id that only events name: DIAGNOSED.

    ``stored`` and ``rebuilt`` are null where there is no finding, to keep the frame slim. Where the
    frames are not all there is but what was looked up, each session_id that was has a rebuilt one,
    which may be null. What is not told of a type is the ``usual`` one. Rebuilt ``dates`` are as
    the session would hold them.
    """
    holds = holds_of(shape)
    facts = {
        "in_flight": is_in_flight(now, settle),
        "names_no_page": is_session() & is_told("pages") & names_no_page(stored("pages")),
        "counts_nothing": is_session()
        & is_told("event_count")
        & counts_nothing(stored("event_count")),
        "events": rebuilt("event_count") + rebuilt("malformed_events"),
        "checked_events": rebuilt("checked_events"),
        "started_at": started_at(),
        **{shows(code): is_shown() for code, is_shown in holds.items()},
    }
    is_sick = F.size("symptoms") > 0
    values = {
        "stored": F.when(is_sick, with_types(usual)),
        "rebuilt": F.when(is_sick, F.col("rebuilt")),
    }
    return (
        sessions.transform(with_canonical, shape)
        .join(rebuilt_sessions, "session_id", found_in)
        .where("session_key IS NOT NULL OR rebuilt IS NOT NULL")
        .withColumns(as_sessions_keep_it(Dates(shape.dates, usual)))
        .withColumns(shared_facts(shape))
        .withColumns(facts)
        .withColumn("symptoms", symptoms(holds))
        .withColumns(values)
        .select(*DIAGNOSED.fieldNames())
    )


def as_sessions_keep_it(dates: Dates) -> dict[str, Column]:
    """What is rebuilt, where sessions may hold no more of a date than its second."""
    if dates.kind != EPOCH_S:
        return {}
    whole = F.col("rebuilt")
    for field in KEPT_DATES:
        whole = whole.withField(field, as_kept(field, rebuilt(field), dates))
    return {"rebuilt": whole}


def shows(code: str) -> str:
    """The column that says whether the symptom holds."""
    return f"shows_{code}"


def with_canonical(sessions: DataFrame, shape: Shape) -> DataFrame:
    """One row per session document, its values in ``stored``, beside the _id that is to be kept.

    Among documents with one session_id that is the one with the greatest event_count, then the
    oldest _id. A document without a session_id has no others. Where one of them is malformed all
    are: its count cannot be told, and filling another one could count every event twice.
    """
    best_first = [F.col("event_count").desc_nulls_last(), F.col("key_order"), F.col("session_key")]
    # Both figures are of all copies: with one window for both they are sorted once.
    copies = Window.partitionBy("session_id").orderBy(*best_first)
    copies = copies.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    best = F.first("session_key").over(copies)
    malformed_copy = F.when(
        F.col("session_id").isNotNull() & F.max(F.col("malformed").isNotNull()).over(copies),
        F.lit("its duplicate: malformed"),
    )
    return sessions.select(
        "session_key",
        "session_id",
        "created_at",
        F.coalesce("malformed", malformed_copy).alias("malformed"),
        F.struct(*stored_of(shape).fieldNames()).alias("stored"),
        F.when(F.col("session_id").isNull(), F.col("session_key"))
        .otherwise(best)
        .alias("canonical_key"),
    )


def with_types(usual: Mapping[str, str]) -> Column:
    """What the session says, the names of the usual types included; null without a session."""
    names = {**USUAL_TYPES, **usual, **USUAL_ID}
    types = F.struct(*[F.lit(kind).alias(field) for field, kind in names.items()])
    known = F.col("stored").withField("types", F.coalesce(stored("types"), types))
    return F.when(is_session(), known)


def is_in_flight(now: datetime, settle: timedelta) -> Column:
    """True when something happened to the session within the settle window. Never null."""
    instants = [
        stored("first_event_at"),
        stored("last_event_at"),
        F.col("created_at"),
        rebuilt("last_active_at"),
        rebuilt("last_created_at"),
    ]
    recent = [
        F.coalesce(it.between(F.lit(now - settle), F.lit(now + CLOCK_ERROR)), F.lit(False))
        for it in instants
    ]
    return reduce(or_, recent)


def started_at() -> Column:
    """The day a session belongs to: its first event, else its stored first, else its creation."""
    return F.coalesce(rebuilt("first_event_at"), stored("first_event_at"), F.col("created_at"))


def symptoms(codes: Iterable[str]) -> Column:
    """The codes of those that hold, in the order of the table; at no cost for a sound row."""
    holds = {code: F.col(shows(code)) for code in codes}
    found = array_of([(is_shown, F.lit(code)) for code, is_shown in holds.items()], StringType())
    return F.when(reduce(or_, holds.values()), found).otherwise(F.array().cast("array<string>"))
