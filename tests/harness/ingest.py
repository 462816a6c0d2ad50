"""Live ingest beside a repair: many writers, and sessions whose event came when a test says."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from random import Random

from bson import ObjectId
from pymongo import MongoClient

from demo.generate import generate
from demo.ingest import Ingest, new_event, new_session
from tests.harness.commands import Command, reported
from tests.harness.documents import Db, Document
from tests.harness.holds import before_write, held
from tests.harness.runs import is_balanced, last_run, outcomes
from tests.oracle import mismatched

WRITERS = 16


SETTLE = ("--settle", "2s")


LONG_AGO = datetime(2025, 10, 1, 12, tzinfo=timezone.utc)


class Writers:
    """Threads of the mended ingest: on sound, broken and new sessions, in time and late."""

    def __init__(self, uri: str, database: str, seed: int) -> None:
        self.written: Counter[str] = Counter()
        self._uri, self._database, self._seed = uri, database, seed
        self._is_over = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[Writers]:
        with MongoClient[Document](self._uri, tz_aware=True) as client:
            db = client[self._database]
            known = list(db["sessions"].find({}, {"session_id": 1, "user_id": 1}))
            with ThreadPoolExecutor(WRITERS) as threads:
                done = [threads.submit(self._write, db, known, n) for n in range(WRITERS)]
                try:
                    yield self
                finally:
                    self._is_over.set()
            for writer in done:
                self.written += writer.result()

    def _write(self, db: Db, known: list[Document], number: int) -> Counter[str]:
        rng = Random(self._seed * WRITERS + number)
        ingest = Ingest(db)
        written: Counter[str] = Counter()
        while not self._is_over.wait(rng.uniform(0.4, 1.2)):
            now = datetime.now(timezone.utc)
            if rng.random() < 0.1:
                session: Document = {"session_id": str(ObjectId()), "user_id": ObjectId()}
                ingest.ensure_browsing_session(
                    session["session_id"], session["user_id"], now, "client"
                )
                written["new"] += 1
            else:
                session = rng.choice(known)
            when = now if rng.random() < 0.7 else LONG_AGO + timedelta(seconds=rng.random() * 1e6)
            when = when.replace(microsecond=when.microsecond // 1000 * 1000)
            page = rng.choice(["/home", "/cart", f"/product/{rng.randrange(50)}", None])
            ingest.emit_event(
                session["user_id"], session["session_id"], when, page, "page_view", {}, "client"
            )
            written["events"] += 1
        return written


def raced_fix(command: Command, db: Db, uri: str, seed: int) -> Document:
    """Sixteen writers throughout one ``fix --apply``; asserts that nothing is lost."""
    figures = generate(db, 1_500, seed=seed)
    writers = Writers(uri, db.name, seed)
    # A short hold of each write gives the writers time between what a batch reads and writes.
    with (
        writers.at_work(),
        held(db, before_write(1), seconds=0.2),
    ):
        code, report = reported(
            command, "fix", "--apply", "--scope", "all", *SETTLE, "--batch-size", "25", on=db
        )
    raced = report["outcomes"]
    assert code in (0, 5)
    assert is_balanced(raced)
    assert raced["planned"] + report["totals"]["deferred"] >= figures.broken
    counted = {name: raced[name] for name in raced if name != "planned" and raced[name]}
    assert counted == outcomes(db, report["run_id"]) == last_run(db)["progress"]["counts"]
    assert db["events"].count_documents({}) == figures.events + writers.written["events"]
    assert db["sessions"].count_documents({}) == figures.sessions + writers.written["new"]

    time.sleep(2.5)  # beyond the settle window
    code, rest = reported(command, "fix", "--apply", "--scope", "all", *SETTLE, on=db)
    assert code == 0
    assert is_balanced(rest["outcomes"])
    assert rest["outcomes"]["applied"] == rest["outcomes"]["planned"]
    assert rest["totals"]["deferred"] == 0
    assert mismatched(db, in_order=False) == []
    assert db["events"].count_documents({}) == figures.events + writers.written["events"]
    return raced


def broken_session(db: Db, made: datetime) -> str:
    """An empty session of long ago with one event as old; only the event's _id is of `made`."""
    sid, user = str(made_at(LONG_AGO)), ObjectId()
    event = new_event(made_at(made), user, sid, LONG_AGO, "/late", "page_view", {}, "c")
    db["events"].insert_one(event)
    db["sessions"].insert_one(new_session(sid, user, LONG_AGO, "c"))
    return sid


def made_at(moment: datetime) -> ObjectId:
    """An ObjectId of that second, and of no other document."""
    return ObjectId(ObjectId.from_datetime(moment).binary[:4] + ObjectId().binary[4:])
