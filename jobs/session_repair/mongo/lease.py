"""Lease: the right of one run to write, held in MongoDB, lost by whoever stops renewing it.

A merge looks the lease up once, when it begins, so it goes on after the lease is lost, even when
its client is dead. Therefore it begins only while the lease lasts longer than a merge may take,
and whoever breaks a lease waits that long before it believes what it sees.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import ReturnDocument, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from session_repair.errors import LeaseHeld
from session_repair.home import COMMAND

log = logging.getLogger(__name__)

Document = dict[str, Any]

LEASE_ID = "lease"
LEASE_TIME = timedelta(seconds=60)  # long enough for a failover, short enough to wait for
MERGE_TIME = timedelta(seconds=5)  # no merge takes longer; a usual one takes a tenth of it
LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass
class Lease:
    """The right to write batches, until it expires or another run takes it over.

    ``token`` rises with every holder: a batch names it, and the server applies the batch only
    while the lease still carries it and does not expire meanwhile by the server's own clock.
    """

    collection: Collection[Document]
    run_id: str
    token: int
    taken: float = field(default_factory=time.monotonic)  # by this process's clock
    quiet_at: float = 0.0  # by the same clock; until then a merge nobody waits for may go on

    @staticmethod
    def take(collection: Collection[Document], run_id: str, break_lease: bool) -> Lease:
        """Take the lease, or raise LeaseHeld that names who has it.

        With ``break_lease`` it is taken from its holder, who can then write no further batch.
        """
        with suppress(DuplicateKeyError):  # an earlier run left it
            collection.insert_one({"_id": LEASE_ID, "token": 0, "expires_at": LONG_AGO})
        expired = {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}
        holding = {
            "holder": {"$literal": run_id},
            "token": {"$add": ["$token", 1]},
            "expires_at": in_future(LEASE_TIME),
            # Of its last holder, and of what that had to wait for.
            "remaining_ms": {"$subtract": [{"$max": ["$expires_at", "$quiet_at"]}, "$$NOW"]},
        }
        lease = collection.find_one_and_update(
            {"_id": LEASE_ID, **({} if break_lease else expired)},
            [{"$set": holding}],
            return_document=ReturnDocument.AFTER,
        )
        if lease is None:
            holder = collection.find_one({"_id": LEASE_ID}) or {}
            raise LeaseHeld(
                f"run {holder.get('holder')} holds the lease until "
                f"{holder.get('expires_at', LONG_AGO):%H:%M:%S} UTC. Wait for it to end; if it is "
                "dead for certain, --break-lease takes it over."
            )
        taken = Lease(collection, run_id, lease["token"])
        log.info("took the lease, number %d", taken.token)
        # What its last holder began ends before its lease would have.
        unquiet = min(lease["remaining_ms"] / 1000, MERGE_TIME.total_seconds())
        taken.quiet_at = taken.taken + max(0.0, unquiet)
        return taken

    def current(self, margin: timedelta = timedelta(0)) -> Document:
        """The filter that finds the lease while it is this holder's, for longer than the margin."""
        return {
            "_id": LEASE_ID,
            "holder": self.run_id,
            "token": self.token,
            "$expr": {"$gt": ["$expires_at", in_future(margin)]},
        }

    def while_held(self) -> list[Document]:
        """Stages that let the rows of a merge pass only while the lease is held long enough."""
        current = [{"$match": self.current(MERGE_TIME)}]
        held = {"from": self.collection.name, "pipeline": current, "as": "held"}
        return [{"$lookup": held}, {"$match": {"held": {"$ne": []}}}]

    def renew(self, session: ClientSession | None = None) -> None:
        """Extend the lease, or raise LeaseHeld when it was lost.

        Waits for no majority: a renewal that a failover loses is missed by the next.
        """
        renewed = self.collection.with_options(write_concern=WriteConcern(1)).update_one(
            self.current(), [{"$set": {"expires_at": in_future(LEASE_TIME)}}], session=session
        )
        if renewed.matched_count == 0:
            raise LeaseHeld(
                f"run {self.run_id} lost the lease and wrote nothing more. Another run may have "
                f"taken over: see {COMMAND} runs, then resume {self.run_id}."
            )

    @contextmanager
    def merging(self) -> Iterator[None]:
        """Around a merge: when it breaks off without an answer, it may go on in the server."""
        before, self.quiet_at = self.quiet_at, time.monotonic() + MERGE_TIME.total_seconds()
        try:
            yield
        except OperationFailure:  # an answer
            self.quiet_at = before
            raise
        self.quiet_at = before

    def await_quiet(self) -> None:
        """Return when no merge can be under way that nobody waits for."""
        time.sleep(max(0.0, self.quiet_at - time.monotonic()))

    def release(self) -> None:
        """Give the lease back; one that was lost stays with its new holder.

        Whoever takes it next knows how long a merge that nobody waits for may still go on.
        """
        rest = timedelta(seconds=max(0.0, self.quiet_at - time.monotonic()))
        given_back = {"expires_at": "$$NOW", "quiet_at": in_future(rest)}
        self.collection.update_one(self.current(), [{"$set": given_back}])


def in_future(after: timedelta) -> Document:
    return {"$add": ["$$NOW", after // timedelta(milliseconds=1)]}


@contextmanager
def held_lease(collection: Collection[Document], run_id: str, break_lease: bool) -> Iterator[Lease]:
    """The lease, renewed in the background while Spark is at work, given back at the end."""
    lease = Lease.take(collection, run_id, break_lease)
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.wait(LEASE_TIME.total_seconds() / 4):
            try:
                lease.renew()
                log.debug("renewed the lease")
            except LeaseHeld:
                return  # the next batch says so
            except PyMongoError:
                continue  # an election takes less time than the lease

    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        is_over.set()
        keeper.join()
        with suppress(PyMongoError):
            lease.release()
            log.info("gave the lease back")
