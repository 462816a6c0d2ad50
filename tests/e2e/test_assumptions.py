"""docs/assumptions.md: each line has its test, and what no other test shows is shown here."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

from session_repair.mongo.connection import connected
from session_repair.mongo.names import NEWEST
from session_repair.repair.breakers import require_fields
from session_repair.settings import Settings
from tests.e2e.test_refusals import one_line
from tests.harness.commands import ROOT, Command
from tests.harness.documents import Db, data_of
from tests.harness.shop import MORNING, Shop, made_at

PAGE = (ROOT / "docs" / "assumptions.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_line_of_the_page_names_a_test_that_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "`test_" in line]
    of_tables = [it for it in PAGE.splitlines() if it.startswith("| ") and "| test |" not in it]
    assert rows == of_tables
    assert len(rows) >= 30
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_a_field_that_came_late_is_found_without_reading_all_that_is_older(
    db: Db, mongo_uri: str
) -> None:
    shop = Shop(db)
    shop.session("a")
    old = [{"session_id": "a", "timestamp": MORNING, "page": "/"} for _ in range(3_000)]
    db["events"].insert_many(old)
    shop.events("a", {9: "/home"}, _id=made_at(datetime(2100, 1, 1, tzinfo=timezone.utc), 1))
    settings = Settings(uri=mongo_uri, database=db.name)
    db.command("profile", 2)
    try:
        with connected(settings) as store:
            require_fields(store, "fix")
    finally:
        db.command("profile", 0)
    read = [
        it.get("docsExamined", 0) for it in db["system.profile"].find({"ns": f"{db.name}.events"})
    ]
    db.drop_collection("system.profile")
    assert read
    assert max(read) <= NEWEST


@pytest.mark.parametrize("named", ["journal", "runs"])
def test_a_collection_of_others_is_not_taken_for_the_jobs_own(
    db: Db, command: Command, tmp_path: Path, named: str
) -> None:
    shop = Shop(db)
    shop.session("broken")
    shop.events("broken", {0: "/home"})
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    db["audit"].insert_one({"who": "Ann", "expires_at": long_ago})  # a TTL index would remove it
    (tmp_path / "c.toml").write_text(f'collections.{named} = "audit"\n')
    before = data_of(db)
    told = one_line(command("fix", "--apply", "--config", f"{tmp_path}/c.toml", on=db), 2)
    assert told == (
        f"fix: {db.name}.audit holds documents of others. Name a collection that is the job's "
        "alone under [collections] in the config file.\n"
    )
    assert data_of(db) == before
