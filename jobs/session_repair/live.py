"""Live: the line below all others on the terminal of stderr, which is written over in place.

What else is written there goes above it. In a pipe, a file, or with TERM=dumb, there is none.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

USUAL_WIDTH = 80  # of a terminal that does not tell
ERASE = "\r\x1b[K"  # the line that the cursor is in


def is_terminal(stream: Any) -> bool:
    """Whether a person looks at it, and it can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width_of(stream: Any) -> int:
    """How many columns the terminal has."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except OSError:
        return USUAL_WIDTH


class LiveLine:
    """One line; nothing while it is empty."""

    def __init__(self) -> None:
        self.text, self.lock = "", threading.RLock()

    def show(self, text: str, unless: threading.Event | None = None) -> None:
        """Write it, unless that has come meanwhile."""
        with self.lock:
            if unless is None or not unless.is_set():
                self.text = text
                self.draw()

    def draw(self) -> None:
        """Leave the cursor in the first column: what Java writes begins there."""
        room = width_of(sys.stderr) - 1  # beyond it some terminals go to the next line
        text = self.text if len(self.text) <= room else f"{self.text[: room - 1]}…"
        print(f"{ERASE}{text}", end="\r", file=sys.stderr, flush=True)

    def clear(self) -> None:
        with self.lock:
            if self.text:
                self.text = ""
                print(ERASE, end="", file=sys.stderr, flush=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within, something else is written, on a line of its own."""
        with self.lock:
            if not self.text:
                yield
                return
            print(ERASE, end="", file=sys.stderr, flush=True)
            yield
            self.draw()


LIVE = LiveLine()
