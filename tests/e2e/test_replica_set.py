"""Three real members: the primary killed or frozen under a run, which is resumed if it ends."""

from __future__ import annotations

from functools import partial

import pytest

from demo.generate import generate
from demo.server import ReplicaSet
from tests.harness.commands import Command
from tests.harness.documents import Db
from tests.harness.holds import Point, before_commit, before_write
from tests.harness.members import assert_as_after_a_clean_run, finish, with_primary_lost
from tests.harness.runs import last_run
from tests.oracle import recomputed_documents


@pytest.fixture
def command(three: ReplicaSet, command: Command) -> Command:
    """As everywhere, but on the three members."""
    return partial(command, uri=three.uri)


@pytest.mark.parametrize("at", [before_write(2), before_commit(2)], ids=["write", "commit"])
def test_the_primary_killed_during_apply_costs_nothing(
    command: Command, three: ReplicaSet, on_three: Db, at: Point
) -> None:
    generate(on_three, 300)
    expected = recomputed_documents(on_three)
    assert command("fix", "--plan", on=on_three).code == 3
    words = ("apply", last_run(on_three)["_id"], "--batch-size", "20")
    code = with_primary_lost(command, on_three, three, "killed", words, at, 5)
    finish(command, on_three, code)
    assert_as_after_a_clean_run(on_three, expected)
