"""Live ingest beside the repair: nothing it writes is lost, whatever the two do to one session."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from demo.ingest import Ingest
from tests.harness.commands import Command, Ended, reported
from tests.harness.documents import JOURNAL, Db
from tests.harness.holds import before_read, held
from tests.harness.ingest import LONG_AGO, broken_session, raced_fix
from tests.harness.runs import last_run, outcomes
from tests.oracle import mismatched


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


def test_an_event_between_the_plan_and_the_batch_leaves_the_session_to_ingest(
    command: Command, db: Db
) -> None:
    raced = broken_session(db, LONG_AGO)
    other = broken_session(db, LONG_AGO)
    assert command("fix", "--plan", on=db).code == 3
    run_id = last_run(db)["_id"]
    user = db["sessions"].find_one({"session_id": raced})["user_id"]  # type: ignore[index]
    with (
        ThreadPoolExecutor() as threads,
        held(db, before_read(1), seconds=2) as hold,
    ):
        applied: Future[Ended] = threads.submit(command, "apply", run_id, on=db)
        hold.wait()
        now = datetime.now(timezone.utc).replace(microsecond=0)
        Ingest(db).emit_event(user, raced, now, "/new", "page_view", {}, "c")
        hold.let_go()
        assert applied.result().code == 5
    assert outcomes(db) == {"applied": 1, "skipped_changed": 1}
    assert mismatched(db) == [raced]
    session = db["sessions"].find_one({"session_id": raced})
    assert session is not None
    assert (session["event_count"], session["pages"]) == (1, ["/new"])
    assert db["sessions"].find_one({"session_id": other})["event_count"] == 1  # type: ignore[index]
