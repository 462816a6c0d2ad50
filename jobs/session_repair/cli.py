"""Command line: the options that all verbs share, and one place where errors become exit codes."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import wraps
from pathlib import Path
from typing import Any

import click

from session_repair.errors import Exit, Refused, RepairError
from session_repair.report import Report
from session_repair.settings import SCOPES, Settings, load_settings, parse_duration, read_uri

Command = Callable[..., Exit]


class Duration(click.ParamType):
    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Instant(click.ParamType):
    name = "instant"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        try:
            instant = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            self.fail(f"{value!r} is not a date; write 2025-10-20 or 2025-10-20T15:00", param, ctx)
        return instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)


CONNECTION = (
    click.option("--uri-file", metavar="FILE", help="File with the connection string."),
    click.option("--config", metavar="FILE", help="TOML file; see conf/session_repair.toml."),
    click.option("--database", metavar="NAME", help="Database of the two collections."),
)
IDENTITY = (
    click.option(
        "--session-id", "session_ids", multiple=True, metavar="ID", help="Only this session."
    ),
    click.option("--settle", type=Duration(), help="Leave sessions active that recently (15m)."),
)
SELECTION = (
    *IDENTITY,
    click.option("--since", type=Instant(), help="Correct sessions that began then or later."),
    click.option("--until", type=Instant(), help="Correct sessions that began before (UTC)."),
    click.option("--scope", type=click.Choice(SCOPES), help="Empty sessions, or all mismatches."),
    click.option(
        "--allow-shrink", is_flag=True, default=None, help="Also lower counts and drop pages."
    ),
)
JSON = (click.option("--json", metavar="FILE", help="Write the report as JSON."),)
OUTPUT = (
    *JSON,
    click.option("--report", metavar="DIR", help="Write findings as parquet (any Hadoop path)."),
)
WRITING = (
    click.option("--batch-size", type=click.IntRange(1), help="Sessions per batch (1000)."),
    click.option("--max-lag", type=Duration(), help="Wait while replicas lag by more (10s)."),
    click.option("--max-time", type=Duration(), help="Stop between two batches after this."),
    click.option("--pause-file", metavar="FILE", help="Stop between two batches once it exists."),
    click.option("--break-lease", is_flag=True, default=None, help="Take the lease of a dead run."),
)


def with_options(*groups: Iterable[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A decorator that adds groups of options, in their order."""

    def decorate(function: Any) -> Any:
        function = with_json_of_errors(function)
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def with_json_of_errors(function: Any) -> Any:
    """The command, whose ``--json`` file tells its verdict even when it fails."""

    @wraps(function)
    def wrapped(**options: Any) -> Any:
        path = options.get("json")
        if path is not None and not os.access(Path(path).resolve().parent, os.W_OK):
            raise Refused(f"--json {path}: its folder cannot be written. Name a writable file.")
        try:
            return function(**options)
        except RepairError as error:
            if path is not None:
                write_json({"verdict": int(error.exit_code), "error": str(error)}, path)
            raise

    return wrapped


def settings_from(uri_file: str | None, config: str | None, **options: Any) -> Settings:
    """Settings of the options that were given; an empty tuple was not given."""
    given = {name: value for name, value in options.items() if value != ()}
    return load_settings(read_uri(uri_file), config, given)


def run_command(command: click.Command, argv: Sequence[str] | None) -> int:
    """Run a click command whose result is an Exit; errors a user can cause take one line."""
    name = verb_of(command, argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's is not
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        verdict = command.main(args=argv, prog_name=command.name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.REFUSED
    except click.ClickException as error:
        return complain(name, error.format_message(), Exit.REFUSED)
    except click.Abort:
        return complain(name, "interrupted", Exit.INTERRUPTED)
    except RepairError as error:
        return complain(name, str(error), error.exit_code)
    return int(verdict or 0)


def verb_of(command: click.Command, argv: Sequence[str] | None) -> str:
    """The word that messages begin with."""
    words = sys.argv[1:] if argv is None else argv
    if isinstance(command, click.Group) and words and words[0] in command.commands:
        return words[0]
    return command.name or ""


def complain(name: str, message: str, verdict: Exit) -> int:
    click.echo(f"{name}: {message}", err=True)
    return int(verdict)


def write_json(document: dict[str, Any], path: str) -> None:
    """One JSON document in the file; a reader sees the old file or the new one."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise RepairError(f"--json {path} could not be written: {error.strerror}.") from None


def finish(report: Report, lines: Iterable[str], settings: Settings) -> Exit:
    """Show the report, write it as JSON where asked for; its verdict is the exit code."""
    show(lines)
    if settings.json:
        write_json({**asdict(report), "verdict": int(report.verdict)}, settings.json)
    return report.verdict


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
