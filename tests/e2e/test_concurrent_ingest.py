"""Live ingest beside the repair: nothing it writes is lost, whatever the two do to one session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

from demo.ingest import Ingest
from tests.harness.commands import Command, reported
from tests.harness.documents import JOURNAL, Db, Document
from tests.harness.holds import Point, before_commit, before_read, before_write, held_here
from tests.harness.ingest import LONG_AGO, broken_session, raced_fix
from tests.harness.runs import last_run, outcomes
from tests.oracle import mismatched


@pytest.mark.needs("many_runs")
def test_sixteen_writers_during_a_fix_lose_no_event_and_no_page(
    command: Command, db: Db, mongo_uri: str
) -> None:
    raced = raced_fix(command, db, mongo_uri, seed=1)
    assert raced["applied"] > 0
    assert raced["skipped_changed"] > 0  # else nothing was raced


def test_a_late_event_with_an_old_timestamp_defers_its_session(command: Command, db: Db) -> None:
    now = datetime.now(timezone.utc)
    late = broken_session(db, now - timedelta(minutes=14))
    settled = broken_session(db, now - timedelta(minutes=16))
    code, report = reported(command, "fix", "--apply", on=db)
    assert (report["totals"]["planned"], report["totals"]["deferred"]) == (1, 1)
    assert code == 0
    assert mismatched(db) == [late]
    assert [row["plan"]["session_id"] for row in db[JOURNAL].find()] == [settled]


@contextmanager
def raced(command: Command, db: Db, at: Point) -> Iterator[tuple[str, str]]:
    """Two broken sessions; inside, their repair is held at the point. It ends as it ends."""
    one, other = broken_session(db, LONG_AGO), broken_session(db, LONG_AGO)
    assert command("fix", "--plan", on=db).code == 3
    with (
        ThreadPoolExecutor() as threads,
        held_here(db, at) as hold,
    ):
        applied = threads.submit(command, "apply", last_run(db)["_id"], on=db)
        hold.wait()
        yield one, other
        hold.let_go()
        applied.result()


def visit(db: Db, session_id: str) -> None:
    """An event of now of the session, as the ingest writes and counts it."""
    user = session_of(db, session_id)["user_id"]
    now = datetime.now(timezone.utc).replace(microsecond=0)
    Ingest(db).emit_event(user, session_id, now, "/new", "page_view", {}, "c")


def session_of(db: Db, session_id: str) -> Document:
    found = db["sessions"].find_one({"session_id": session_id})
    assert found is not None
    return found


@pytest.mark.parametrize("at", [before_read(1), before_write(1)], ids=["read", "write"])
def test_an_event_between_the_plan_and_the_write_leaves_the_session_to_ingest(
    command: Command, db: Db, at: Point
) -> None:
    with raced(command, db, at) as (one, other):
        visit(db, one)
    assert outcomes(db) == {"applied": 1, "skipped_changed": 1}
    assert (last_run(db)["state"], last_run(db)["verdict"]) == ("done", 5)
    assert mismatched(db) == [one]
    assert (session_of(db, one)["event_count"], session_of(db, one)["pages"]) == (1, ["/new"])
    assert session_of(db, other)["event_count"] == 1


def test_an_event_between_the_write_and_its_commit_waits_and_is_counted_upon_it(
    command: Command, db: Db
) -> None:
    with (
        ThreadPoolExecutor() as threads,
        raced(command, db, before_commit(1)) as (one, other),
    ):
        ingested = threads.submit(visit, db, one)
        with pytest.raises(NotYet):
            ingested.result(0.5)  # its session is not the ingest's to write before the commit
        assert session_of(db, one)["event_count"] == 0
    ingested.result()
    assert outcomes(db) == {"applied": 2}
    assert last_run(db)["verdict"] == 0
    assert mismatched(db) == []
    assert (session_of(db, one)["event_count"], session_of(db, one)["pages"]) == (
        2,
        ["/late", "/new"],
    )
    assert session_of(db, other)["event_count"] == 1
