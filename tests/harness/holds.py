"""The moments of a run: held by the server before a command, or seen when the command is sent.

The server's fail point ``failCommand`` makes the n-th command of a kind on one collection wait, so
that what comes before it is done and what comes after is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
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
        self._client.admin.command("killAllSessions", [])

    def _held(self) -> list[Document]:
        ours = {"appName": APP, "active": True, "op": {"$ne": "none"}}
        operations = self._client.admin.aggregate([{"$currentOp": {}}, {"$match": ours}])
        return [it for it in operations if "hello" not in it.get("command", {})]


@contextmanager
def held(db: Db, point: Point, seconds: float) -> Iterator[Hold]:
    """Inside, each matching command is held for so long before it goes on."""
    hold = Hold(db.client)
    hold.at(db, point, seconds)
    try:
        yield hold
    finally:
        hold.let_go()


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
