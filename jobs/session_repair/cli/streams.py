"""Streams: an output that ends, or cannot be written, decides nothing about a repair."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

STDOUT, STDERR = 1, 2  # of a process and its children


class Unfailing(io.FileIO):
    """A file descriptor that may take no more: its reader is gone, or its disk is full.

    What it does not take is lost.
    """

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            written: int | None = super().write(data)  # None where it would have to wait
            if written is not None:
                return written
        return len(data)


def make_unfailing() -> None:
    """From now on no error of stdout or stderr is raised, and every character can be written."""
    for name in ("stdout", "stderr"):
        setattr(sys, name, unfailing(getattr(sys, name)))


def unfailing(stream: TextIO | None) -> TextIO:
    if stream is None:  # it was closed from the start
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):  # a notebook's
        return stream
    stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):  # unbuffered or not
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(Unfailing(ours_alone(stream.fileno()), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def ours_alone(descriptor: int) -> int:
    """Of stdout, where the report goes, another one: what Java writes there stands on stderr."""
    with suppress(OSError):  # one of them was closed from the start
        if descriptor == STDOUT:
            descriptor = os.dup(STDOUT)
            os.dup2(STDERR, STDOUT)
    return descriptor
