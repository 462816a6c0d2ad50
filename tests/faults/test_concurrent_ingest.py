"""Live ingest beside the repair: nothing it writes is lost, whatever the two do to one session."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest
from bson import ObjectId
from pymongo import MongoClient

from demo.generate import generate
from demo.ingest import Ingest, new_event, new_session
from tests.harness.commands import ROOT, Command, Ended, reported
from tests.harness.documents import JOURNAL, Db, Document
from tests.harness.holds import Point, held
from tests.harness.runs import is_balanced, is_begun, last_run, outcomes
from tests.oracle import mismatched

ON_JOURNAL = Point("aggregate", JOURNAL)  # looks, merges and outcomes of batches
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
    # A short hold of each step gives the writers time between the plan, the look and the change.
    with (
        writers.at_work(),
        held(db, ON_JOURNAL, seconds=0.2),
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


def test_sixteen_writers_during_a_fix_lose_no_event_and_no_page(
    command: Command, db: Db, mongo_uri: str
) -> None:
    raced = raced_fix(command, db, mongo_uri, seed=1)
    assert raced["applied"] > 0
    assert raced["skipped_changed"] > 0  # else nothing was raced


@pytest.mark.faults
def test_sixteen_writers_lose_nothing_in_twenty_runs(
    command: Command, db: Db, mongo_uri: str
) -> None:
    skipped = 0
    for seed in range(20):
        skipped += raced_fix(command, db, mongo_uri, seed)["skipped_changed"]
        for collection in db.list_collection_names():
            db.drop_collection(collection)
    assert skipped > 0


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


def test_a_late_event_with_an_old_timestamp_defers_its_session(command: Command, db: Db) -> None:
    now = datetime.now(timezone.utc)
    late = broken_session(db, now - timedelta(minutes=14))
    settled = broken_session(db, now - timedelta(minutes=16))
    code, report = reported(command, "fix", "--apply", on=db)
    assert (report["totals"]["planned"], report["totals"]["deferred"]) == (1, 1)
    assert code == 0
    assert mismatched(db) == [late]
    assert [row["plan"]["session_id"] for row in db[JOURNAL].find()] == [settled]


def test_an_event_between_the_look_and_the_change_leaves_the_session_to_ingest(
    command: Command, db: Db
) -> None:
    raced = broken_session(db, LONG_AGO)
    other = broken_session(db, LONG_AGO)
    assert command("fix", "--plan", on=db).code == 3
    run_id = last_run(db)["_id"]
    user = db["sessions"].find_one({"session_id": raced})["user_id"]  # type: ignore[index]
    with (
        ThreadPoolExecutor() as threads,
        held(db, ON_JOURNAL, seconds=2) as hold,
    ):
        applied: Future[Ended] = threads.submit(command, "apply", run_id, on=db)
        hold.until(lambda: is_begun(db))
        now = datetime.now(timezone.utc).replace(microsecond=0)
        Ingest(db).emit_event(user, raced, now, "/new", "page_view", {}, "c")
        hold.let_go()
        assert applied.result().code == 5
    assert outcomes(db) == {"applied": 1, "changed_meanwhile": 1}
    assert mismatched(db) == [raced]
    session = db["sessions"].find_one({"session_id": raced})
    assert session is not None
    assert (session["event_count"], session["pages"]) == (1, ["/new"])
    assert db["sessions"].find_one({"session_id": other})["event_count"] == 1  # type: ignore[index]


# Answers every question for the wall clock with another hour; durations are left alone.
SHIFTED_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static time_t shift(void) { return atol(getenv("CLOCK_SHIFT_SECONDS")); }
int clock_gettime(clockid_t id, struct timespec *at) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, at);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec += shift();
  return code;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
  int code = real(at, zone);
  at->tv_sec += shift();
  return code;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""


@pytest.fixture
def shifted_clock(tmp_path: Path) -> Path:
    """A library that the loader puts before libc's clock. Needs a C compiler."""
    compiler = shutil.which("cc")
    assert compiler is not None, "this test needs a C compiler named cc"
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SHIFTED_CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.faults
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_driver_clock_one_hour_off_changes_nothing(
    mongo_uri: str, db: Db, shifted_clock: Path, tmp_path: Path, hours: int
) -> None:
    now = datetime.now(timezone.utc)
    late = [broken_session(db, now - timedelta(minutes=14)) for _ in range(3)]
    for _ in range(5):
        broken_session(db, now - timedelta(minutes=16))
    environment = {
        **os.environ,
        "MONGODB_URI": mongo_uri,
        "LD_PRELOAD": str(shifted_clock),
        "CLOCK_SHIFT_SECONDS": str(hours * 3600),
    }
    clock = subprocess.run(["date", "+%s"], env=environment, capture_output=True, check=True)
    assert abs(int(clock.stdout) - time.time() - hours * 3600) < 60  # the fault is there
    done = subprocess.run(
        [ROOT / "spark-submit.sh", "fix", "--apply", "--database", db.name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert outcomes(db) == {"applied": 5}
    assert sorted(mismatched(db)) == sorted(late)
    run = last_run(db)
    assert abs(run["started_at"] - now) < timedelta(minutes=5)
