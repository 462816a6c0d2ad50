"""The release: one version everywhere, and what it changes for a user of the one before."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone

from session_repair import __version__
from session_repair.errors import Exit
from session_repair.home import ROOT
from session_repair.reporting.ending import Ending
from tests.harness.commands import spark_submit

NOW = datetime(2026, 12, 1, tzinfo=timezone.utc)
OF_US = re.compile(r"session[-_]repair[-:](\d+\.\d+\.\d+)")


def test_the_changelog_begins_with_this_version_its_date_and_what_has_to_change() -> None:
    headings = re.findall(r"^##+ (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    version, _, day = headings[0].partition(" - ")
    assert version == __version__
    assert date.fromisoformat(day)
    assert headings[1] == "What a user of 0.2 has to change"


def test_all_that_names_the_version_names_this_one() -> None:
    told = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.findall(r'^version = "(.+)"$', told, re.MULTILINE) == [__version__]
    paths = [it for folder in ("docs", "deploy", "dags") for it in (ROOT / folder).rglob("*.*")]
    texts = [it.read_text("utf-8") for it in paths if it.is_file() and it.suffix != ".pyc"]
    named = [version for text in texts for version in OF_US.findall(text)]
    assert len(named) >= 8
    assert set(named) == {__version__}


def test_the_json_of_any_ending_tells_the_version() -> None:
    ended = Ending("fix", Exit.REFUSED, NOW, NOW, error="no")
    expected = {"version": __version__, "verdict": 2, "error": "no", "run_id": None}
    assert ended.document() == expected


def test_the_command_tells_the_version() -> None:
    ended = spark_submit("--version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == f"session-repair {__version__}"
