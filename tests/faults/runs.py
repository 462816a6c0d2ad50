"""Runs to be hit by faults: started as a user starts them, held at a point, killed, compared.

A run is held by the server itself: the failpoint ``failCommand`` makes the n-th command of a kind
on one collection wait, so that what comes before it is done and what comes after is not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database

Document = dict[str, Any]
Job = Callable[..., tuple[int, str]]

ROOT = Path(__file__).resolve().parents[2]
SPARK_OPTIONS = ("--master", "local[2]", "--driver-memory", "768m")
SPARK_VERBS = ("fix", "verify", "delete-orphans", "resume")
PATIENCE = 240.0  # seconds; a run with Spark takes 15 on an idle machine
SESSIONS, JOURNAL, RUNS = "sessions", "session_repair_journal", "session_repair_runs"
# Some dates are beyond the years that Python knows.
MILLISECONDS = DatetimeConversion.DATETIME_MS
RAW: Any = CodecOptions(RawBSONDocument, datetime_conversion=MILLISECONDS)
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
HELD_MS = 600_000  # longer than any test; what is still held is killed on the server


# A run as a process


@dataclass(frozen=True)
class Process:
    """A started command in a process group of its own, which holds its JVM and its Python."""

    popen: subprocess.Popen[bytes]
    output: Path

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.popen.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the JVM and to Python at once. Harmless when the command has ended."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.popen.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.popen.pid, number)

    def text(self) -> str:
        """What the command printed so far, on stdout and stderr."""
        return self.output.read_text(errors="replace")


@contextmanager
def started(
    uri: str, database: str, verb: str, *arguments: str, spark_options: Iterable[str] = ()
) -> Iterator[Process]:
    """``./spark-submit.sh VERB …`` on the database; what is left of it at the end is killed."""
    spark = [*SPARK_OPTIONS, *spark_options] if verb in SPARK_VERBS else []
    command = [str(ROOT / "spark-submit.sh"), *spark, verb, *arguments, "--database", database]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPARK_", "PYSPARK_"))
    }
    with tempfile.NamedTemporaryFile(prefix="run-", suffix=".log") as output:
        popen = subprocess.Popen(
            command,
            env={**inherited, "MONGODB_URI": uri},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        process = Process(popen, Path(output.name))
        try:
            yield process
        finally:
            if popen.poll() is None:
                process.kill()


def run_to_end(uri: str, database: str, verb: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a whole run in a process of its own, and what it printed."""
    with started(uri, database, verb, *arguments) as process:
        return process.wait(), process.text()


# Held by the server


@dataclass(frozen=True)
class Point:
    """Where a run is held: before its command number ``skip`` + 1 of a kind on a collection."""

    command: str
    collection: str
    skip: int = 0


class Hold:
    """The failpoint of one server, set for the commands that a run sends to a database."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self._admin = client.admin
        self._entered = 0

    def at(self, db: Database[Document], point: Point, milliseconds: int = HELD_MS) -> None:
        """Hold each matching command from the point on. One that is held already stays held."""
        answer = self._admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"skip": point.skip} if point.skip else "alwaysOn",
            data={
                "failCommands": [point.command],
                "namespace": f"{db.name}.{point.collection}",
                "appName": "session-repair",
                "blockConnection": True,
                "blockTimeMS": milliseconds,
            },
        )
        self._entered = answer["count"]

    def wait(self, seconds: float = PATIENCE) -> None:
        """Return when a command is held. Raises when none is within the time."""
        self._admin.command(
            "waitForFailPoint",
            "failCommand",
            timesEntered=self._entered + 1,
            maxTimeMS=int(seconds * 1000),
        )

    def release(self) -> None:
        """Hold no more, and end the commands that are held: they are never carried out."""
        # The server answers only when no command is held any more.
        off = Thread(target=self._turn_off)
        off.start()
        deadline = time.monotonic() + PATIENCE
        while off.is_alive():
            assert time.monotonic() < deadline, f"the server does not let go of {self._held()}"
            for operation in self._held():
                self._admin.command("killOp", op=operation["opid"])
            off.join(0.1)

    def let_go(self) -> None:
        """Hold no more; returns when the command that was held goes on."""
        self._turn_off()

    def _turn_off(self) -> None:
        self._admin.command("configureFailPoint", "failCommand", mode="off")

    def _held(self) -> list[Document]:
        ours = {"appName": "session-repair", "active": True, "op": {"$ne": "none"}}
        operations = self._admin.aggregate([{"$currentOp": {}}, {"$match": ours}])
        return [it for it in operations if "hello" not in it.get("command", {})]


# What the database holds


def raw_documents(db: Database[Document], collection: str = SESSIONS) -> dict[Any, bytes]:
    """Every document of a collection as its bytes, by _id."""
    raw: Any = db.get_collection(collection, codec_options=RAW)
    return {document["_id"]: document.raw for document in raw.find()}


def hash_of(db: Database[Document], collection: str = SESSIONS) -> str:
    """The server's own hash over a collection."""
    answer: str = db.command("dbHash", collections=[collection])["collections"][collection]
    return answer


