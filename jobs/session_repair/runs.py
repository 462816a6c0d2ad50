"""Runs: a document per run with its state and counters, and the lease that lets one run write."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pymongo
import pyspark
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from session_repair import __version__
from session_repair.errors import Exit, LeaseHeld
from session_repair.report import Report

Document = dict[str, Any]

LEASE_ID = "lease"
LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
LEASE_TIME = timedelta(minutes=2)  # renewed before each batch, which takes about half a second


def new_run_id(now: datetime) -> str:
    """Starts with a letter, so that no _id made of it is ever read as JSON; sorts by time."""
    return f"r{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Run:
    """One run as the database knows it; every method is one atomic update of its document."""

    collection: Collection[Document]
    run_id: str

    @staticmethod
    def begin(collection: Collection[Document], report: Report) -> Run:
        """A run that has diagnosed and is about to write its plan."""
        collection.insert_one(
            {
                "_id": report.run_id,
                "verb": report.verb,
                "state": "planning",
                "settings": report.settings,
                "versions": {
                    "session_repair": __version__,
                    "spark": pyspark.__version__,
                    "pymongo": pymongo.version,
                    "python": platform.python_version(),
                },
                "started_at": report.server_time,
            }
        )
        return Run(collection, report.run_id)

    def record(self, state: str, **fields: Any) -> None:
        """Set the state and other fields of the run, with the server's time."""
        update = {"state": state, "updated_at": "$$NOW"}
        literals = {name: {"$literal": value} for name, value in fields.items()}
        self.collection.update_one({"_id": self.run_id}, [{"$set": {**update, **literals}}])

    def planned(self, planned: int, digest: str) -> None:
        """The plan is whole and frozen; only from here on can it be applied."""
        progress = {"after": "", "counts": {}}
        self.record("planned", planned=planned, digest=digest, progress=progress)

    def advance(self, after: str, upto: str, outcomes: Mapping[str, int]) -> bool:
        """Move the progress and its counts by one batch; False if that was done before."""
        increments = {f"progress.counts.{state}": count for state, count in outcomes.items()}
        moved = self.collection.update_one(
            {"_id": self.run_id, "progress.after": after},
            {
                "$set": {"progress.after": upto, "state": "applying"},
                "$inc": increments,
                "$currentDate": {"updated_at": True},
            },
        )
        return moved.modified_count == 1

    def end(self, state: str, verdict: Exit, **fields: Any) -> None:
        self.record(state, verdict=int(verdict), **fields)
        self.collection.update_one({"_id": self.run_id}, {"$currentDate": {"ended_at": True}})

    def read(self) -> Document:
        found = self.collection.find_one({"_id": self.run_id})
        assert found is not None, f"run {self.run_id} has no document"
        return found


@dataclass(frozen=True)
class Lease:
    """The right to write batches, until it expires or another run takes it over.

    ``token`` rises with every holder: a batch names it, and the server applies the batch only
    while the lease still carries it and has not expired by the server's own clock.
    """

    collection: Collection[Document]
    run_id: str
    token: int

    @staticmethod
    def take(collection: Collection[Document], run_id: str) -> Lease:
        """Take the lease, or raise LeaseHeld that names who has it."""
        with suppress(DuplicateKeyError):  # an earlier run left it
            collection.insert_one({"_id": LEASE_ID, "token": 0, "expires_at": LONG_AGO})
        lease = collection.find_one_and_update(
            {"_id": LEASE_ID, "$expr": {"$lte": ["$expires_at", "$$NOW"]}},
            [
                {
                    "$set": {
                        "holder": run_id,
                        "token": {"$add": ["$token", 1]},
                        "expires_at": expiry(),
                    }
                }
            ],
            return_document=pymongo.ReturnDocument.AFTER,
        )
        if lease is None:
            holder = collection.find_one({"_id": LEASE_ID}) or {}
            raise LeaseHeld(
                f"run {holder.get('holder')} holds the lease until {holder.get('expires_at')}. "
                "Wait for it to end."
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

    def renew(self) -> None:
        """Extend the lease, or raise LeaseHeld when it was lost."""
        renewed = self.collection.update_one(self.current(), [{"$set": {"expires_at": expiry()}}])
        if renewed.matched_count == 0:
            raise LeaseHeld(
                f"run {self.run_id} lost the lease; it wrote nothing more. "
                "Another run may have taken over: see ./spark-submit.sh runs."
            )

    def release(self) -> None:
        """Give the lease back; one that was lost stays with its new holder."""
        self.collection.update_one(self.current(), [{"$set": {"expires_at": "$$NOW"}}])


def expiry() -> Document:
    return {"$add": ["$$NOW", LEASE_TIME // timedelta(milliseconds=1)]}
