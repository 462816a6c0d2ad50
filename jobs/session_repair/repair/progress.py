"""Progress: a live bar on a terminal, with rate and time left; elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from session_repair.wording import number_of

STEP = 1_000  # sessions between two lines: a night's log has no use for one of each batch


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[int], None]]:
    """A function to be told how many of the total are done."""
    click.echo(f"Processing {number_of(total, 'session')}...")
    if not sys.stdout.isatty():
        yield lines_of(total)
        return
    began = time.monotonic()
    with click.progressbar(
        length=total, label="  Processed", show_pos=True, item_show_func=rate_text
    ) as bar:

        def show(done: int) -> None:
            step = done - bar.pos
            bar.update(step, round(done / max(time.monotonic() - began, 0.001)))

        yield show


def lines_of(total: int) -> Callable[[int], None]:
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        if done - told >= STEP or done == total:
            told = done
            click.echo(f"  Processed {done}/{total}...")

    return tell


def rate_text(rate: int | None) -> str | None:
    return None if rate is None else f"{rate} rows/s"
