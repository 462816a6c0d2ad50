"""The history on a real server: the newest runs first, and the last of them by that word."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from session_repair.settings import Settings, describe
from tests.harness.commands import Command
from tests.harness.documents import RUNS, Db
from tests.harness.shop import minute

MOMENT = timedelta(milliseconds=1)
SETTINGS = describe(Settings(uri="mongodb://h"))


@pytest.fixture
def history(db: Db) -> list[str]:
    """The ids of the runs from the oldest to the newest; the last two began in one second."""
    ids = [f"r20251020-08{number:02}00-{22 - number:06x}" for number in range(22)]
    ids.append("r20251020-082100-000000")
    wrote = {ids[4]: {"applied": 3}, ids[9]: {"applied": 2}, ids[12]: {"applied": 0, "failed": 1}}
    for number, run_id in enumerate(ids):
        is_plan = run_id == ids[-1]
        document: dict[str, Any] = {
            "_id": run_id,
            "verb": "fix",
            "settings": SETTINGS,
            "verdict": 0,
            "state": "planned" if is_plan else "done",
            "goal": "planned" if is_plan else "done",
            "started_at": minute(21) + MOMENT if is_plan else minute(number),
            "ended_at": minute(number + 1),
            "progress": {"counts": wrote.get(run_id, {})},
        }
        db[RUNS].insert_one(document)
    db[RUNS].insert_one({"_id": "lease", "token": 7})
    return ids


def test_the_newest_runs_are_listed_first(db: Db, command: Command, history: list[str]) -> None:
    ended = command("runs", on=db)
    _, *lines = ended.out.splitlines()
    assert [it.split()[0] for it in lines] == history[:-21:-1]
    assert ended.err == "20 of 23 runs. For more: --limit 23\n"
    ended = command("runs", "--limit", "30", on=db)
    assert [it.split()[0] for it in ended.out.splitlines()[1:]] == history[::-1]
    assert (ended.code, ended.err) == (0, "")


def test_the_whole_history_is_told_to_programs(
    db: Db, command: Command, history: list[str]
) -> None:
    ended = command("runs", "--json", on=db)
    assert [it["run_id"] for it in json.loads(ended.out)] == history[::-1]
    told = json.loads(command("runs", "--json", "--limit", "2", on=db).out)
    assert [it["run_id"] for it in told] == [history[-1], history[-2]]
    assert (ended.code, ended.err) == (0, "")


def test_no_runs_are_an_empty_list(db: Db, command: Command) -> None:
    assert json.loads(command("runs", "--json", on=db).out) == []


def test_the_last_run_needs_no_id(db: Db, command: Command, history: list[str]) -> None:
    ended = command("runs", "last", on=db)
    assert json.loads(ended.out)["_id"] == history[-1]
    assert ended.err == f"The last run is {history[-1]}\n"
    for verb, *words in (("resume",), ("apply",), ("verify", "--run"), ("runs", "--verdict")):
        ended = command(verb, *words, "last", on=db)
        assert ended.code == 2
        assert f"run {history[-1]} " in ended.err.splitlines()[-1]


def test_the_last_run_that_wrote_is_undone(db: Db, command: Command, history: list[str]) -> None:
    ended = command("undo", "last", on=db)
    told, complaint = ended.err.splitlines()
    assert told == f"The last run that wrote is {history[9]}"
    assert complaint.startswith(f"undo: run {history[9]} was made by ")


def test_there_is_no_last_run_where_none_is(db: Db, command: Command) -> None:
    see = f"See: ./spark-submit.sh runs --database {db.name}\n"
    assert command("runs", "last", on=db).err == f"runs: there is no run yet. {see}"
    none = f"undo: there is no run that has written anything yet. {see}"
    assert command("undo", "last", "--apply", on=db).err == none


@pytest.mark.parametrize("words", [("last", "--json"), ("last", "--limit", "3"), ("--watch",)])
def test_a_list_is_of_no_one_run(db: Db, command: Command, words: tuple[str, ...]) -> None:
    ended = command("runs", *words, "--json", on=db)
    why = "--limit and --json are about the list of runs. Leave out RUN and --watch."
    assert (ended.code, ended.err) == (2, f"runs: {why}\n")
