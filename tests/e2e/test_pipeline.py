"""What a pipeline asks for: the report on stdout, known levels, some findings only, every row."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Int64, json_util

from session_repair.mongo.store import Store
from session_repair.repair.watermark import last_success, reached_by
from session_repair.settings import Settings, describe
from tests.harness.commands import Command
from tests.harness.documents import JOURNAL, RUNS, SESSIONS, Db, Document, fingerprint, stored_bytes
from tests.harness.runs import the_run
from tests.harness.shop import BOB, MORNING, Shop, minute

FIVE = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")


@pytest.fixture
def shop(db: Db) -> Shop:
    """Two empty sessions, one of another's whose count and last date are wrong, a sound one."""
    made = Shop(db)
    made.session("empty one")
    made.session("empty two", user_id=BOB, extra=Int64(7))
    made.session("wrong", event_count=Int64(1), pages=["/0", "/1"], user_id=BOB)
    made.session("sound", event_count=2, pages=["/0", "/1"], last_event_at=minute(1))
    for document in list(db[SESSIONS].find()):
        made.events(document["session_id"], {0: "/0", 1: "/1"})
    return made


def the_session(db: Db, session_id: str) -> Document:
    found = db[SESSIONS].find_one({"session_id": session_id})
    assert found is not None
    return {name: found[name] for name in FIVE}


def test_a_pipeline_reads_the_report_and_lets_a_known_level_pass(
    shop: Shop, command: Command
) -> None:
    before = fingerprint(shop.db)
    ended = command("verify", "--json", "-", on=shop.db)
    document = json.loads(ended.out)  # and nothing else
    assert (ended.code, document["verdict"], document["totals"]["planned"]) == (3, 3, 2)
    assert "\n📊 Overall Stats:\n  Total sessions: 4\n" in ended.err
    levels = ("--allow", "empty_pages=50%", "--allow", "zero_events=2")
    ended = command("verify", *levels, "--json", "-", on=shop.db)
    document = json.loads(ended.out)
    assert (ended.code, document["verdict"], document["totals"]["planned"]) == (0, 0, 2)
    assert document["settings"]["allow"] == ["empty_pages=50%", "zero_events=2"]
    assert "⚠️  2 sessions need page data" in ended.err
    assert fingerprint(shop.db) == before
    # By an index only what is named is read; what is to be corrected is known all the same.
    for name in ("sessions", "events"):
        shop.db[name].create_index("session_id")
    named = ("--session-id", "empty one", "--strategy", "lookup")
    assert command("verify", *named, *levels, on=shop.db).code == 0
    assert command("verify", *named, "--allow", "empty_pages=1", on=shop.db).code == 3


def test_what_is_refused_is_told_as_json_on_stdout_too(command: Command) -> None:
    ended = command("verify", "--json", "-", uri=None)
    assert ended.code == 2
    assert ended.complaints.startswith("verify: MONGODB_URI is not set.")
    document = json.loads(ended.out)
    assert (document["verdict"], document["run_id"]) == (2, None)
    assert document["error"].startswith("MONGODB_URI is not set.")


def test_only_the_findings_that_are_named_are_corrected_and_each_row_is_listed(
    shop: Shop, command: Command
) -> None:
    db, before = shop.db, stored_bytes(shop.db)
    options = ("--scope", "all", "--only", "count_mismatch", "--only", "pages_missing")
    assert command("fix", "--plan", *options, on=db).code == 3
    run = the_run(db)
    assert (run["planned"], run["settings"]["only"]) == (
        1,
        ["count_mismatch", "pages_missing"],
    )
    (row,) = listed(command, db, run["_id"])
    observed = {
        "event_count": Int64(1),
        "pages": ["/0", "/1"],
        "first_event_at": MORNING,
        "last_event_at": MORNING,
        "user_id": BOB,
    }
    wrong = db[SESSIONS].find_one({"session_id": "wrong"})
    assert wrong is not None
    listing = {
        "_id": wrong["_id"],
        "session_id": "wrong",
        "findings": ["count_mismatch", "last_event_mismatch", "user_mismatch"],
        "observed": observed,
        "new": {"event_count": Int64(2)},
    }
    assert row == {**listing, "outcome": "planned"}
    assert isinstance(row["new"]["event_count"], Int64)
    assert listed(command, db, run["_id"], "--outcome", "applied") == []

    ended = command("apply", run["_id"], on=db)
    assert ended.code == 0, ended.told
    options_told = "--scope all, --only count_mismatch,pages_missing"
    assert f"✅ All fixable sessions in this scope ({options_told}) have been" in ended.out
    assert the_session(db, "wrong") == {**observed, "event_count": Int64(2)}
    after = stored_bytes(db)
    assert [key for key in before if before[key] != after[key]] == [wrong["_id"]]
    assert command("verify", "--run", run["_id"], on=db).code == 0

    applied = {**listing, "outcome": "applied"}
    assert listed(command, db, run["_id"]) == [applied]
    wanted = ("--outcome", "planned", "--outcome", "failed", "--outcome", "applied")
    assert listed(command, db, run["_id"], *wanted) == [applied]

    db[JOURNAL].delete_many({})
    ended = command("runs", run["_id"], "--rows", on=db)
    lost = "1 row of its journal is lost or has expired: not listed\n"
    assert (ended.code, ended.out, ended.err) == (5, "", lost)


def value_of(text: str) -> Any:
    return json_util.loads(text, json_options=json_util.JSONOptions(tz_aware=True))


def listed(command: Command, db: Db, run_id: str, *options: str) -> list[Document]:
    ended = command("runs", run_id, "--rows", *options, on=db)
    assert (ended.code, ended.err) == (0, "")
    rows: list[Any] = [value_of(line) for line in ended.out.splitlines()]
    return rows


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--rows",), "--rows is about one run. Name it: runs RUN --rows."),
        (
            ("r1", "--rows", "--verdict"),
            "--verdict, --rows and --watch exclude each other. Give one of them.",
        ),
        (("r1", "--outcome", "failed"), "--outcome is about rows. Add --rows."),
        (
            ("r1", "--rows"),
            "there is no run 'r1'. Find it with: ./spark-submit.sh runs --database {}",
        ),
    ],
)
def test_a_listing_of_no_rows_is_refused(
    db: Db, command: Command, words: tuple[str, ...], reason: str
) -> None:
    ended = command("runs", *words, on=db)
    assert (ended.code, ended.out, ended.err) == (2, "", f"runs: {reason.format(db.name)}\n")


def test_a_success_is_gone_on_from_only_by_a_run_for_the_same_findings(db: Db) -> None:
    settings = Settings(uri="mongodb://h", database=db.name)
    only = replace(settings, only=("zero_events",))

    def ended(number: int, of: Settings) -> None:
        asked = describe(of)
        report = {"server_time": minute(number), "window": None}
        done = {"verb": "fix", "state": "done", "verdict": 0, "settings": asked, "report": report}
        db[RUNS].insert_one({"_id": f"r20251020-08{number:02}00-000000", **done})

    def reached(of: Settings) -> datetime | None:
        found = last_success(Store(db, of))
        return None if found is None else reached_by(found).replace(tzinfo=timezone.utc)

    ended(1, settings)
    assert (reached(settings), reached(only)) == (minute(1), None)
    ended(2, only)
    assert (reached(settings), reached(only)) == (minute(1), minute(2))
    ended(3, settings)
    assert (reached(settings), reached(only)) == (minute(3), minute(2))
