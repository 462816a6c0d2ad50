"""kill -9 of a whole fix, and at random times: resumed, it ends as one clean run."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest

from tests.harness.commands import Command, started
from tests.harness.documents import JOURNAL, RAW, RUNS, SESSIONS, Db, differing, stored_bytes
from tests.harness.holds import Hold, Point
from tests.harness.runs import the_run
from tests.harness.stops import (
    APPLIED_POINTS,
    INSIDE_JOURNAL,
    SMALL,
    assert_as_one_clean_run,
    kill_a_fix_at,
)
from tests.oracle import recomputed_documents

SMALL_STEPS = ("--batch-size", "2", "--break-lease")
PLANNING_POINTS = {
    "before the journal": Point("createIndexes", JOURNAL),
    "half-way through the journal": INSIDE_JOURNAL,
    "before the plan is sealed": Point("find", JOURNAL),
}


@pytest.mark.parametrize("then", ["resume", "fix"])
@pytest.mark.parametrize(
    "point",
    [*PLANNING_POINTS.values(), *APPLIED_POINTS.values()],
    ids=[*PLANNING_POINTS, *APPLIED_POINTS],
)
def test_a_fix_killed_at_any_point_ends_as_one_clean_run(
    shop: Db,
    mongo_uri: str,
    hold: Hold,
    command: Command,
    point: Point,
    then: str,
) -> None:
    expected = recomputed_documents(shop)
    kill_a_fix_at(point, hold, mongo_uri, shop)
    words = [the_run(shop)["_id"]] if then == "resume" else ["--apply"]
    ended = command(then, *words, *SMALL, "--break-lease", on=shop)
    assert ended.code == 0, ended.told
    assert differing(shop, expected) == []
    if then == "resume":
        assert_as_one_clean_run(shop, expected)


def written_and_counted(db: Db, before: dict[Any, bytes]) -> tuple[int, int]:
    """How many sessions differ, and how many the only run counts, at one and the same moment."""
    raw: Any = db.get_collection(SESSIONS, codec_options=RAW)
    with db.client.start_session(snapshot=True) as moment:
        run = db[RUNS].find_one({"verb": {"$exists": True}}, session=moment)
        differ = [it for it in raw.find(session=moment) if it.raw != before[it["_id"]]]
    assert run is not None
    return len(differ), sum(run["progress"]["counts"].values())


@pytest.mark.parametrize("repetition", range(20))
def test_a_run_killed_at_random_times_ends_as_one_clean_run(
    planned: Db, mongo_uri: str, command: Command, repetition: int
) -> None:
    before, expected = stored_bytes(planned), recomputed_documents(planned)
    run, pause = the_run(planned)["_id"], Random(repetition)
    for verb in ("apply", "resume"):  # and again while it resumes
        with started(mongo_uri, planned.name, verb, run, *SMALL_STEPS) as process:
            while "Run " not in process.text() and process.popen.poll() is None:
                time.sleep(0.01)
            time.sleep(pause.uniform(0, 0.5))
            process.kill()
        differ, counted = written_and_counted(planned, before)
        print("COUNTED", verb, counted)
        assert differ == counted
    ended = command("resume", run, *SMALL, "--break-lease", on=planned)
    assert ended.code == 0 or f"run {run} is done" in ended.told, ended.told
    assert_as_one_clean_run(planned, expected)
