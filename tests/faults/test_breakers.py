"""Breakers: data that look wrong stop a run with exit 4 before it writes anything."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from demo.generate import generate
from tests.faults.ground import JOURNAL, Db, Verbs, last_run, outcomes
from tests.faults.runs import raw_documents

LONG_AGO = datetime(2025, 10, 1, tzinfo=timezone.utc)
WRITING = [("fix", "--apply"), ("fix", "--plan"), ("delete-orphans", "--apply")]
LOOKING = [("fix",), ("delete-orphans",)]


@pytest.fixture
def verbs(mongo_uri: str, db: Db, tmp_path: Path) -> Verbs:
    return Verbs.on(mongo_uri, db.name, tmp_path)


def assert_stopped(verbs: Verbs, db: Db, *words: str) -> None:
    """The verb ends with 4, and no session and no plan was written."""
    before = raw_documents(db), raw_documents(db, "events")
    assert verbs(*words) == 4
    assert (raw_documents(db), raw_documents(db, "events")) == before
    assert db[JOURNAL].count_documents({}) == 0
    if "--apply" in words or "--plan" in words:
        assert (last_run(db)["verdict"], last_run(db)["state"]) == (4, "planning")


def test_a_database_without_events_stops_every_verb_that_could_write(verbs: Verbs, db: Db) -> None:
    generate(db, 40)
    db["events"].delete_many({})
    for words in (*WRITING, *LOOKING):
        assert_stopped(verbs, db, *words)


@pytest.mark.parametrize("field", ["session_id", "timestamp", "page"])
def test_a_field_that_no_event_has_stops_the_run(
    verbs: Verbs, db: Db, tmp_path: Path, field: str, capfd: pytest.CaptureFixture[str]
) -> None:
    generate(db, 40)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f'[fields.events]\n{field} = "no.such"\n')
    for words in WRITING:
        assert_stopped(verbs, db, *words, "--config", str(wrong))
    told = capfd.readouterr().err
    assert told.count("has the field 'no.such'. Nothing was written.") == len(WRITING)


def test_another_collection_taken_for_events_stops_the_run(
    verbs: Verbs, db: Db, tmp_path: Path
) -> None:
    generate(db, 40)
    db["clicks"].insert_many([{"sid": "s", "at": LONG_AGO} for _ in range(10)])
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[collections]\nevents = "clicks"\n')
    assert_stopped(verbs, db, "fix", "--apply", "--config", str(wrong))


def test_more_changes_than_allowed_stop_the_run_in_number_and_in_percent(
    spark: SparkSession, verbs: Verbs, db: Db
) -> None:
    figures = generate(db, 100)
    for limit in ("10", "5%", str(figures.broken - 1), "27%"):
        assert_stopped(verbs, db, "fix", "--apply", "--max-changes", limit)
    assert figures.broken == 28
    assert verbs("fix", "--apply", "--max-changes", "28%") == 0
    assert outcomes(db) == {"applied": 28}


def test_sessions_whose_session_id_has_another_name_are_not_deleted(
    spark: SparkSession, verbs: Verbs, db: Db, tmp_path: Path
) -> None:
    generate(db, 100)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[fields.sessions]\nsession_id = "no_such"\n')
    before = raw_documents(db)
    verbs("delete-orphans", "--apply", "--max-delete", "100%", "--config", str(wrong))
    assert raw_documents(db) == before