def run_documents(db: Database[Document]) -> list[Document]:
    """The documents of all runs, the oldest first."""
    return list(db[RUNS].find({"verb": {"$exists": True}}).sort("started_at", 1))


def the_run(db: Database[Document]) -> Document:
    """The document of the only run."""
    (run,) = run_documents(db)
    return run


def outcomes(db: Database[Document], run_id: str) -> dict[str, int]:
    """The journal rows of a run by outcome: their mark, else whether an ended batch held them."""
    run = db[RUNS].find_one({"_id": run_id}) or {}
    ended = run.get("progress", {}).get("after", "")
    counts: dict[str, int] = defaultdict(int)
    for row in db[JOURNAL].find({"run_id": run_id}, {"outcome": 1}):
        counts[row.get("outcome", "applied" if row["_id"] <= ended else "none")] += 1
    return dict(counts)


def let_the_lease_expire(db: Database[Document]) -> None:
    """What 60 s without a renewal do."""
    db[RUNS].update_one({"_id": "lease"}, {"$set": {"expires_at": LONG_AGO}})


def batch_ends(db: Database[Document], run_id: str) -> list[str]:
    """The last rows of the batches of a run in their order, as the oplog tells them."""
    entries = db.client["local"]["oplog.rs"].find({"ns": f"{db.name}.{RUNS}", "o2._id": run_id})
    ends: list[str] = []
    for entry in entries.sort("$natural", 1):
        diff = entry["o"].get("diff", {}).get("sprogress", {})
        for begun in (diff.get(kind, {}).get("begun", "") for kind in ("u", "i")):
            if begun and begun not in ends:
                ends.append(begun)
    return ends


# What a clean run would leave, in plain Python


def is_empty(session: Document) -> bool:
    return not session.get("pages") or not session.get("event_count")


def recomputed(session: Document, events: list[Document]) -> Document:
    """The session as its events say: rebuilt whole if it is empty, else as it is."""
    if not events or not is_empty(session):
        return session
    in_order = sorted(events, key=lambda event: (event["timestamp"], event["_id"]))
    users = {event["user_id"] for event in events}
    rebuilt = {
        **session,
        "event_count": len(events),
        "pages": list(dict.fromkeys(event["page"] for event in in_order if "page" in event)),
        "first_event_at": in_order[0]["timestamp"],
        "last_event_at": in_order[-1]["timestamp"],
    }
    if len(users) == 1:
        rebuilt["user_id"] = users.pop()
    return rebuilt


def recomputed_documents(db: Database[Document]) -> dict[Any, bytes]:
    """Every session as a clean run leaves it, as bytes, by _id. To be asked before the run."""
    events = defaultdict(list)
    for event in db["events"].find():
        events[event["session_id"]].append(event)
    exact: Any = db[SESSIONS].with_options(CodecOptions(datetime_conversion=MILLISECONDS))
    return {
        session["_id"]: bson.encode(recomputed(session, events[session["session_id"]]))
        for session in exact.find()
    }


def differing(db: Database[Document], expected: dict[Any, bytes]) -> list[Any]:
    """The _ids of the sessions that are not, byte for byte, what is expected."""
    found = raw_documents(db)
    return [key for key in {**expected, **found} if expected.get(key) != found.get(key)]


# A database as it was


@dataclass(frozen=True)
class Snapshot:
    """Every document of a database, as bytes, to begin with again."""

    documents: dict[str, list[RawBSONDocument]]

    @staticmethod
    def of(db: Database[Document]) -> Snapshot:
        raw = db.with_options(codec_options=RAW)
        return Snapshot({name: list(raw[name].find()) for name in db.list_collection_names()})

    def restore(self, db: Database[Document]) -> None:
        for name in {*self.documents, *db.list_collection_names()}:
            db[name].delete_many({})
            if documents := self.documents.get(name):
                db[name].insert_many(documents)
