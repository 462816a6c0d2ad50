"""Ctrl-C of a whole command, Spark and all: nothing of its batch is written."""

from __future__ import annotations

import signal
import time

from demo.generate import generate
from tests.harness.commands import Command, started
from tests.harness.documents import SESSIONS, Db, differing, stored_bytes
from tests.harness.holds import Hold, Point
from tests.harness.runs import last_run, outcomes
from tests.oracle import recomputed_documents


def test_ctrl_c_of_the_whole_command_ends_it_and_nothing_of_its_batch_is_written(
    command: Command, db: Db, mongo_uri: str, hold: Hold
) -> None:
    broken = generate(db, 360).broken
    expected, before = recomputed_documents(db), stored_bytes(db)
    hold.at(db, Point("update", SESSIONS, skip=1))
    with started(mongo_uri, db.name, "fix", "--apply", "--batch-size", "40") as process:
        hold.wait()
        process.signal(signal.SIGINT)  # to the JVM and to Python, as a terminal does
        assert process.wait() == 130, process.text()
        deadline = time.monotonic() + 30
        while last_run(db).get("verdict") is None and time.monotonic() < deadline:
            time.sleep(0.2)
        run = last_run(db)
    hold.kill()
    assert outcomes(db) == {"applied": 40, "none": broken - 40}
    assert len(differing(db, before)) == 40
    assert (run["state"], run["verdict"]) == ("applying", 130)
    assert command("resume", run["_id"], on=db).code == 0
    assert differing(db, expected) == []
