"""Lease: the right of one run to write, held in MongoDB, lost by whoever stops renewing it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError

from session_repair.errors import LeaseHeld

Document = dict[str, Any]

LEASE_ID = "lease"
LEASE_TIME = timedelta(seconds=60)  # long enough for a failover, short enough to wait for
LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Lease:
    """The right to write batches, until it expires or another run takes it over.

    ``token`` rises with every holder: a batch names it, and the server applies the batch only
    while the lease still carries it and has not expired by the server's own clock.
    """

    collection: Collection[Document]
    run_id: str
    token: int
    taken: float = field(default_factory=time.monotonic, compare=False)  # by this process's clock

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
            "expires_at": expiry(),
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
        return Lease(collection, run_id, lease["token"])

    def current(self) -> Document:
        """The filter that finds the lease while it is this holder's and has not expired."""
        return {
            "_id": LEASE_ID,
            "holder": self.run_id,
            "token": self.token,
            "$expr": {"$gt": ["$expires_at", "$$NOW"]},
        }

    def renew(self, session: ClientSession | None = None) -> None:
        """Extend the lease, or raise LeaseHeld when it was lost."""
        renewed = self.collection.update_one(
            self.current(), [{"$set": {"expires_at": expiry()}}], session=session
        )
        if renewed.matched_count == 0:
            raise LeaseHeld(
                f"run {self.run_id} lost the lease and wrote nothing more. Another run may have "
                f"taken over: see ./spark-submit.sh runs, then resume {self.run_id}."
            )

    def release(self) -> None:
        """Give the lease back; one that was lost stays with its new holder."""
        self.collection.update_one(self.current(), [{"$set": {"expires_at": "$$NOW"}}])


def expiry() -> Document:
    return {"$add": ["$$NOW", LEASE_TIME // timedelta(milliseconds=1)]}


@contextmanager
def held_lease(collection: Collection[Document], run_id: str, break_lease: bool) -> Iterator[Lease]:
    """The lease, renewed in the background while Spark is at work, given back at the end."""
    lease = Lease.take(collection, run_id, break_lease)
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.wait(LEASE_TIME.total_seconds() / 4):
            try:
                lease.renew()
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
