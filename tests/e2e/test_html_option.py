"""--html: refused before anything starts where it cannot work; else one whole file."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from pymongo.database import Database

from session_repair.errors import LONGEST
from session_repair.mongo.store import Store
from session_repair.repair.journal import Plan, plan_digest
from session_repair.repair.readback import read_back
from session_repair.repair.report import LISTED, Left
from session_repair.reporting.outputs import PAGE_LIBRARIES
from session_repair.settings import Settings
from tests.harness.commands import Command
from tests.harness.documents import Document
from tests.harness.shop import Shop

VERBS = [("verify",), ("fix",), ("fix", "--apply")]


@pytest.fixture(autouse=True)
def nothing_starts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused command has not even spoken to MongoDB."""
    if "refused" in request.node.name:
        monkeypatch.setattr("pymongo.MongoClient.__init__", None)


def one_line(ended_err: str) -> str:
    assert ended_err.count("\n") == 1
    return ended_err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("library", PAGE_LIBRARIES)
def test_without_its_libraries_it_is_refused_with_what_to_install(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: tuple[str, ...],
    library: str,
) -> None:
    monkeypatch.setattr(
        "session_repair.reporting.outputs.find_spec",
        lambda name: None if name == library else find_spec(name),
    )
    ended = command(*verb, "--html", f"{tmp_path}/report.html", "--json", f"{tmp_path}/r.json")
    assert (ended.code, ended.out) == (2, "")
    assert f"--html needs {library}, which this Python does not have" in one_line(ended.err)
    assert f"-m pip install {library}" in ended.err
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_cannot_be_written_is_refused_by_name(
    command: Command, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    for path in ("/no/such/folder/report.html", str(tmp_path)):
        ended = command(*verb, "--html", path)
        assert (ended.code, ended.out) == (2, "")
        assert f"--html {path}" in one_line(ended.err)


def test_a_file_that_the_config_names_is_refused_as_well(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "repair.toml"
    config.write_text('html = "/no/such/folder/report.html"\n')
    ended = command("verify", "--config", str(config))
    assert ended.code == 2
    assert "--html /no/such/folder/report.html" in one_line(ended.err)


def test_verify_writes_the_page_beside_its_report(
    db: Database[Document], command: Command, tmp_path: Path
) -> None:
    shop = Shop(db)
    shop.session("<script>alert(1)</script>")
    shop.events("<script>alert(1)</script>", {0: "/home", 1: "/cart"})
    (tmp_path / "report.html").write_text("yesterday's")
    ended = command("verify", "--database", db.name, "--html", f"{tmp_path}/report.html")
    assert (ended.code, ended.complaints) == (3, "")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<h1>1 session can be repaired</h1>" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '<th scope="row">2025-10-20</th><td class="n">1</td><td class="n">1</td>' in page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_sessions_that_were_left_are_named_and_few(db: Database[Document]) -> None:
    outcomes = [None] * 3 + ["skipped_changed"] * (LISTED + 5) + ["skipped_gone", "failed"]
    journal, settings = db["session_repair_journal"], Settings(uri="", database=db.name)
    for number, outcome in enumerate(outcomes):
        plan: Document = {"session": {"v": number}, "session_id": f"s{number:03}"}
        plan |= {"observed": {}, "new": {"event_count": 1}}
        row = {"_id": f"r1:1:{number:03}", "plan": plan}
        journal.insert_one(row if outcome is None else {**row, "outcome": outcome})
    journal.update_one(
        {"outcome": "failed"}, {"$set": {"error": "too large", "plan.session_id": "x" * 1_000}}
    )
    journal.insert_one({"_id": "r2:1:1", "plan": {"session_id": "other"}, "outcome": "failed"})
    counts = {"applied": 3, "skipped_changed": LISTED + 5, "skipped_gone": 1, "failed": 1}
    run = {
        "_id": "r1",
        "attempt": 1,
        "verb": "fix",
        "settings": {},
        "planned": len(outcomes),
        "digest": plan_digest(Store(db, settings), Plan("r1", 1), len(outcomes)),
        "progress": {"after": "r1:1:029", "counts": counts},
    }
    again = read_back(Store(db, settings), run)
    assert again.outcomes.by_name() == {**counts, "already_right": 0}
    assert again.now == {"gone since": 3}  # there is no session at all
    left = again.left
    assert [it.outcome for it in left[:LISTED]] == ["skipped_changed"] * LISTED
    assert [it.session_id for it in left[:LISTED]] == [f"s{n:03}" for n in range(3, 3 + LISTED)]
    assert left[LISTED:] == (
        Left("s028", "skipped_gone", None),
        Left("x" * LONGEST + "…", "failed", "too large"),
    )
