"""The tiers of the tests: a fast one starts nothing slow, the long ones stand in their folder."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.commands import ROOT, run_into, spark_submit, started
from tests.harness.documents import Db

NOWHERE = "mongodb://127.0.0.1:1/"


def start(db: Db) -> None:
    with started(NOWHERE, db.name, "resume", "r1"):
        pass


@pytest.mark.parametrize(
    "way",
    [
        lambda db: spark_submit("--master", "local[1]", "verify", uri=NOWHERE),
        lambda db: spark_submit("demo", "--sessions", "1"),
        lambda db: run_into("> /dev/null", NOWHERE, db, "fix"),
        start,
    ],
    ids=["to its end", "the demo", "in a shell", "in the background"],
)
def test_a_fast_test_cannot_start_a_process_of_spark(db: Db, way: Callable[[Db], None]) -> None:
    with pytest.raises(pytest.fail.Exception, match=r'mark: @pytest.mark.needs\("spark_process"\)'):
        way(db)


def test_the_long_tests_are_those_of_their_folder() -> None:
    by_hand = "mark." + "faults"
    files = [path for path in (ROOT / "tests").rglob("*.py") if by_hand in path.read_text("utf-8")]
    assert files == []
