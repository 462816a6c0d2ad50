"""Watch: the latest answer of health for all who ask, looked up at most once at a time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from session_repair.errors import Unreachable
from session_repair.health.model import Health
from session_repair.health.queries import bounded, look, unknown
from session_repair.mongo.store import Store

LOOK_SECONDS = 1.2  # for all queries of one look
PATIENCE = 1.5  # seconds a request waits for the look in flight, so that it is answered within 2
RETRY = 1.0  # seconds between two looks at a server that is there and gives no answer
# The client notices within about a second that the server is gone, though nothing is asked of it.
WATCHFUL = {"serverSelectionTimeoutMS": 1_000, "connectTimeoutMS": 500, "heartbeatFrequencyMS": 500}


@dataclass(frozen=True)
class Answer:
    """What one look found, and when, by this machine's steady clock."""

    health: Health
    looked_at: float

    @property
    def is_of_server(self) -> bool:
        return self.health.lease is not None


class Watch:
    """The latest answer. At most one look is in flight, however many ask."""

    def __init__(
        self,
        store: Store,
        max_age: timedelta,
        cache: timedelta,
    ) -> None:
        self.store = store
        self.max_age = max_age
        self.cache = cache.total_seconds()
        self.latest: Answer | None = None
        self.flight: asyncio.Task[Answer] | None = None
        self.took_off = 0.0

    async def answer(self) -> Answer:
        """The latest answer if it still holds, else a new one; in time, whatever MongoDB does."""
        if self.latest is not None and self.still_holds(self.latest):
            return self.latest
        if self.flight is None or self.flight.done():
            self.took_off = time.monotonic()
            self.flight = asyncio.create_task(self.look())
        patience = self.took_off + PATIENCE - time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.shield(self.flight), max(patience, 0))
        except asyncio.TimeoutError:
            late = Unreachable(f"MongoDB gave no answer within {PATIENCE:g} s.")
            return Answer(unknown(self.store.settings, late), time.monotonic())

    def still_holds(self, answer: Answer) -> bool:
        """Whether the answer is young and says rightly whether the server is there.

        The client watches the server by itself. While it is away nobody is kept waiting, and once
        it is back the next request looks again.
        """
        is_there = self.store.client.topology_description.has_writable_server()
        age = time.monotonic() - answer.looked_at
        if answer.is_of_server:
            return is_there and age < self.cache
        return not is_there or age < RETRY

    async def look(self) -> Answer:
        self.latest = await asyncio.to_thread(self.look_now)
        return self.latest

    def look_now(self) -> Answer:
        try:
            with bounded(LOOK_SECONDS):
                health = look(self.store, self.max_age)
        except Exception as error:
            health = unknown(self.store.settings, error)
        return Answer(health, time.monotonic())
