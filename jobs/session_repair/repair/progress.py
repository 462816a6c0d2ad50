"""Progress: how many of the sessions are done, with rate and time left.

On a terminal in a line that lives; elsewhere in a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from session_repair.live import LIVE, is_terminal
from session_repair.ongoing import is_live, pace_text
from session_repair.wording import number_of

STEP = 1_000  # sessions between two lines: a night's log has no use for one of each batch


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[int], None]]:
    """A function to be told how many of the total are done."""
    say(f"Processing {number_of(total, 'session')}...")
    is_shown = is_live()
    step = total if is_shown and is_terminal(sys.stdout) else STEP
    first, began, told = -1, 0.0, 0

    def show(done: int) -> None:
        nonlocal first, began, told
        if first < 0:
            first, began = done, time.monotonic()
        if is_shown:
            rate = round((done - first) / max(time.monotonic() - began, 0.001))
            pace = pace_text(total - done, rate)
            LIVE.show(f"  Processed {done} of {number_of(total, 'session')}{pace}")
        if done - told >= step or done == total:
            told = done
            say(f"  Processed {done}/{total}...")

    try:
        yield show
    finally:
        LIVE.clear()


def say(line: str) -> None:
    with LIVE.aside():
        click.echo(line)
