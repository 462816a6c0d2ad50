"""A pseudo terminal: what a command writes to it, and what a person sees there in the end."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PART = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\r|\n|[^\r\n\x1b]")
LIVING = re.compile(r"\r\x1b\[K([^\r\n\x1b]+)\r(?!\n)")


class Terminal:
    """So many columns, and all that was written to it."""

    def __init__(self, columns: int) -> None:
        self.columns, self.text = columns, ""

    def read(self, descriptor: int) -> None:
        """Until nobody can write to it any more."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            try:
                self.text += decoder.decode(os.read(descriptor, 65_536))
            except OSError:
                return

    def live(self) -> list[str]:
        """What the line that lives said, one after another."""
        told = LIVING.findall(self.text)
        return [one for before, one in zip(["", *told], told, strict=False) if one != before]

    def screen(self) -> list[str]:
        """The lines as they stand there in the end, without their colours.

        It goes back to the begin of a line, erases to its end, and wraps.
        """
        lines, at = [""], 0
        for match in PART.finditer(self.text):
            part = match[0]
            if part == "\n":
                lines.append("")
            elif part == "\r":
                at = 0
            elif match[2] == "K":
                lines[-1] = lines[-1][:at]
            elif match[2] is None:
                if at == self.columns:
                    lines.append("")
                    at = 0
                lines[-1] = lines[-1][:at].ljust(at) + part + lines[-1][at + 1 :]
                at += 1
        return lines


@contextmanager
def opened(columns: int) -> Iterator[tuple[Terminal, int]]:
    """A terminal so wide, and the descriptor that a command writes to it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    terminal = Terminal(columns)
    reader = threading.Thread(target=terminal.read, args=[ours])
    reader.start()
    try:
        yield terminal, theirs
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


@contextmanager
def on_terminal(columns: int, term: str = "xterm", no_color: str = "") -> Iterator[Terminal]:
    """Within, what this process writes goes to a terminal so wide."""
    with pytest.MonkeyPatch.context() as patch, opened(columns) as (terminal, descriptor):
        patch.setenv("TERM", term)
        patch.setenv("NO_COLOR", no_color)
        with open(os.dup(descriptor), "w", encoding="utf-8", buffering=1) as stream:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            yield terminal
