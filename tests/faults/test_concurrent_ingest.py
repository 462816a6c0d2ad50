"""Live ingest beside twenty repairs; a driver whose clock is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.harness.commands import ROOT, Command
from tests.harness.documents import Db
from tests.harness.ingest import broken_session, raced_fix
from tests.harness.runs import last_run, outcomes
from tests.oracle import mismatched


def test_sixteen_writers_lose_nothing_in_twenty_runs(
    command: Command, db: Db, mongo_uri: str
) -> None:
    skipped = 0
    for seed in range(20):
        skipped += raced_fix(command, db, mongo_uri, seed)["skipped_changed"]
        for collection in db.list_collection_names():
            db.drop_collection(collection)
    assert skipped > 0


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
