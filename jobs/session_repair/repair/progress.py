"""Progress: a live bar on a terminal, a plain line per batch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[int], None]]:
    """A function to be told how many of the total are done."""
    click.echo(f"Processing {total} sessions...")
    if not sys.stdout.isatty():
        yield lambda done: click.echo(f"  Processed {done}/{total}...")
        return
    with click.progressbar(length=total, label="  Processed", show_pos=True) as bar:
        yield lambda done: bar.update(done - bar.pos)
