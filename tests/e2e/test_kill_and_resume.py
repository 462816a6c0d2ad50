"""kill -9 of the driver at every point of a run: resumed, it ends as one clean run."""

from __future__ import annotations

import pytest

from tests.harness.commands import Command
from tests.harness.documents import (
    JOURNAL,
    RUNS,
    SESSIONS,
    Db,
    differing,
    hash_of,
    stored_bytes,
)
from tests.harness.guide import BROKEN
from tests.harness.holds import (
    Hold,
    Point,
    before_commit,
    before_lease,
    before_move,
    before_read,
    before_rows,
    before_write,
)
from tests.harness.runs import (
    heal,
    lease_of,
    let_the_lease_expire,
    outcomes,
    planned_keys,
    the_run,
)
from tests.harness.stops import (
    APPLIED_POINTS,
    INSIDE_JOURNAL,
    SMALL,
    assert_as_one_clean_run,
    kill_a_fix_at,
    kill_at,
)
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("many_runs")

BATCHES = 9
BEFORE_REPORT = before_read(BATCHES + 1)  # the first that asks what is there now
BEFORE_END = before_lease(BATCHES + 1)
# Around and inside the second batch, of whose ten sessions some get a mark.
STEPS = {
    "before its rows": before_rows(2),
    "before its lease": before_lease(2),
    "before its read": before_read(2),
    "before its write": before_write(2),
    "before its marks": Point("update", JOURNAL),
    "before its last mark": Point("update", JOURNAL, skip=2),
    "before its move": before_move(2),
    "before its commit": before_commit(2),
    "after its commit": before_rows(3),
}


@pytest.mark.parametrize("point", APPLIED_POINTS.values(), ids=APPLIED_POINTS)
def test_a_run_killed_while_it_applies_ends_as_one_clean_run(
    planned: Db, mongo_uri: str, hold: Hold, command: Command, point: Point
) -> None:
    before, expected = stored_bytes(planned), recomputed_documents(planned)
    kill_at(point, hold, mongo_uri, planned)
    run = the_run(planned)
    assert run["state"] in ("planned", "applying")
    let_the_lease_expire(planned)
    ended = command("resume", run["_id"], "--batch-size", "7", on=planned)
    assert ended.code == 0, ended.told
    assert_as_one_clean_run(planned, expected)
    # What was kept is from before it all.
    ended = command("undo", run["_id"], "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []


# Whether the server carries out what it holds when its sender dies, matters to what writes.
KILLED = {step: (point, False) for step, point in STEPS.items()} | {
    f"{step}, carried out": (STEPS[step], True)
    for step in ("before its write", "before its move", "before its commit")
}


@pytest.mark.parametrize(("point", "is_carried_out"), KILLED.values(), ids=KILLED)
def test_wherever_a_batch_is_killed_its_sessions_and_its_progress_are_never_apart(
    planned: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    is_carried_out: bool,
) -> None:
    sessions, run = planned[SESSIONS], the_run(planned)["_id"]
    keys = planned_keys(planned)
    changed, gone, healed = keys[11], keys[12], keys[14]
    sessions.update_one({"_id": changed}, {"$inc": {"event_count": 1}})
    sessions.delete_one({"_id": gone})
    heal(planned, healed)
    before, rows = stored_bytes(planned), stored_bytes(planned, JOURNAL)
    kill_at(point, hold, mongo_uri, planned, is_carried_out=is_carried_out)

    is_written = point == STEPS["after its commit"] or (
        point == STEPS["before its commit"] and is_carried_out
    )
    marked = {"skipped_changed": 1, "skipped_gone": 1, "already_right": 1}
    wanted = {"applied": 17, **marked} if is_written else {"applied": 10}
    progress = the_run(planned)["progress"]
    assert progress["counts"] == wanted
    written = [it for it in keys[:20] if it not in (changed, gone, healed)]
    assert set(differing(planned, before)) == set(written[: wanted["applied"]])
    marks = [key for key, it in stored_bytes(planned, JOURNAL).items() if it != rows[key]]
    assert len(marks) == (3 if is_written else 0)
    if is_written:
        assert outcomes(planned, run) == {**wanted, "none": BROKEN - 20}

    ended = command("resume", run, "--batch-size", "7", "--break-lease", on=planned)
    assert ended.code == 5, ended.told
    whole = {"applied": BROKEN - 3, **marked}
    assert the_run(planned)["progress"]["counts"] == outcomes(planned, run) == whole
    assert set(differing(planned, before)) == set(keys) - {changed, gone, healed}
    ended = command("undo", run, "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert differing(planned, before) == []


@pytest.mark.parametrize("point", [BEFORE_REPORT, BEFORE_END], ids=["report", "end"])
def test_a_run_killed_before_its_end_is_written_ends_as_one_clean_run(
    planned: Db, mongo_uri: str, hold: Hold, command: Command, point: Point
) -> None:
    expected = recomputed_documents(planned)
    kill_at(point, hold, mongo_uri, planned)
    assert differing(planned, expected) == []
    run = the_run(planned)
    assert run["progress"]["counts"] == {"applied": BROKEN}
    assert (run["state"], "ended_at" in run) == ("applying", False)
    ended = command("resume", run["_id"], "--break-lease", on=planned)
    assert ended.code == 0, ended.told
    assert_as_one_clean_run(planned, expected)


def test_a_dead_run_keeps_its_lease_and_is_named(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    before, point = stored_bytes(planned), APPLIED_POINTS["before the commit"]
    kill_at(point, hold, mongo_uri, planned)
    run, lease = the_run(planned), lease_of(planned)
    ended = command("resume", run["_id"], on=planned)
    assert ended.code == 6
    assert f"run {run['_id']} holds the lease until " in ended.told
    assert "--break-lease takes it over" in ended.told
    assert differing(planned, before) == []
    assert (the_run(planned), lease_of(planned)) == (run, lease)


def test_a_new_fix_takes_over_what_a_killed_run_left(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    kill_at(APPLIED_POINTS["after the commit of a later batch"], hold, mongo_uri, planned)
    left = len(differing(planned, expected))
    assert left == BROKEN - 30
    let_the_lease_expire(planned)
    ended = command("fix", "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert f"Fixed {left} sessions" in ended.told
    assert differing(planned, expected) == []
    ended = command("resume", run, on=planned)  # the old run finds the rest of its plan done
    assert ended.code == 0, ended.told
    old = planned[RUNS].find_one({"_id": run})
    assert old is not None
    assert old["progress"]["counts"] == {"applied": 30, "already_right": left}
    assert outcomes(planned, run) == {"applied": 30, "already_right": left}
    assert differing(planned, expected) == []


@pytest.mark.needs("spark_process")
def test_a_run_killed_half_way_through_its_journal_is_never_applied_but_resumed(
    shop: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, before = recomputed_documents(shop), hash_of(shop)
    kill_a_fix_at(INSIDE_JOURNAL, hold, mongo_uri, shop)
    run = the_run(shop)["_id"]
    assert 0 < shop[JOURNAL].count_documents({}) < BROKEN
    ended = command("apply", run, "--break-lease", on=shop)
    assert (ended.code, f"run {run} is planning, not planned" in ended.told) == (2, True)
    assert hash_of(shop) == before
    ended = command("resume", run, *SMALL, "--break-lease", on=shop)
    assert ended.code == 0, ended.told
    assert_as_one_clean_run(shop, expected)
