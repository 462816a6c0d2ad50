"""Ctrl-C of a whole command, Spark and all: the batch ends, and then the run."""

from __future__ import annotations

import signal
import time

from demo.generate import generate
from tests.harness.commands import Command, started
from tests.harness.documents import Db, differing
from tests.harness.holds import ON_JOURNAL, held
from tests.harness.runs import is_begun, last_run, outcomes
from tests.oracle import recomputed_documents


def test_ctrl_c_of_the_whole_command_lets_the_batch_end(
    command: Command, db: Db, mongo_uri: str
) -> None:
    broken = generate(db, 360).broken
    expected = recomputed_documents(db)
    with (
        held(db, ON_JOURNAL, seconds=2) as hold,
        started(mongo_uri, db.name, "fix", "--apply", "--batch-size", "40") as process,
    ):
        hold.until(lambda: is_begun(db))
        process.signal(signal.SIGINT)  # to the JVM and to Python, as a terminal does
        hold.let_go()
        assert process.wait() == 130, process.text()
        deadline = time.monotonic() + 30
        while last_run(db).get("verdict") is None and time.monotonic() < deadline:
            time.sleep(0.2)
        run = last_run(db)
    assert outcomes(db) == {"applied": 40, "none": broken - 40}
    assert (run["state"], run["verdict"]) == ("applying", 130)
    assert command("resume", run["_id"], on=db).code == 0
    assert differing(db, expected) == []
