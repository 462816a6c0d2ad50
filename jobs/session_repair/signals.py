"""Signals: what Ctrl-C and SIGTERM do, wherever a command is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[..., Any] | int | None


@contextmanager
def on_signal(do: Callable[[], None]) -> Iterator[None]:
    """Within, they call the function; not in a thread beside the main one, which gets none."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        do()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Handler] = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Within, the first one is a KeyboardInterrupt; another breaks off nothing that it ends."""
    is_interrupted = threading.Event()

    def interrupt() -> None:
        if not is_interrupted.is_set():
            is_interrupted.set()
            raise KeyboardInterrupt

    with on_signal(interrupt):
        yield
