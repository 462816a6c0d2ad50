"""Three real members: the primary killed or frozen at many points of a run."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from demo.generate import generate
from demo.server import ReplicaSet
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, SESSIONS, Db
from tests.harness.holds import (
    Point,
    before_commit,
    before_lease,
    before_move,
    before_read,
    before_rows,
    before_write,
)
from tests.harness.members import assert_as_after_a_clean_run, finish, with_primary_lost
from tests.harness.runs import last_run
from tests.oracle import recomputed_documents


@pytest.fixture
def command(three: ReplicaSet, command: Command) -> Command:
    """As everywhere, but on the three members."""
    return partial(command, uri=three.uri)


IN_A_BATCH = (before_rows, before_lease, before_read, before_write, before_move, before_commit)
BATCHES = 5  # of 20 rows, which 83 make


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize("at", [Point("insert", JOURNAL), Point("aggregate", SESSIONS)])
def test_the_primary_lost_while_the_plan_is_made_costs_nothing(
    command: Command, three: ReplicaSet, on_three: Db, how: str, at: Point
) -> None:
    generate(on_three, 300)
    expected = recomputed_documents(on_three)
    words = ("fix", "--apply", "--batch-size", "20")
    code = with_primary_lost(command, on_three, three, how, words, at, 20 if how == "frozen" else 5)
    print(f"exit {code}, resumed {finish(command, on_three, code)} times")
    assert_as_after_a_clean_run(on_three, expected)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_primary_lost_at_ten_points_of_apply_costs_nothing(
    command: Command, three: ReplicaSet, on_three: Db, how: str
) -> None:
    generate(on_three, 300)
    empty = list(on_three["sessions"].find())
    expected = recomputed_documents(on_three)
    rng = Random(how)
    for _ in range(10):
        on_three["sessions"].delete_many({})
        on_three["sessions"].insert_many(empty)
        on_three.drop_collection(JOURNAL)
        assert command("fix", "--plan", on=on_three).code == 3
        words = ("apply", last_run(on_three)["_id"], "--batch-size", "20")
        at = rng.choice(IN_A_BATCH)(rng.randint(1, BATCHES))
        code = with_primary_lost(
            command, on_three, three, how, words, at, 20 if how == "frozen" else 5
        )
        print(f"{at}: exit {code}, resumed {finish(command, on_three, code)} times")
        assert_as_after_a_clean_run(on_three, expected)
