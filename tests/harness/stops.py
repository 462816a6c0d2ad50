"""A run in a process of its own, killed or paused at a point."""

from __future__ import annotations

import signal
from typing import Any

from tests.harness.commands import Process, started
from tests.harness.documents import JOURNAL, Db, differing
from tests.harness.guide import BROKEN
from tests.harness.holds import (
    NEVER_ENDS,
    Hold,
    Point,
    before_commit,
    before_move,
    before_rows,
    before_write,
)
from tests.harness.runs import outcomes, the_run

SMALL = ("--batch-size", "10")
SMALL_WRITES = ("--conf", "spark.mongodb.write.maxBatchSize=10")  # ten commands for the journal

INSIDE_JOURNAL = Point("insert", JOURNAL, skip=5)
# Of a run that applies, and of a fix; a batch is one transaction.
APPLIED_POINTS = {
    "between plan and apply": before_rows(1),
    "before the write": before_write(1),
    "before the commit": before_commit(1),
    "after the commit": before_rows(2),
    "before the write of a later batch": before_write(3),
    "before the commit of a later batch": before_commit(3),
    "after the commit of a later batch": before_rows(4),
}
BETWEEN_BATCHES = before_rows(2)  # the first of ten rows has ended, nothing is open
BEFORE_SECOND_COMMIT = before_move(2)  # held and gone on, the process stopped: all but the commit


def assert_as_one_clean_run(db: Db, expected: dict[Any, bytes]) -> None:
    """The sessions are those of a clean run, and the only run counts each of them once."""
    assert differing(db, expected) == []
    run = the_run(db)
    assert (run["state"], run["verdict"], run["error"]) == ("done", 0, None)
    assert run["planned"] == BROKEN
    assert run["progress"]["counts"] == {"applied": BROKEN}
    assert run["report"]["outcomes"]["applied"] == BROKEN
    assert outcomes(db, run["_id"]) == {"applied": BROKEN}


def kill_when_held(hold: Hold, process: Process, is_carried_out: bool = False) -> None:
    """SIGKILL while a command is held, which the server then carries out or does not."""
    hold.wait()
    process.kill()
    if is_carried_out:
        hold.let_go()
    else:
        hold.kill()


def kill_at(
    point: Point, hold: Hold, uri: str, db: Db, *words: str, is_carried_out: bool = False
) -> None:
    """A verb, ``apply`` of the only run if none is named, in a process killed at the point."""
    hold.at(db, point, seconds=2 if is_carried_out else NEVER_ENDS)
    with started(uri, db.name, *(words or ("apply", the_run(db)["_id"], *SMALL))) as process:
        kill_when_held(hold, process, is_carried_out)


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
