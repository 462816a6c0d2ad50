"""Lease: the right of one run to write, held in MongoDB, lost by whoever stops renewing it.

Each batch renews it in its own transaction. Whoever takes it over writes the same document, so one
of the two fails: the server fences, without a clock and without waiting. What a dead holder has
left open in a transaction keeps its documents from everybody until the server ends it; so the lease
names the server's session that carries the batches, and whoever takes it over ends that first.
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
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from session_repair.errors import LeaseHeld
from session_repair.mongo.store import Store
from session_repair.typed import typed

log = logging.getLogger(__name__)

Document = dict[str, Any]

LEASE_ID = "lease"
LEASE_TIME = timedelta(seconds=60)  # long enough for a failover, short enough to wait for
RENEW_SECONDS = LEASE_TIME.total_seconds() / 4
LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
EXPIRED: Document = {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}


@dataclass
class Lease:
    """The right to write batches, until it expires or another run takes it over.

    ``token`` rises with every holder. ``session`` is the client's session of all its transactions.
    """

    store: Store
    run_id: str
    token: int
    session: ClientSession
    taken: float = field(default_factory=time.monotonic)  # by this process's clock
    renewed: float = field(default_factory=time.monotonic)

    @staticmethod
    def take(store: Store, run_id: str, session: ClientSession) -> Lease:
        """Take the lease, or raise LeaseHeld that names who has it.

        With ``--break-lease`` it is taken from its holder, who can then write no further batch.
        """
        collection = store.runs
        with suppress(DuplicateKeyError):  # an earlier run left it
            collection.insert_one({"_id": LEASE_ID, "token": 0, "expires_at": LONG_AGO})
        free = {"_id": LEASE_ID, **({} if store.settings.break_lease else EXPIRED)}
        end_session_of_last(store, free)
        holding = {
            "holder": {"$literal": run_id},
            "token": {"$add": ["$token", 1]},
            "expires_at": in_future(LEASE_TIME),
            "session": {"$literal": session.session_id["id"]},
        }
        lease = collection.find_one_and_update(
            free, [{"$set": holding}], return_document=ReturnDocument.AFTER
        )
        if lease is None:
            holder = collection.find_one({"_id": LEASE_ID}) or {}
            raise LeaseHeld(
                f"run {holder.get('holder')} holds the lease until "
                f"{holder.get('expires_at', LONG_AGO):%H:%M:%S} UTC. Wait for it to end; if it is "
                "dead for certain, --break-lease takes it over."
            )
        taken = Lease(store, run_id, lease["token"], session)
        log.info("took the lease, number %d", taken.token)
        return taken

    def current(self) -> Document:
        """The filter that finds the lease while it is this holder's."""
        return {
            "_id": LEASE_ID,
            "holder": self.run_id,
            "token": self.token,
            "$expr": {"$gt": ["$expires_at", "$$NOW"]},
        }

    def renew(self, session: ClientSession | None = None) -> None:
        """Extend the lease, or raise LeaseHeld when it was lost.

        Alone it waits for no majority: a renewal that a failover loses is missed by the next.
        """
        extended = [{"$set": {"expires_at": in_future(LEASE_TIME)}}]
        leases = self.store.runs.with_options(write_concern=WriteConcern(1))
        if leases.update_one(self.current(), extended, session=session).matched_count == 0:
            reached_by = self.store.settings.reached_by
            raise LeaseHeld(
                f"run {self.run_id} lost the lease and wrote nothing more. Another run may have "
                f"taken over: see {typed(reached_by, 'runs', self.run_id)}"
            )
        self.renewed = time.monotonic()

    def end_session(self) -> None:
        """End what a batch that broke off may have left open: it would keep the lease and the
        run's document from this very process until the server ends it."""
        with suppress(PyMongoError):
            end_session(self.store, self.session.session_id["id"])

    def release(self) -> None:
        """Give the lease back; one that was lost stays with its new holder."""
        given_back = {"$set": {"expires_at": "$$NOW"}}
        self.store.runs.update_one(self.current(), [given_back, {"$unset": "session"}])


def end_session_of_last(store: Store, free: Document) -> None:
    """End what the last holder may have left open on the server, where the lease is to be had."""
    left = store.runs.find_one({**free, "session": {"$exists": True}})
    if left is not None:
        end_session(store, left["session"])
        log.info("ended the session that run %s had left open", left.get("holder"))


def end_session(store: Store, session_id: Any) -> None:
    """End a session of the server, and with it what it left open.

    Nobody needs a right to end sessions of the own user; those of another end by themselves.
    """
    with suppress(OperationFailure):
        store.client.admin.command("killSessions", [{"id": session_id}])


def in_future(after: timedelta) -> Document:
    return {"$add": ["$$NOW", after // timedelta(milliseconds=1)]}


@contextmanager
def held_lease(store: Store, run_id: str) -> Iterator[Lease]:
    """The lease, renewed in the background while Spark is at work, given back at the end."""
    with store.client.start_session() as session:
        lease = Lease.take(store, run_id, session)
        is_over = threading.Event()

        def keep() -> None:
            while not is_over.wait(RENEW_SECONDS):
                if time.monotonic() - lease.renewed < RENEW_SECONDS:
                    continue  # a batch has just renewed it
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
