"""docs/assumptions.md: each line has its test, and what no other test shows is shown here."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.e2e.test_refusals import one_line
from tests.harness.commands import ROOT, Command
from tests.harness.documents import Db, data_of
from tests.harness.shop import Shop

PAGE = (ROOT / "docs" / "assumptions.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_line_of_the_page_names_a_test_that_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "`test_" in line]
    of_tables = [it for it in PAGE.splitlines() if it.startswith("| ") and "| test |" not in it]
    assert rows == of_tables
    assert len(rows) >= 30
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert [name for name in named if f"def {name}(" not in TESTS] == []


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
