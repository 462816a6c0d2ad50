"""The pace of a run: what a signal does to a batch that is under way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: a signal is for the main thread, and for nobody else.
TWICE = """
import os, signal, time
from session_repair.errors import Interrupted
from session_repair.mongo.pace import Pace
from session_repair.mongo.store import Store
from session_repair.settings import Settings

pace = Pace(Store(None, Settings(uri="")), time.monotonic(), print)
with pace.interruptible(at_once=True):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
    except Interrupted as error:
        print(error)
        os.kill(os.getpid(), signal.SIGINT)  # while the transaction is taken back
        print("taken back")
"""


def test_a_second_signal_breaks_off_nothing_that_the_first_one_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TWICE],
        env={"PYTHONPATH": str(ROOT / "jobs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "interrupted.",
        "taken back",
    ]
