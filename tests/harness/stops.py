"""A run in a process of its own, killed or paused at a point."""

from __future__ import annotations

import signal
from typing import Any

from tests.harness.commands import Process, started
from tests.harness.documents import JOURNAL, Db, differing
from tests.harness.guide import BROKEN
from tests.harness.holds import Hold, Point
from tests.harness.runs import outcomes, the_run

SMALL = ("--batch-size", "10")
SMALL_WRITES = ("--conf", "spark.mongodb.write.maxBatchSize=10")  # ten commands for the journal

# The commands of a run on the journal, in their order: the plan is read back by one find; a batch
# is three aggregates: look, merge, outcomes. At the end one find reads the journal again.
INSIDE_JOURNAL = Point("insert", JOURNAL, skip=5)
APPLIED_POINTS = {
    "between plan and apply": Point("aggregate", JOURNAL),
    "before the merge": Point("aggregate", JOURNAL, skip=1),
    "after the merge": Point("aggregate", JOURNAL, skip=2),
    "after the outcome": Point("aggregate", JOURNAL, skip=3),
    "before the merge of a later batch": Point("aggregate", JOURNAL, skip=7),
    "after the merge of a later batch": Point("aggregate", JOURNAL, skip=8),
}
BEFORE_SECOND_LOOK = Point("aggregate", JOURNAL, skip=3)


def assert_as_one_clean_run(db: Db, expected: dict[Any, bytes]) -> None:
    """The sessions are those of a clean run, and the only run counts each of them once."""
    assert differing(db, expected) == []
    run = the_run(db)
    assert (run["state"], run["verdict"], run["error"]) == ("done", 0, None)
    assert run["planned"] == BROKEN
    assert run["progress"]["counts"] == {"applied": BROKEN}
    assert run["report"]["outcomes"]["applied"] == BROKEN
    assert outcomes(db, run["_id"]) == {"applied": BROKEN}


def kill_when_held(hold: Hold, process: Process) -> None:
    hold.wait()
    process.kill()
    hold.kill()


def kill_at(point: Point, hold: Hold, uri: str, db: Db) -> None:
    """``apply`` of the planned run, in a process that is killed at the point."""
    hold.at(db, point)
    with started(uri, db.name, "apply", the_run(db)["_id"], *SMALL) as process:
        kill_when_held(hold, process)


def kill_a_fix_at(point: Point, hold: Hold, uri: str, db: Db) -> None:
    """``fix --apply``, whose JVM and Python are killed at the point."""
    hold.at(db, point)
    with started(uri, db.name, "fix", "--apply", *SMALL, spark_options=SMALL_WRITES) as process:
        kill_when_held(hold, process)


def pause_at(point: Point, hold: Hold, db: Db, process: Process) -> None:
    """SIGSTOP at the point; the command that was under way is carried out by the server."""
    hold.at(db, point, seconds=3)
    hold.wait()
    process.signal(signal.SIGSTOP)
    hold.let_go()


def wake(process: Process) -> tuple[int, str]:
    process.signal(signal.SIGCONT)
    return process.wait(), process.text()
