"""The tiers of the tests: a fast one starts nothing slow, the long ones stand in their folder."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from tests.harness.commands import ROOT, run_into, spark_submit, started
from tests.harness.documents import Db
from tests.harness.longest import LONGEST, longest_first

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


def test_the_files_that_take_longest_exist_and_begin_first() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)

    def item(name: str) -> pytest.Item:
        made = SimpleNamespace(path=ROOT / name)
        return cast(pytest.Item, made)

    items = [item(name) for name in ("tests/unit/test_page.py", *reversed(LONGEST), "tests/a.py")]
    longest_first(items)
    order = [str(it.path.relative_to(ROOT)) for it in items]
    assert order == [*LONGEST, "tests/unit/test_page.py", "tests/a.py"]
