"""kill -9 of the driver at every point of a run: resumed, it ends as one clean run."""

from __future__ import annotations

import pytest

from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, differing, hash_of, stored_bytes
from tests.harness.guide import BROKEN
from tests.harness.holds import Hold, Point
from tests.harness.runs import let_the_lease_expire, outcomes, the_run
from tests.harness.stops import (
    APPLIED_POINTS,
    INSIDE_JOURNAL,
    SMALL,
    assert_as_one_clean_run,
    kill_a_fix_at,
    kill_at,
)
from tests.oracle import recomputed_documents

BATCHES = 9
BEFORE_REPORT = Point("aggregate", SESSIONS)  # the first that asks what was left
# On the collection of runs: taking over, fencing off and the begin of the first batch; with each
# batch a renewal before the merge, one after it, and its end.
BEFORE_END = Point("update", RUNS, skip=3 + 3 * BATCHES)


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
    kill_at(APPLIED_POINTS["before the merge"], hold, mongo_uri, planned)
    run, before = the_run(planned), hash_of(planned)
    ended = command("resume", run["_id"], on=planned)
    assert ended.code == 6
    assert f"run {run['_id']} holds the lease until " in ended.told
    assert "--break-lease takes it over" in ended.told
    assert hash_of(planned) == before
    assert the_run(planned) == run


def test_a_new_fix_takes_over_what_a_killed_run_left(
    planned: Db, mongo_uri: str, hold: Hold, command: Command
) -> None:
    expected, run = recomputed_documents(planned), the_run(planned)["_id"]
    kill_at(APPLIED_POINTS["after the merge of a later batch"], hold, mongo_uri, planned)
    left = len(differing(planned, expected))
    assert left == BROKEN - 30  # three batches were merged, two of them recorded
    let_the_lease_expire(planned)
    ended = command("fix", "--apply", on=planned)
    assert ended.code == 0, ended.told
    assert f"Fixed {left} sessions" in ended.told
    assert differing(planned, expected) == []
    ended = command("resume", run, on=planned)  # the old run finds the rest of its plan done
    assert ended.code == 5, ended.told
    old = planned[RUNS].find_one({"_id": run})
    assert old is not None
    assert old["progress"]["counts"] == {"applied": 30, "skipped_changed": left}
    assert outcomes(planned, run) == {"applied": 30, "skipped_changed": left}
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
