"""What befalls a batch and is the fault of none of its sessions: it ends the run, at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from tests.harness.commands import Command, started
from tests.harness.documents import (
    JOURNAL,
    RUNS,
    SESSIONS,
    Db,
    Document,
    differing,
    put_in_place,
    stored_bytes,
)
from tests.harness.guide import BROKEN
from tests.harness.holds import (
    Hook,
    before_commit,
    endless_transactions,
    failing,
)
from tests.harness.runs import outcomes, plan_of, planned_keys, run_documents, the_run
from tests.harness.stops import SMALL
from tests.oracle import recomputed_documents

Watch = Callable[[Hook], None]


def before_batch(number: int, act: Callable[[], object]) -> Hook:
    """Does that once: when the first command of a batch is sent, whose rows have been read."""
    begun = 0

    def look(_: str, sent: Mapping[str, Any]) -> None:
        nonlocal begun
        if sent.get("startTransaction"):
            begun += 1
            if begun == number:
                act()

    return look


# The journal


LOSSES: dict[str, Callable[[Db, str], object]] = {
    "a row expired": lambda db, row: db[JOURNAL].delete_one({"_id": row}),
    "dropped": lambda db, _: db[JOURNAL].drop(),
}


@pytest.mark.parametrize("lost", LOSSES.values(), ids=LOSSES)
def test_no_session_is_written_whose_row_of_the_journal_is_lost(
    planned: Db, command: Command, before_command: Watch, lost: Callable[[Db, str], object]
) -> None:
    before, run = stored_bytes(planned), the_run(planned)["_id"]
    row = planned[JOURNAL].find_one(sort=[("_id", 1)], skip=17)
    assert row is not None
    before_command(before_batch(2, lambda: lost(planned, row["_id"])))
    ended = command("apply", run, *SMALL, on=planned)
    told = f"apply: rows of the journal of run {run} are lost or have expired: nothing is written "
    assert (ended.code, told in ended.told) == (1, True), ended.told
    assert len(differing(planned, before)) == 10
    assert the_run(planned)["progress"]["counts"] == {"applied": 10}


# What is open on the server


def open_transactions(db: Db) -> int:
    of_all = {"$currentOp": {"allUsers": True, "idleSessions": True}}
    is_open: Document = {"$match": {"transaction.parameters.autocommit": False}}
    return len(list(db.client.admin.aggregate([of_all, is_open])))


def test_a_commit_that_never_comes_keeps_the_lease_from_nobody(
    planned: Db, mongo_uri: str, command: Command
) -> None:
    """The server ends nothing by itself here: who waited for that would wait for ever."""
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    with (
        endless_transactions(planned),
        failing(planned, before_commit(2), {"skip": 1}, closeConnection=True) as cut,
        started(mongo_uri, planned.name, "apply", run, *SMALL) as process,
    ):
        cut(4)
        process.signal(signal.SIGTERM)
        assert process.wait() == 130, process.text()
        assert open_transactions(planned) == 0
        assert (the_run(planned)["state"], the_run(planned)["verdict"]) == ("applying", 130)
        assert command("resume", run, on=planned).code == 0  # the lease was given back
    assert differing(planned, expected) == []


def test_what_a_refused_commit_left_open_is_ended_before_anything_waits_for_it(
    planned: Db, command: Command, before_command: Watch
) -> None:
    run, is_open, begun = the_run(planned)["_id"], [], [0]

    def look(_: str, sent: Mapping[str, Any]) -> None:
        begun[0] += "commitTransaction" in sent
        if begun[0] > 1 and sent.get("update") == RUNS and "autocommit" not in sent:
            is_open.append(open_transactions(planned))

    before_command(look)
    with failing(planned, before_commit(2), {"skip": 1}, errorCode=13):
        ended = command("apply", run, *SMALL, on=planned)
    assert (ended.code, "MongoDB denies a right" in ended.told) == (2, True), ended.told
    assert is_open == [0, 0, 0]  # the lease is looked at, the error told, the lease given back
    assert outcomes(planned, run) == {"applied": 10, "none": BROKEN - 10}


# Errors of all


@contextmanager
def as_a_view(db: Db) -> Iterator[None]:
    """The sessions can be read under their name, and not written."""
    db[SESSIONS].rename("moved")
    db.command("create", SESSIONS, viewOn="moved", pipeline=[])
    yield
    db[SESSIONS].drop()
    db["system.views"].drop()
    db["moved"].rename(SESSIONS)


@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_an_error_that_every_write_of_sessions_meets_is_that_of_the_run(
    planned: Db, command: Command, before_command: Watch, verb: str
) -> None:
    run, words = the_run(planned)["_id"], ("--apply",) if verb == "undo" else ()
    if verb == "undo":
        assert command("apply", run, on=planned).code == 0
    before, view = stored_bytes(planned), as_a_view(planned)
    before_command(before_batch(2, view.__enter__))
    ended = command(verb, run, *words, *SMALL, on=planned)
    before_command(lambda *_: None)
    view.__exit__(None, None, None)
    assert (ended.code, "is a view, not a collection" in ended.told) == (1, True), ended.told
    part = "undo" if verb == "undo" else "progress"
    assert sum(the_run(planned)[part]["counts"].values()) == 10
    assert planned[JOURNAL].count_documents({"error": {"$exists": True}}) == 0
    assert len(differing(planned, before)) == 10
    go_on = ("undo", run, "--apply") if verb == "undo" else ("resume", run)
    assert command(*go_on, on=planned).code == 0
    assert len(differing(planned, before)) == BROKEN


def test_a_lock_of_all_sessions_is_waited_for_and_fails_none(
    planned: Db, command: Command, before_command: Watch
) -> None:
    """Such as the server takes to validate them: here for longer than one row may take."""
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    lock = {"lockTarget": f"{planned.name}.{SESSIONS}", "lock": "w", "millis": 8_000}
    with ThreadPoolExecutor() as threads:
        lock_all = partial(planned.client.admin.command, {"sleep": 1, **lock})

        taken: list[Any] = []
        before_command(before_batch(2, lambda: taken.append(threads.submit(lock_all))))
        ended = command("apply", run, *SMALL, on=planned)
        assert taken.pop().result()["ok"] == 1
    assert ended.code == 0, ended.told
    assert outcomes(planned, run) == {"applied": BROKEN}
    assert differing(planned, expected) == []


# Two runs that overlap in time


def test_of_two_runs_that_overlap_the_one_that_observed_what_the_other_left_is_the_later(
    planned: Db, command: Command, before_command: Watch, tmp_path: Path
) -> None:
    before, first, pause = stored_bytes(planned), the_run(planned)["_id"], tmp_path / "pause"
    key, again = planned_keys(planned)[3:5]
    before_command(before_batch(1, pause.touch))
    stopped = command("apply", first, *SMALL, "--pause-file", str(pause), on=planned)
    assert (stopped.code, the_run(planned)["progress"]["counts"]) == (5, {"applied": 10})
    # One more event of the one; the other is emptied, as it was when the first run planned it.
    event = planned["events"].find_one({"session_id": plan_of(planned, key)["session_id"]})
    assert event is not None
    late = {"_id": ObjectId.from_datetime(event["_id"].generation_time), "page": "/late"}
    planned["events"].insert_one({**event, **late})
    put_in_place(planned, again, RawBSONDocument(before[again]))
    assert command("fix", "--apply", "--scope", "all", on=planned).code == 0
    assert command("resume", first, on=planned).code == 0
    second = run_documents(planned)[1]
    assert planned["events"].delete_one({"_id": late["_id"]}).deleted_count == 1
    # Of what was emptied neither says who was later, so neither puts it back.
    ended = command("undo", second["_id"], "--apply", on=planned)
    counts = run_documents(planned)[1]["undo"]["counts"]
    assert (ended.code, counts.pop("written by a later run")) == (5, 1), ended.told
    assert counts == {"restored": second["progress"]["counts"]["applied"] - 1}
    assert command("undo", first, "--apply", on=planned).code == 5
    counts = run_documents(planned)[0]["undo"]["counts"]
    assert counts == {"restored": 9, "written by a later run": 1}
    assert differing(planned, before) == [again]
