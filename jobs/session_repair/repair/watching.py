"""Watching: what Spark is at while it works, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pyspark.sql import SparkSession

from session_repair.kinds import format_duration, show_duration
from session_repair.ongoing import Reading, ongoing
from session_repair.spark.work import Watch, Work
from session_repair.wording import number_of

KEEP_SECONDS = 5.0  # between two notes in the document of a run
COMPARING = "Comparing sessions with their events"

Keep = Callable[..., object]  # notes what is told of the progress where a run has a document


def nowhere(**_: Any) -> None:
    """Of a run that leaves no trace."""


def reading(
    spark: SparkSession, documents: int, keep: Keep = nowhere, what: str = "Reading"
) -> AbstractContextManager[None]:
    """Within, Spark reads about so many documents, and works on them."""
    watch = Watch(spark)
    before, kept = 0.0, 0.0  # the last look that found nothing read yet; the last note
    told, is_read = Reading(documents, 0, None), False

    def look(seconds: float) -> str:
        nonlocal before, kept, told, is_read
        work = watch.look()
        if not work.read:
            before = seconds
        elif work.read > told.read and not is_read:
            told = reading_of(work.read, documents, seconds - before)
        is_read = is_read or not work.is_reading  # later jobs read what Spark keeps of it
        if seconds - kept >= KEEP_SECONDS:
            kept = seconds
            note(keep, reading=asdict(told), waiting=None)
        return f"{COMPARING}{tasks_text(work)}" if is_read else f"{what}: {told}"

    return ongoing(look)


def waiting_to_look_again(delay: timedelta, keep: Keep) -> AbstractContextManager[None]:
    """Within, so long is waited."""
    why = f"waiting: looks again after --confirm-delay {format_duration(delay)}"
    is_kept = False

    def look(seconds: float) -> str:
        nonlocal is_kept
        if not is_kept:
            is_kept = True
            note(keep, reading=None, waiting=why)
        left = delay - timedelta(seconds=int(seconds))
        return f"{why}: {show_duration(left)} left"

    return ongoing(look)


def note(keep: Keep, **told: Any) -> None:
    with suppress(Exception):  # what keeps it from being noted is told where it matters
        keep(**told)


def reading_of(read: int, documents: int, seconds: float) -> Reading:
    """How far it is after so many seconds of reading; more than were expected are so many more."""
    return Reading(max(documents, read), read, round(read / seconds) or None)


def tasks_text(work: Work) -> str:
    return f": {work.done} of {number_of(work.tasks, 'task')} done" if work.tasks else ""


def working(spark: SparkSession, what: str) -> AbstractContextManager[None]:
    """Within, Spark does this with what was read."""
    watch = Watch(spark)
    return ongoing(lambda _: what + tasks_text(watch.look()))
