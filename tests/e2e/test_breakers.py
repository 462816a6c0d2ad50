"""Breakers: data that look wrong stop a run with exit 4 before it writes anything."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from demo.generate import generate
from tests.harness.commands import Command, Ended
from tests.harness.documents import JOURNAL, Db, fingerprint, stored_bytes
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
    ("field", "words"), zip(["session_id", "timestamp", "page"], WRITING, strict=True)
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


def test_more_changes_than_allowed_stop_the_run_in_number_and_in_percent(
    command: Command, db: Db
) -> None:
    """What a limit allows is told in tests/unit/test_limits.py."""
    figures = generate(db, 100)
    before = stored_bytes(db)
    assert command("fix", "--apply", "--max-changes", "27%", on=db).code == 4
    assert (last_run(db)["verdict"], last_run(db)["state"]) == (4, "planning")
    assert db[JOURNAL].count_documents({}) == 0
    run = last_run(db)["_id"]
    assert command("resume", run, on=db).code == 4  # the limit is that of the run
    assert stored_bytes(db) == before
    assert figures.broken == 28
    assert command("fix", "--apply", "--max-changes", "28%", on=db).code == 0
    assert outcomes(db) == {"applied": 28}


def test_sessions_whose_session_id_has_another_name_are_not_deleted(
    command: Command, db: Db, tmp_path: Path
) -> None:
    generate(db, 100)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[fields.sessions]\nsession_id = "no_such"\n')
    before = stored_bytes(db)
    command("delete-orphans", "--apply", "--max-delete", "100%", "--config", str(wrong), on=db)
    assert stored_bytes(db) == before
