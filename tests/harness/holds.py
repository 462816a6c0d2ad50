"""The moments of a run: held by the server before a command, or seen when the command is sent.

The server's fail point ``failCommand`` makes the n-th command of a kind on one collection wait, so
that what comes before it is done and what comes after is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from pymongo import MongoClient, monitoring

from tests.harness.commands import PATIENCE
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, Document

APP = "session-repair"
NEVER_ENDS = 600.0  # seconds; longer than any test, what is still held is killed on the server

Hook = Callable[[str, Mapping[str, Any]], None]  # of a database's name and a command to it


@dataclass(frozen=True)
class Point:
    """Where a run is held: before its command number ``skip`` + 1 of a kind on a collection.

    Without a collection the command is one of any collection, or of none.
    """

    command: str
    collection: str | None = None
    skip: int = 0


# The commands of one batch, of a run that applies its plan or of an undo: find its rows; then, in
# one transaction: renew the lease, read, write, mark what was not written, move the progress.
# A dry run and a plan read with aggregates too: there count the other commands.


def before_rows(batch: int, asked: int = 1) -> Point:
    """Before the rows of a batch are found: the one before it has ended, if there was one.

    An apply has ``asked`` for all rows by then, to see that the plan is as it was sealed.
    """
    return Point("find", JOURNAL, skip=asked + batch - 1)


def before_lease(batch: int) -> Point:
    """Before the first command of the transaction; the run was taken over and fenced off."""
    return Point("update", RUNS, skip=2 + 2 * (batch - 1))


def before_read(batch: int) -> Point:
    return Point("aggregate", SESSIONS, skip=batch - 1)


def before_write(batch: int) -> Point:
    return Point("update", SESSIONS, skip=batch - 1)


def before_move(batch: int) -> Point:
    """Before the progress moves; all else that the transaction writes is written."""
    return Point("update", RUNS, skip=3 + 2 * (batch - 1))


def before_commit(batch: int) -> Point:
    return Point("commitTransaction", skip=batch - 1)


class Hold:
    """The server's brake on the commands that the job sends to a database."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self._client = client
        self._entered = 0

    def at(self, db: Db, point: Point, seconds: float = NEVER_ENDS) -> None:
        """Hold each matching command from the point on. One that is held already stays held."""
        data: Document = {
            "failCommands": [point.command],
            "appName": APP,
            "blockConnection": True,
            "blockTimeMS": int(seconds * 1000),
        }
        if point.collection is not None:
            data["namespace"] = f"{db.name}.{point.collection}"
        mode = {"skip": point.skip} if point.skip else "alwaysOn"
        admin = self._client.admin
        answer = admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
        self._entered = answer["count"]

    def wait(self) -> None:
        """Return when a command is held. Raises when none is within the time."""
        self._client.admin.command(
            "waitForFailPoint",
            "failCommand",
            timesEntered=self._entered + 1,
            maxTimeMS=int(PATIENCE * 1000),
        )

    def until(self, has_come: Callable[[], object]) -> None:
        """Until the job has come so far; a command that is held then leaves time to act."""
        deadline = time.monotonic() + PATIENCE
        while not has_come():
            assert time.monotonic() < deadline, "the job never came to the point to be held at"
            time.sleep(0.05)

    def let_go(self) -> None:
        """Hold no more; returns when what is held has waited its time and goes on."""
        self._client.admin.command("configureFailPoint", "failCommand", mode="off")

    @contextmanager
    def letting_go(self) -> Iterator[None]:
        """Inside, no further command is held; those that are have the time of the block at most."""
        off = Thread(target=self.let_go)
        off.start()
        yield
        off.join(PATIENCE)
        assert not off.is_alive(), f"the server still holds {self._held()}"

    def kill(self) -> None:
        """Hold no more, and end the commands that are held: they are never carried out."""
        # The server answers only when no command is held any more.
        off = Thread(target=self.let_go)
        off.start()
        deadline = time.monotonic() + PATIENCE
        while off.is_alive():
            assert time.monotonic() < deadline, f"the server does not let go of {self._held()}"
            for operation in self._held():
                self._client.admin.command("killOp", op=operation["opid"])
            off.join(0.1)

    def end_what_is_open(self) -> None:
        """End the transactions of killed processes, which keep their documents and collections."""
        end_transactions(self._client)

    def _held(self) -> list[Document]:
        ours = {"appName": APP, "active": True, "op": {"$ne": "none"}}
        operations = self._client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}])
        return [it for it in operations if "hello" not in it.get("command", {})]


def end_transactions(client: MongoClient[Document]) -> None:
    client.admin.command("killAllSessions", [])


@contextmanager
def endless_transactions(db: Db) -> Iterator[None]:
    """Inside, the server ends no transaction by itself, as it does after a minute."""
    admin, name = db.client.admin, "transactionLifetimeLimitSeconds"
    usual = admin.command({"getParameter": 1, name: 1})[name]
    admin.command({"setParameter": 1, name: 3_600})
    try:
        yield
    finally:
        admin.command({"setParameter": 1, name: usual})
        end_transactions(db.client)


@contextmanager
def held(db: Db, point: Point, seconds: float) -> Iterator[Hold]:
    """Inside, each matching command is held for so long before it goes on."""
    hold = Hold(db.client)
    hold.at(db, point, seconds)
    try:
        yield hold
    finally:
        hold.let_go()


class HeldHere:
    """A run in a thread of this process, held just before it sends one command, for any time."""

    def __init__(self, db: Db, point: Point) -> None:
        self._db, self._point, self._seen = db.name, point, 0
        self._has_come, self._may_go = Event(), Event()

    def look(self, database: str, sent: Mapping[str, Any]) -> None:
        command, collection = next(iter(sent.items()))
        of_this = (self._point.command, self._point.collection)
        if of_this == (command, None) or (database, *of_this) == (self._db, command, collection):
            self._seen += 1
            if self._seen == self._point.skip + 1:
                self._has_come.set()
                assert self._may_go.wait(PATIENCE), "the test never let the run go"

    def wait(self) -> None:
        assert self._has_come.wait(PATIENCE), "the run never came to the point to be held at"

    def let_go(self) -> None:
        self._may_go.set()


@contextmanager
def held_here(db: Db, point: Point) -> Iterator[HeldHere]:
    """Inside, the run that a thread of this process begins comes to the point, and waits there."""
    hold = HeldHere(db, point)
    ONLOOKER.hook = hold.look
    try:
        yield hold
    finally:
        ONLOOKER.hook = None
        hold.let_go()


@contextmanager
def failing(db: Db, point: Point, mode: Document, **how: Any) -> Iterator[Callable[[int], None]]:
    """Commands of the job of that kind fail at the server; a call ends that after so many."""
    data = {"failCommands": [point.command], "appName": APP, **how}
    if point.collection is not None:
        data["namespace"] = f"{db.name}.{point.collection}"
    admin, name = db.client.admin, "failCommand"
    begun = admin.command("configureFailPoint", name, mode=mode, data=data)["count"]

    def until(times: int) -> None:
        admin.command("waitForFailPoint", name, timesEntered=begun + times, maxTimeMS=60_000)
        admin.command("configureFailPoint", name, mode="off")

    try:
        yield until
    finally:
        admin.command("configureFailPoint", name, mode="off")


class Onlooker(monitoring.CommandListener):
    """Lets a test act at the moment the job sends a command to MongoDB; changes no command."""

    def __init__(self) -> None:
        self.hook: Hook | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.hook is not None:
            self.hook(event.database_name, event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


ONLOOKER = Onlooker()
monitoring.register(ONLOOKER)  # for every client made from now on; pymongo cannot take it back
