"""Ongoing: whatever takes long says what it is at: on a terminal each second, in a line that lives,
elsewhere every half minute, in the log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from session_repair.kinds import show_duration
from session_repair.live import LIVE, is_terminal
from session_repair.logs import LINES, OURS, TEXT, notice

LOOK_SECONDS = 1.0  # between two looks
LINE_SECONDS = 30.0  # between two lines of a log: what takes less time leaves none
END_SECONDS = 2.0  # so long the end waits for a look that has begun


@dataclass(frozen=True)
class Reading:
    """How far Spark is with what it reads."""

    documents: Annotated[int, "that are to be read, about"]
    read: Annotated[int, "those that were read so far"]
    per_second: Annotated[int | None, "how fast; null before the first was read"]

    def __str__(self) -> str:
        told = f"{self.read} of about {self.documents} documents"
        return told + pace_text(self.documents - self.read, self.per_second)


def pace_text(left: int, per_second: int | None, unit: str = "") -> str:
    """How fast it goes, and how long what is left takes; nothing where that is not known."""
    if not per_second:
        return ""
    rate = f", {per_second}{unit}/s"
    return f"{rate}, {show_duration(timedelta(seconds=left // per_second))} left" if left else rate


def is_live() -> bool:
    """Whether the line that lives has a place: not among JSON, nor below all that Spark tells."""
    is_alone = LINES.form == TEXT and not OURS.isEnabledFor(logging.DEBUG)
    return is_alone and is_terminal(sys.stderr)


@contextmanager
def ongoing(look: Callable[[float], str]) -> Iterator[None]:
    """Within, the text is told that a look brings, which is given the seconds since the begin.

    The look is a thread's, it may fail, and nothing waits for it.
    """
    is_over, is_shown, began = threading.Event(), is_live(), time.monotonic()

    def watch() -> None:
        lines = 0
        while not is_over.is_set():
            with suppress(Exception):
                seconds = time.monotonic() - began
                text = look(seconds)
                if is_shown:
                    LIVE.show(text, unless=is_over)
                elif seconds // LINE_SECONDS > lines:
                    notice(text)
                    lines = int(seconds // LINE_SECONDS)
            is_over.wait(LOOK_SECONDS)

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        LIVE.clear()
        watcher.join(END_SECONDS)


def since(what: str) -> Callable[[float], str]:
    """A look that tells how long this has taken."""
    return lambda seconds: f"{what}: {show_duration(timedelta(seconds=int(seconds)))}"
