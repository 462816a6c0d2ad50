"""A replica set that loses its primary under a run, which is resumed if it ends."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from pymongo.errors import AutoReconnect

from demo.server import ReplicaSet
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, Db, differing
from tests.harness.holds import Point, held
from tests.harness.runs import last_run, outcomes

ENDED_EARLY = (1, 6, 75)  # unexpected, the lease lost, MongoDB away: each can be resumed


def ended(command: Command, db: Db, *words: str) -> int:
    """The exit code of the verb; a failure inside Spark is raised as itself, which is 1."""
    try:
        return command(*words, on=db).code
    except Exception as error:
        print(f"{words[0]} ended by {type(error).__name__}: {error}"[:2_000])
        return 1


def finish(command: Command, db: Db, code: int) -> int:
    """Resume the run until it is done; how often that took."""
    for resumed in range(4):
        run = last_run(db)
        if run["state"] == "done":
            assert code == 0
            return resumed
        assert code in ENDED_EARLY
        code = ended(command, db, "resume", run["_id"], "--break-lease")
    raise AssertionError(f"the run is still {last_run(db)['state']} after 4 times")


def with_primary_lost(
    command: Command,
    db: Db,
    three: ReplicaSet,
    how: str,
    words: tuple[str, ...],
    at: Point,
    seconds: float,
) -> int:
    """The exit code of a verb whose primary is lost at that point, and comes back later.

    ``killed`` is SIGKILL and a restart, ``frozen`` SIGSTOP and SIGCONT.
    """
    member = three.primary()
    with (
        ThreadPoolExecutor() as threads,
        member.client() as client,
        suppress(AutoReconnect),  # a killed member or frozen one may not take a fail point back
        held(client[db.name], at, seconds=2) as hold,
    ):
        run = threads.submit(ended, command, db, *words)
        hold.wait()
        if how == "killed":
            member.kill()
            time.sleep(seconds)
            member.restart()
        else:
            member.pause()
            time.sleep(seconds)
            member.resume()
    return run.result()


def assert_as_after_a_clean_run(db: Db, expected: dict[Any, bytes]) -> None:
    assert differing(db, expected) == []
    run = last_run(db)
    rows = db[JOURNAL].count_documents({"run_id": run["_id"]})
    assert outcomes(db) == {"applied": run["planned"]}
    assert (run["verdict"], rows) == (0, run["planned"])
    assert run["progress"]["counts"] == {"applied": run["planned"]}
