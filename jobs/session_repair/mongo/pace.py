"""Pace: how fast a run may write, and when it has to stop between two batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo.errors import OperationFailure

from session_repair.errors import Interrupted, Refused, Stopped
from session_repair.kinds import show_duration
from session_repair.mongo.connection import UNAUTHORIZED, first_line, hello_of, is_router
from session_repair.mongo.store import Store
from session_repair.settings import BATCH_SIZE
from session_repair.signals import on_signal

log = logging.getLogger(__name__)

Document = dict[str, Any]

LONG_BATCH = 0.5  # seconds; a longer one keeps its documents from the live ingest for too long
LEAST_BATCH = 10
USUAL_LAG = timedelta(seconds=10)  # where --max-lag does not say another
LAG_POLL = 1.0  # seconds between two looks at the replication lag while it is too great
LAG_EVERY = 3.0  # seconds between two looks else


class LagUnseen(Refused):
    """How far the secondaries are behind cannot be known here."""


@dataclass
class Pace:
    """The size of the next batch, and the reasons to wait or to stop before it."""

    store: Store
    started: float  # of the run's work, planning included, by time.monotonic
    tell: Callable[[str], None]
    batch_size: int = field(init=False)
    is_interrupted: threading.Event = field(default_factory=threading.Event)
    looked_at: float = float("-inf")  # at the replicas, by time.monotonic
    is_blind: bool = False  # the lag cannot be seen, and that was told

    def __post_init__(self) -> None:
        self.batch_size = min(BATCH_SIZE, self.store.settings.batch_size)

    def is_lag_due(self) -> bool:
        return time.monotonic() - self.looked_at > LAG_EVERY

    def before_batch(self) -> None:
        """Wait while the replicas lag; raise when the run has to stop."""
        self.stop_if_asked()
        if not self.is_lag_due():
            return
        try:
            self.await_replicas()
        except LagUnseen as error:
            if not self.is_blind:
                self.tell(f"{error} Batches wait for a majority, and for no other replica.")
            self.is_blind = True
        self.looked_at = time.monotonic()

    def await_replicas(self) -> None:
        """Wait while they lag by more than the limit, until it is half of that."""
        limit = USUAL_LAG if self.store.settings.max_lag is None else self.store.settings.max_lag
        lag = replication_lag(self.store)
        log.info("the slowest replica lags %.1f s", lag.total_seconds())
        if lag > limit:
            behind, most = show_duration(lag), show_duration(limit)
            self.tell(f"waiting: a replica lags {behind}, --max-lag is {most}")
            while replication_lag(self.store) > limit / 2:
                self.is_interrupted.wait(LAG_POLL)
                self.stop_if_asked()

    def stop_if_asked(self) -> None:
        reason = self.reason_to_stop()
        if reason is not None:
            kind = Interrupted if self.is_interrupted.is_set() else Stopped
            raise kind(reason)

    def reason_to_stop(self) -> str | None:
        if self.is_interrupted.is_set():
            return "interrupted."
        pause_file = self.store.settings.pause_file
        if pause_file is not None and Path(pause_file).exists():
            return f"the pause file {pause_file} stopped the run. Remove it."
        max_time = self.store.settings.max_time
        if max_time is not None and time.monotonic() - self.started > max_time.total_seconds():
            return "--max-time is over."
        return None

    def after_batch(self, rows: int, seconds: float) -> None:
        """As many rows for the next batch as the last one would have done in its time, or fewer.

        Batches shrink at once and at most double.
        """
        in_time = int(LONG_BATCH * rows / max(seconds, 0.001))
        wanted = max(LEAST_BATCH, min(in_time, 2 * rows))
        self.batch_size = min(self.store.settings.batch_size, wanted)

    @contextmanager
    def interruptible(self, at_once: bool) -> Iterator[None]:
        """Within, Ctrl-C and SIGTERM stop the run: at once, or when the batch has ended.

        What a transaction has not committed is not written.
        """

        def note() -> None:
            is_first = not self.is_interrupted.is_set()
            self.is_interrupted.set()
            if at_once and is_first:  # another one would break off what ends the transaction
                self.stop_if_asked()

        with on_signal(note):
            yield


def replication_lag(store: Store) -> timedelta:
    """How far the slowest secondary is behind; zero without one. Raises LagUnseen.

    A member that is delayed on purpose is behind by that much less. Source: members[].optimeDate
    of replSetGetStatus, the last write each member applied.
    """
    if not may_lag(hello_of(store)):
        return timedelta(0)
    admin = store.client.admin
    try:
        members = admin.command("replSetGetStatus")["members"]
        config = admin.command("replSetGetConfig")["config"]["members"]
    except OperationFailure as error:
        raise LagUnseen(f"Replication lag cannot be seen: {why_unseen(error)}.") from None
    delays = {it["_id"]: timedelta(seconds=it.get("secondaryDelaySecs", 0)) for it in config}
    written: list[datetime] = [it["optimeDate"] for it in members if it["stateStr"] == "PRIMARY"]
    applied: list[datetime] = [
        it["optimeDate"] + delays.get(it["_id"], timedelta(0))
        for it in members
        if it["stateStr"] == "SECONDARY"
    ]
    if not written or not applied:
        return timedelta(0)
    return max(max(written) - min(applied), timedelta(0))


def may_lag(hello: Document) -> bool:
    """Whether the server that says hello may have secondaries. Raises LagUnseen for a router."""
    if is_router(hello):
        raise LagUnseen("Replication lag cannot be seen through a mongos.")
    return "setName" in hello


def why_unseen(error: OperationFailure) -> str:
    if error.code == UNAUTHORIZED:
        return "the user lacks the right to replSetGetStatus, replSetGetConfig on the cluster"
    return first_line(error)


def require_lag(store: Store) -> None:
    """Raise Refused where ``--max-lag`` is asked for and the lag cannot be seen."""
    if store.settings.max_lag is not None:
        try:
            replication_lag(store)
        except LagUnseen as error:
            raise Refused(f"{error} Leave out --max-lag to go on without it.") from None
