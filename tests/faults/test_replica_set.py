"""Three real members: the primary killed or frozen under a run, which is resumed if it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from demo.generate import generate
from demo.server import ReplicaSet
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, Document, differing, new_database
from tests.harness.holds import Point, held
from tests.harness.runs import last_run, outcomes
from tests.oracle import recomputed_documents

ENDED_EARLY = (1, 6, 75)  # unexpected, the lease lost, MongoDB away: each can be resumed


@pytest.fixture(scope="module")
def three() -> Iterator[ReplicaSet]:
    with ReplicaSet(3, cache_gb=0.25, parameters={"enableTestCommands": True}) as members:
        yield members


@pytest.fixture
def command(three: ReplicaSet, command: Command) -> Command:
    """As everywhere, but on the three members."""
    return partial(command, uri=three.uri)


@pytest.fixture
def on_three(three: ReplicaSet) -> Iterator[Db]:
    with (
        MongoClient[Document](three.uri, tz_aware=True) as client,
        new_database(client) as database,
    ):
        yield database


def ended(command: Command, db: Db, *words: str) -> int:
    """The exit code of the verb; a failure inside Spark is raised as itself, which is 1."""
    try:
        return command(*words, on=db).code
    except Exception as error:
        print(f"{words[0]} ended by {type(error).__name__}: {error}"[:2_000])
        return 1


def finish(command: Command, db: Db, code: int) -> int:
    """Resume the run until it is done; how often that took."""
    for resumed in range(4):
        run = last_run(db)
        if run["state"] == "done":
            assert code == 0
            return resumed
        assert code in ENDED_EARLY
        code = ended(command, db, "resume", run["_id"], "--break-lease")
    raise AssertionError(f"the run is still {last_run(db)['state']} after 4 times")


def with_primary_lost(
    command: Command,
    db: Db,
    three: ReplicaSet,
    how: str,
    words: tuple[str, ...],
    at: Point,
    seconds: float,
) -> int:
    """The exit code of a verb whose primary is lost at that point, and comes back later.

    ``killed`` is SIGKILL and a restart, ``frozen`` SIGSTOP and SIGCONT.
    """
    member = three.primary()
    with (
        ThreadPoolExecutor() as threads,
        member.client() as client,
        suppress(AutoReconnect),  # a killed member or frozen one may not take a fail point back
        held(client[db.name], at, seconds=2) as hold,
    ):
        run = threads.submit(ended, command, db, *words)
        hold.wait()
        if how == "killed":
            member.kill()
            time.sleep(seconds)
            member.restart()
        else:
            member.pause()
            time.sleep(seconds)
            member.resume()
    return run.result()


def assert_as_after_a_clean_run(db: Db, expected: dict[Any, bytes]) -> None:
    assert differing(db, expected) == []
    run = last_run(db)
    rows = db[JOURNAL].count_documents({"run_id": run["_id"]})
    assert outcomes(db) == {"applied": run["planned"]}
    assert (run["verdict"], rows) == (0, run["planned"])
    assert run["progress"]["counts"] == {"applied": run["planned"]}


def test_the_primary_killed_during_apply_costs_nothing(
    command: Command, three: ReplicaSet, on_three: Db
) -> None:
    generate(on_three, 300)
    expected = recomputed_documents(on_three)
    assert command("fix", "--plan", on=on_three).code == 3
    words = ("apply", last_run(on_three)["_id"], "--batch-size", "20")
    # On the journal come a look, a change and the outcomes.
    code = with_primary_lost(
        command, on_three, three, "killed", words, Point("aggregate", JOURNAL, 4), 5
    )
    finish(command, on_three, code)
    assert_as_after_a_clean_run(on_three, expected)


@pytest.mark.faults
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


@pytest.mark.faults
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
        at = rng.choice([Point("aggregate", JOURNAL, rng.randrange(14)), Point("update", RUNS, 3)])
        code = with_primary_lost(
            command, on_three, three, how, words, at, 20 if how == "frozen" else 5
        )
        print(f"{at}: exit {code}, resumed {finish(command, on_three, code)} times")
        assert_as_after_a_clean_run(on_three, expected)
