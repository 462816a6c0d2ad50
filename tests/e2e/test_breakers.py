"""Breakers: data that look wrong stop a run with exit 4 before it writes anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from demo.generate import generate
from session_repair.home import COMMAND
from session_repair.mongo.lease import LEASE_ID
from tests.harness.commands import Command, Ended
from tests.harness.documents import RUNS, Db, fingerprint, stored_bytes
from tests.harness.runs import last_run, outcomes

LONG_AGO = datetime(2025, 10, 1, tzinfo=timezone.utc)
WRITING = [("fix", "--apply"), ("fix", "--plan"), ("delete-orphans", "--apply")]
LOOKING = [("fix",), ("delete-orphans",)]


def assert_stopped(command: Command, db: Db, *words: str) -> Ended:
    """The verb ends with 4, and nothing was written."""
    before = fingerprint(db)
    ended = command(*words, on=db)
    assert ended.code == 4, ended
    assert fingerprint(db) == before
    return ended


def test_a_database_without_events_stops_every_verb_that_could_write(
    command: Command, db: Db
) -> None:
    generate(db, 40)
    db["events"].delete_many({})
    for words in (*WRITING, *LOOKING):
        assert_stopped(command, db, *words)


@pytest.mark.parametrize(
    ("field", "words"), list(zip(["session_id", "timestamp", "page"], WRITING, strict=True))
)
def test_a_field_that_no_event_has_stops_the_run(
    command: Command, db: Db, tmp_path: Path, field: str, words: tuple[str, ...]
) -> None:
    generate(db, 40)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f'[fields.events]\n{field} = "no.such"\n')
    ended = assert_stopped(command, db, *words, "--config", str(wrong))
    assert "has the field 'no.such'. Nothing was written." in ended.err


def test_another_collection_taken_for_events_stops_the_run(
    command: Command, db: Db, tmp_path: Path
) -> None:
    generate(db, 40)
    db["clicks"].insert_many([{"sid": "s", "at": LONG_AGO} for _ in range(10)])
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[collections]\nevents = "clicks"\n')
    assert_stopped(command, db, "fix", "--apply", "--config", str(wrong))


def test_more_changes_than_allowed_stop_the_run_and_keep_a_plan_that_nobody_applies_by_accident(
    command: Command, db: Db, tmp_path: Path
) -> None:
    """What a limit allows is told in tests/unit/test_limits.py."""
    figures = generate(db, 100)
    assert figures.broken == 28
    before = stored_bytes(db)
    dry = command("fix", "--max-changes", "27%", on=db)
    told = "28 of 100 sessions are in the plan, --max-changes 27% allows 27. "
    why = f"fix: {told}Nothing was written. Look at the plan by a dry run with a higher limit.\n"
    assert (dry.code, dry.out, dry.complaints) == (4, "", why)
    ended = command("fix", "--apply", "--max-changes", "27%", on=db)
    run = last_run(db)
    why = (
        f"{told}No session is written. The plan is kept: apply it with --max-changes 28 if it is "
        f"right after all. Look at it with: {COMMAND} runs {run['_id']} --rows "
        f"--database {db.name}"
    )
    assert (ended.code, ended.out, ended.complaints) == (4, "", f"fix: {why}\n")
    assert (run["verdict"], run["state"], run["error"]) == (4, "stopped", f"BreakerTripped: {why}")
    assert outcomes(db) == {"none": 28}
    rows = command("runs", "last", "--rows", "--outcome", "planned", on=db)
    assert (rows.code, len(rows.out.splitlines())) == (0, 28)

    config = tmp_path / "generous.toml"
    config.write_text('max_changes = "100%"\n')
    for more in ((), ("--config", str(config)), ("--max-changes", "27"), ("--plan-ttl", "1d")):
        for verb in ("apply", "resume"):
            again = command(verb, run["_id"], *more, on=db)
            assert (again.code, "The plan is kept: " in again.err) == (4, True)
    others = command("apply", run["_id"], "--max-delete", "100%", on=db)
    assert (others.code, "--max-delete is about delete-orphans" in others.err) == (2, True)
    assert command("undo", run["_id"], "--apply", on=db).code == 0
    assert (stored_bytes(db), last_run(db)["state"]) == (before, "stopped")

    let = ("apply", run["_id"], "--max-changes", "28%")
    with held_lease_of_another(db):
        assert command(*let, on=db).code == 6
    assert last_run(db)["state"] == "stopped"
    pause = tmp_path / "pause"
    pause.touch()
    assert command(*let, "--pause-file", str(pause), on=db).code == 5
    assert (last_run(db)["state"], outcomes(db)) == ("planned", {"none": 28})
    assert command("resume", run["_id"], on=db).code == 0  # it was let
    assert (last_run(db)["state"], outcomes(db)) == ("done", {"applied": 28})


@contextmanager
def held_lease_of_another(db: Db) -> Iterator[None]:
    """Inside, another run holds the lease."""
    free = db[RUNS].find_one({"_id": LEASE_ID})
    assert free is not None
    until = datetime(2999, 1, 1, tzinfo=timezone.utc)
    db[RUNS].update_one({"_id": LEASE_ID}, {"$set": {"holder": "r1", "expires_at": until}})
    yield
    db[RUNS].replace_one({"_id": LEASE_ID}, free)


def test_sessions_whose_session_id_has_another_name_are_not_deleted(
    command: Command, db: Db, tmp_path: Path
) -> None:
    generate(db, 100)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[fields.sessions]\nsession_id = "no_such"\n')
    before = stored_bytes(db)
    command("delete-orphans", "--apply", "--max-delete", "100%", "--config", str(wrong), on=db)
    assert stored_bytes(db) == before
