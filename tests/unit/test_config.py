"""Config and help: where a setting comes from, what a file may say, and examples that work."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

import delete_orphan_sessions
import fix_empty_sessions
import resume_run
import verify_sessions
from session_repair.cli.commands import commands, main
from session_repair.cli.config import config_schema
from session_repair.home import DEFAULT_CONFIG
from session_repair.settings import SETTINGS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = DEFAULT_CONFIG.with_name("session_repair.schema.json")
SPARK = ("--master", "--driver-memory")


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, tuple[str, str]]:
    """What ``config --show`` says: by setting its value and where that comes from."""
    assert main(["config", "--show", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    return {name: (rest[:26].strip(), rest[26:].strip()) for name, rest in rows}


def test_each_setting_says_where_its_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://ann:hush@h/shop")
    monkeypatch.setenv("SESSION_REPAIR_NOTIFY_URL", "https://chat.example/hush")
    file = tmp_path / "night.toml"
    file.write_text('settle = "1h"\nscope = "all"\n[fields.events]\npage = "url"\n')
    settings = shown(
        capsys, "--config", str(file), "--settle", "2h", "--session-id", "a", "--session-id", "b"
    )
    of_command = shown(capsys, "--notify", "https://other.example/hush")
    assert of_command["notify"] == ("(a secret)", "command line")
    address = "environment MONGODB_URI"
    assert settings["uri"] == ("(a secret)", address)
    assert settings["notify"] == ("(a secret)", "environment SESSION_REPAIR_NOTIFY_URL")
    assert settings["database"] == ('"shop"', f"connection string of {address}")
    assert settings["settle"] == ('"2h"', "command line")
    assert settings["--session-id"] == ('["a", "b"]', "command line")
    assert settings["scope"] == ('"all"', f"file {file}")
    assert settings["fields.events.page"] == ('"url"', f"file {file}")
    assert settings["fields.sessions.pages"] == ('"pages"', "default")
    assert settings["batch_size"] == ("250", "default")
    assert settings["allow_shrink"] == ("false", "default")
    assert "hush" not in repr(settings)

    uri_file = tmp_path / "uri"
    uri_file.write_text("mongodb://ann:hush@h")
    settings = shown(capsys, "--uri-file", str(uri_file), "--database", "other")
    assert settings["uri"] == ("(a secret)", f"file {uri_file}")
    assert settings["database"] == ('"other"', "command line")
    assert settings["settle"] == ('"15m"', f"file {DEFAULT_CONFIG}")
    monkeypatch.delenv("MONGODB_URI")
    settings = shown(capsys)
    assert settings["uri"] == ("nothing", "not set")
    assert settings["database"] == ('"browsing"', "default")


@pytest.mark.parametrize("words", [[], ["--show", "--schema"]])
def test_config_without_a_question_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *words]) == 2
    why = "config: write --show for the settings, or --schema for what a config file may say.\n"
    assert capsys.readouterr() == ("", why)


def test_the_schema_that_is_published_is_that_of_the_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "--schema"]) == 0
    remedy = f"./spark-submit.sh config --schema > conf/{SCHEMA.name}"
    assert SCHEMA.read_text() == capsys.readouterr().out, remedy
    jsonschema.Draft202012Validator.check_schema(config_schema())
    first, *_ = DEFAULT_CONFIG.read_text().splitlines()
    assert first == f"#:schema {SCHEMA.name}"
    jsonschema.validate(tomllib.loads(DEFAULT_CONFIG.read_text()), config_schema())


@pytest.mark.parametrize(
    "document",
    [
        {"settel": "1h"},
        {"settle": "1 hour"},
        {"scope": "everything"},
        {"batch_size": 0},
        {"batch_size": True},
        {"max_delete": "5 %"},
        {"uri": "mongodb://h"},
        {"only": ["zero_events"]},
        {"collections": {"session": "s"}},
        {"collections": "s"},
        {"sessions": "s"},
        {"fields": {"events": {"pages": "p"}}},
        {"fields": {"events": {"page": "$p"}}},
    ],
)
def test_the_schema_refuses_what_a_run_refuses(document: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps(document)), config_schema())


VERBS = [
    verify_sessions.command,
    fix_empty_sessions.command,
    delete_orphan_sessions.command,
    resume_run.command,
    *commands.commands.values(),
]


def test_every_setting_with_a_help_is_an_option_of_a_verb() -> None:
    options = {option.name for verb in VERBS for option in verb.params}
    assert {name for name, row in SETTINGS.items() if row.help} <= options


@pytest.mark.parametrize("command", VERBS, ids=lambda command: command.name)
def test_help_ends_with_examples_that_are_command_lines(command: click.Command) -> None:
    told = CliRunner().invoke(command, ["--help"]).output
    *_, after = told.partition("\n  Examples:\n")
    lines = [line.strip() for line in after.splitlines() if line.strip()]
    assert len(lines) >= 2
    for line in lines:
        wrapper, *words = shlex.split(line)
        assert wrapper == "./spark-submit.sh"
        while words[0] in SPARK:
            words = words[2:]
        verb, *options = words
        assert verb == command.name
        command.make_context(verb, options)  # raises on an option or value that is none
