"""Help: grouped, under one name, and there before anything is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from session_repair import __version__
from session_repair.cli.completion import verbs
from session_repair.cli.help import BESIDE, HEADINGS, group_of
from session_repair.home import ROOT
from session_repair.launch.command import JOB_OF, PLAIN, program_of
from session_repair.launch.connector import Connector
from session_repair.launch.options import parse
from session_repair.settings import SETTINGS

WITH_HELP = (*JOB_OF, *PLAIN, "demo")
PAGE = (ROOT / "docs" / "verbs.md").read_text("utf-8")


def test_the_page_of_the_verbs_is_what_they_say() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "verbs.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == PAGE
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == [*WITH_HELP]


def test_every_group_of_settings_has_its_heading() -> None:
    assert {row.group for row in SETTINGS.values()} | set(BESIDE.values()) == set(HEADINGS)


@pytest.mark.parametrize("name", [*JOB_OF, *PLAIN])
def test_every_option_stands_once_below_its_heading(name: str) -> None:
    command = verbs.get_command(click.Context(verbs), name)
    assert command is not None
    told = command.get_help(click.Context(command, terminal_width=80))
    spark = "[SPARK OPTIONS] " if name in JOB_OF else ""
    assert told.startswith(f"usage: ./spark-submit.sh {spark}{name} [OPTIONS]")
    assert "\n  [RUN]" not in told  # which is no option
    texts = re.findall(r"^  -.{1,28}?  +(?=\S)", told.partition("\n  Examples:")[0], re.MULTILINE)
    assert len({len(it) for it in texts}) == 1  # aligned, whatever the group
    heading, listed = "", []
    for line in told.partition("\n  Examples:")[0].splitlines():
        if match := re.fullmatch(r"(\S.*):", line):
            heading = match[1]
        elif heading and (match := re.match(r"  (?:-\w, )?(--[a-z-]+)", line)):
            listed.append((match[1], heading))
    expected = [
        (max(it.opts, key=len), HEADINGS[group_of(it)])
        for it in command.params
        if isinstance(it, click.Option)
    ]
    assert sorted(listed) == sorted([*expected, ("--help", "Options")])


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing was started yet."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "jobs", clone / "jobs", ignore=shutil.ignore_patterns("*.pyc"))
    for folder in ("conf", "docs"):
        shutil.copytree(ROOT / folder, clone / folder)
    for file in ("spark-submit.sh", "requirements.lock"):
        shutil.copy(ROOT / file, clone)
    return clone


def told_in(clone: Path, *words: str) -> str:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(clone / "home")}
    ended = subprocess.run(
        [clone / "spark-submit.sh", *words],
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_in_a_fresh_clone_installs_nothing(fresh: Path, option: str) -> None:
    before = sorted(fresh.rglob("*"))
    for verb in WITH_HELP:
        told = told_in(fresh, verb, option)
        assert f"\n## {verb}\n\n```\n{told}```\n" in PAGE
        assert told.splitlines()[0].lower().startswith("usage: ./spark-submit.sh ")
    assert sorted(fresh.rglob("*")) == before


def test_the_version_in_a_fresh_clone_tells_what_is_missing(fresh: Path) -> None:
    before = sorted(fresh.rglob("*"))
    assert told_in(fresh, "--version") == (
        f"session-repair {__version__}\n"
        "Spark          not installed: ./spark-submit.sh setup\n"
        "connector      not installed: ./spark-submit.sh setup\n"
    )
    assert sorted(fresh.rglob("*")) == before


@pytest.fixture
def spark_home(tmp_path: Path) -> Path:
    """A Spark of a gateway, as far as its version can be read."""
    home = tmp_path / "spark"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "spark-submit").touch()
    (home / "jars").mkdir()
    for jar in ("scala-library-2.12.18.jar", "spark-core_2.12-3.5.4.jar"):
        (home / "jars" / jar).touch()
    return home


def versions_of(
    home: Path, cache: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> list[str]:
    variables = {"SPARK_HOME": str(home), "SESSION_REPAIR_CACHE": str(cache)}
    assert program_of(parse([*words, "--version"]), variables) is None
    return capsys.readouterr().out.splitlines()


def test_the_versions_are_those_that_would_be_used(
    spark_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    ours = next(
        line.rpartition("-")[2].removesuffix(".jar")
        for line in (ROOT / "conf" / "connector-jars-2.12.sha256").read_text().splitlines()
        if "mongo-spark-connector" in line
    )
    assert versions_of(spark_home, cache, capsys) == [
        f"session-repair {__version__}",
        f"Spark          3.5.4, in {spark_home}",
        f"connector      {ours} is not installed: ./spark-submit.sh setup",
    ]
    assert not cache.exists()
    theirs = ("--packages", "org.mongodb.spark:mongo-spark-connector_2.12:10.4.1")
    told = versions_of(spark_home, cache, capsys, *theirs)
    assert told[2] == "connector      10.4.1, of your own"
    monkeypatch.setattr(Connector, "is_cached", lambda _: True)
    told = versions_of(spark_home, cache, capsys)
    assert told[2] == f"connector      {ours}, in {cache}/jars-2.12"
    (spark_home / "jars" / "mongo-spark-connector_2.12-10.3.0-all.jar").touch()
    told = versions_of(spark_home, cache, capsys)
    assert told[2] == "connector      10.3.0, of your own"
