"""Every command that is printed, run as it is printed, in a shell, in the setting it came from:
another database, other names of collections and fields, a scope, from a config file and options."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pytest

from session_repair.cli.layers import load_settings
from session_repair.errors import LeaseHeld, RepairError
from session_repair.mongo.connection import connected
from session_repair.mongo.lease import held_lease
from session_repair.mongo.runs import Run
from session_repair.repair.readback import read_back
from session_repair.settings import Settings
from tests.harness import wild
from tests.harness.commands import PATIENCE, ROOT, Command, Ended, environment, run_to_end
from tests.harness.documents import Db

pytestmark = pytest.mark.needs("many_runs")
JOBS = ROOT / "jobs"
VERBS = "apply|resume|undo|runs|verify|fix|delete-orphans"
PRINTED = re.compile(rf"\./spark-submit\.sh (?:{VERBS})\b.*$", re.MULTILINE)
NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
EMPTY = 3  # sessions, and one whose count alone is wrong
CONFIG = """
scope = "all"
settle = "1m"
[collections]
sessions = "visits"
events = "hits"
journal = "night journal"
runs = "night runs"
[fields.sessions]
pages = "meta.pages"
"""

# Every place that makes a command, and the test below that runs what is printed there.
TRIED = {
    "cli/init.py 'verify', '--config', file": "test_what_init_writes_is_looked_at_as_it_says",
    "cli/runs.py 'runs', '--watch'": "test_a_run_without_a_verdict_says_how_it_gets_one",
    "cli/runs.py *finish": "test_a_run_without_a_verdict_says_how_it_gets_one",
    "health/queries.py 'resume', last['_id']": "test_what_health_says_finishes_a_run",
    "health/queries.py 'undo', last['_id'], '--apply'": "test_what_health_says_finishes_a_run",
    "mongo/lease.py 'runs', self.run_id": "test_who_lost_the_run_is_told_where_to_look",
    "mongo/runs.py 'runs'": "test_who_lost_the_run_is_told_where_to_look",
    "mongo/runs.py verb, self.run_id, *words": "test_a_plan_is_applied_as_it_says",
    "repair/bounds.py 'runs', '--rows'": "test_a_plan_that_is_too_large_is_looked_at_as_it_says",
    "repair/execute.py 'undo', '--apply'": "test_what_mongodb_refused_to_undo_says_how_to_undo_it",
    "repair/execute.py *FINISH['progress']": "test_what_broke_off_says_how_to_finish_it",
    "repair/execute.py *FINISH[part]": "test_what_broke_off_says_how_to_finish_it",
    "repair/preconditions.py 'runs'": "test_a_plan_is_applied_as_it_says",
    "repair/readback.py 'runs', run_id": "test_who_lost_the_run_is_told_where_to_look",
    "repair/recheck.py 'runs'": "test_a_plan_is_applied_as_it_says",
    "reporting/text.py 'apply', report.run_id": "test_a_plan_is_applied_as_it_says",
    "reporting/text.py 'verify'": "test_what_is_found_is_repaired_as_it_says",
    "reporting/text.py verb, '--apply'": "test_what_is_found_is_repaired_as_it_says",
    "reporting/verdicts.py FIX, '--apply'": "test_what_is_found_is_repaired_as_it_says",
    "reporting/verdicts.py verb, *options": "test_what_is_left_alone_is_dealt_with_as_it_says",
}


def test_every_command_that_is_printed_is_run_by_a_test() -> None:
    made, named = set(), set()
    for file in sorted((JOBS / "session_repair").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and file.name != "typed.py":
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                words = node.args[1:] if getattr(node.func, "id", "") == "typed" else node.args
                if name in ("typed", "on_the_same") and ast.unparse(node.func) != "row.typed":
                    where = file.relative_to(JOBS / "session_repair")
                    made.add(f"{where} {', '.join(map(ast.unparse, words))}")
    for file in JOBS.rglob("*.py"):  # one that is made in another way would miss what it needs
        named |= set(re.findall(rf"{{COMMAND}} (?:{VERBS})\b", file.read_text()))
    assert (made, named) == (set(TRIED), set())
    assert set(TRIED.values()) <= globals().keys()


def night(db: Db) -> Db:
    """The sessions 0, 1 and 2 are empty, 3 counts one event of two, 4 is sound."""
    stored = [(0, []), (0, []), (0, []), (1, ["/a"]), (2, ["/a"])]
    at = {"first_event_at": NOON, "last_event_at": NOON, "user_id": 7}
    for number, (count, pages) in enumerate(stored):
        name = {"_id": number, "session_id": f"s{number}"}
        db["visits"].insert_one({**name, "event_count": count, "meta": {"pages": pages}, **at})
        for which in ("first", "second"):
            hit = {"_id": f"{number}{which}", "session_id": f"s{number}"}
            db["hits"].insert_one({**hit, "timestamp": NOON, "page": "/a", "user_id": 7})
    return db


def repaired(db: Db) -> list[int]:
    """The sessions that are as their events say."""
    right = {"event_count": 2, "meta.pages": ["/a"]}
    return sorted(it["_id"] for it in db["visits"].find(right))


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "night's shift.toml"
    file.write_text(CONFIG)
    return str(file)


Shell = Callable[[str], Ended]


@pytest.fixture
def shell(mongo_uri: str) -> Shell:
    """Runs one printed line."""
    return lambda line: run_to_end(["bash", "-c", line], environment(mongo_uri), PATIENCE, ROOT)


def printed(text: str) -> str:
    """The one command that stands in the text."""
    (line,) = PRINTED.findall(text)
    return str(line)


@pytest.fixture
def settings(mongo_uri: str, db: Db, config: str) -> Settings:
    made = load_settings(mongo_uri, config, {"database": db.name})
    return replace(made, reached_by=("--config", config, "--database", db.name))


def planned(command: Command, db: Db, config: str) -> tuple[str, Ended]:
    ended = command("fix", "--plan", "--config", config, on=night(db))
    assert ended.code == 3, ended.told
    (run,) = db["night runs"].find({"verb": "fix"})
    return run["_id"], ended


def test_a_plan_is_applied_as_it_says(command: Command, db: Db, config: str, shell: Shell) -> None:
    run, ended = planned(command, db, config)
    looked = command("verify", "--run", run, "--config", config, on=db)  # it is not done
    assert looked.code == 2
    assert shell(printed(looked.err)).out.startswith(f'{{\n  "_id": "{run}"')
    applied = shell(printed(ended.out))
    assert (applied.code, repaired(db)) == (0, [0, 1, 2, 3, 4]), applied.told
    again = command("apply", run, "--config", config, on=db)
    assert again.code == 2
    seen = shell(printed(again.err))
    assert (seen.code, f'"_id": "{run}"' in seen.out, '"state": "done"' in seen.out) == (
        0,
        True,
        True,
    )


def test_a_plan_that_is_too_large_is_looked_at_as_it_says(
    command: Command, db: Db, config: str, shell: Shell
) -> None:
    ended = command("fix", "--plan", "--max-changes", "3", "--config", config, on=night(db))
    assert ended.code == 4, ended.told
    rows = shell(printed(ended.err))
    assert (rows.code, len(rows.out.splitlines())) == (0, EMPTY + 1), rows.told


def test_what_init_writes_is_looked_at_as_it_says(
    command: Command, db: Db, shell: Shell, tmp_path: Path
) -> None:
    wild.shop(db)
    file = tmp_path / "what's found.toml"
    made = command("init", "--file", str(file), on=db)
    assert made.code == 0, made.told
    looked = shell(printed(made.err))
    assert (looked.code, looked.figure("Total sessions")) == (3, wild.SESSIONS), looked.told


def test_a_run_without_a_verdict_says_how_it_gets_one(
    command: Command, db: Db, config: str, shell: Shell, settings: Settings
) -> None:
    run, _ = planned(command, db, config)
    verdict = partial(command, "runs", run, "--verdict", "--config", config, on=db)
    with connected(settings) as store, held_lease(store, run):
        at_work = verdict()
    assert (at_work.code, shell(printed(at_work.err)).code) == (2, 0)
    applied = shell(printed(verdict().err))
    assert (applied.code, repaired(db)) == (0, [0, 1, 2, 3, 4]), applied.told
    assert verdict().code == 0
    for state, words in (("applying", "resume"), ("undoing", "undo")):
        db["night runs"].update_one({"_id": run}, {"$set": {"state": state}})  # a kill's
        told = printed(verdict().err)
        ended = shell(told)
        assert (words in told, ended.code) == (True, 0), ended.told
    assert repaired(db) == [4]


def test_what_broke_off_says_how_to_finish_it(
    command: Command, db: Db, config: str, shell: Shell, tmp_path: Path
) -> None:
    run, _ = planned(command, db, config)
    pause = tmp_path / "pause"
    for words, after in ((("apply", run), [0, 1, 2, 3, 4]), (("undo", run, "--apply"), [4])):
        pause.touch()
        ended = command(*words, "--pause-file", str(pause), "--config", config, on=db)
        assert ended.code == 5, ended.told
        pause.unlink()
        (document,) = db["night runs"].find({"_id": run})
        assert printed(document["error"]) == printed(ended.err)
        finished = shell(printed(ended.err))
        assert (finished.code, repaired(db)) == (0, after), finished.told


def test_what_health_says_finishes_a_run(
    command: Command, db: Db, config: str, shell: Shell
) -> None:
    run, _ = planned(command, db, config)
    for state, after in (("applying", [0, 1, 2, 3, 4]), ("undoing", [4])):
        died = {"$set": {"state": state, "verdict": None}}
        db["night runs"].update_one({"_id": run}, died)
        reason = json.loads(command("health", "--config", config, on=db).out)["reason"]
        finished = shell(printed(reason))
        assert (finished.code, repaired(db)) == (0, after), finished.told


def test_what_mongodb_refused_to_undo_says_how_to_undo_it(
    command: Command, db: Db, config: str, shell: Shell
) -> None:
    run, _ = planned(command, db, config)
    assert command("apply", run, "--config", config, on=db).code == 0
    db.command("collMod", "visits", validator={"event_count": {"$gt": 0}})
    assert command("undo", run, "--apply", "--config", config, on=db).code == 5
    assert repaired(db) == [0, 1, 2, 4]
    db.command("collMod", "visits", validator={})
    (document,) = db["night runs"].find({"_id": run})
    undone = shell(printed(document["error"]))
    assert (undone.code, repaired(db)) == (0, [4]), undone.told


def test_who_lost_the_run_is_told_where_to_look(
    command: Command, db: Db, config: str, shell: Shell, settings: Settings
) -> None:
    run, _ = planned(command, db, config)
    assert command("apply", run, "--config", config, on=db).code == 0
    told = [command("undo", "r1", "--config", config, on=db).err]
    with connected(settings) as store:
        told.append(str(Run.find(store, run).taken_over()))
        with held_lease(store, run) as lease:
            store.runs.update_one({"_id": "lease"}, {"$inc": {"token": 1}})
            with pytest.raises(LeaseHeld) as lost:
                lease.renew()
        told.append(str(lost.value))
        store.journal.update_one({}, {"$set": {"outcome": "failed"}})
        with pytest.raises(RepairError) as otherwise:
            read_back(store, Run.find(store, run).read())
        told.append(str(otherwise.value))
    seen = [shell(printed(it)) for it in told]
    assert [it.code for it in seen] == [0] * 4, told
    assert [run in it.out for it in seen] == [True] * 4


@pytest.mark.needs("spark_process")
def test_what_is_found_is_repaired_as_it_says(
    command: Command, db: Db, config: str, shell: Shell, tmp_path: Path
) -> None:
    night(db)
    (tmp_path / "some ids").write_text("s3\n")
    recent = datetime.now(timezone.utc)  # in flight, but for --settle 0s
    db["hits"].update_many({"session_id": "s2"}, {"$set": {"timestamp": recent}})
    verify = partial(command, "verify", "--config", config, on=db)
    ids = ("--session-id", "s2", "--session-ids-from", f"{tmp_path}/some ids")
    found = verify("--settle", "0s", *ids)
    assert found.code == 3
    fixed = shell(printed(found.out))
    assert (fixed.code, repaired(db)) == (0, [2, 3, 4]), fixed.told
    (run,) = (it["_id"] for it in db["night runs"].find({"verb": "fix"}))

    looked = verify("--run", run)
    assert looked.code == 0
    seen = shell(printed(looked.out))
    assert (seen.code, seen.figure("Total sessions")) == (0, 2), seen.told

    for row in db["night journal"].find():  # an old value is back
        was = row["plan"]["session"]["v"]
        old = {"event_count": 0, "meta.pages": []} if was == 2 else {"event_count": 1}
        at = {"first_event_at": NOON, "last_event_at": NOON}
        db["visits"].update_one({"_id": was}, {"$set": {**old, **at}})
    back = verify("--run", run, "--settle", "0s")
    assert (back.code, repaired(db)) == (3, [4]), back.told
    fixed = shell(printed(back.out))
    assert (fixed.code, repaired(db)) == (0, [2, 3, 4]), fixed.told


@pytest.mark.needs("spark_process")
def test_what_is_left_alone_is_dealt_with_as_it_says(
    command: Command, db: Db, config: str, shell: Shell
) -> None:
    night(db)
    shrunk = {"$set": {"event_count": 3, "meta.pages": ["/a", "/b"]}}
    db["visits"].update_one({"_id": 4}, shrunk)
    old = {"first_event_at": NOON, "last_event_at": NOON, "user_id": 7}
    gone = {"session_id": "gone", "event_count": 0, "meta": {"pages": []}, **old}
    copy = {**gone, "session_id": "s4"}
    db["visits"].insert_many([{"_id": 5, **gone}, {"_id": 6, **copy}])
    how = ("--scope", "empty", "--settle", "2m", "--samples", "0")
    looked = command("verify", "--config", config, *how, on=db)
    assert looked.code == 3, looked.told
    steps = {
        "fix --scope all --settle": (3, "Would fix 4 sessions."),
        "fix --scope all --allow-shrink --settle": (3, "Would fix 5 sessions."),
        "delete-orphans --settle": (0, "Would delete 1 session."),
        "delete-orphans --duplicates --settle": (0, "Would delete 1 session."),
    }
    printed_there = PRINTED.findall(looked.out)
    for words, (code, told) in steps.items():
        line = next(it for it in printed_there if f" {words} 2m " in it)
        ended = shell(line)
        assert (ended.code, told in ended.out) == (code, True), ended.told
