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
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from session_repair.errors import Exit, Refused, RepairError
from session_repair.report import Report
from session_repair.settings import SCOPES, Settings, load_settings, parse_duration, read_uri

Command = Callable[..., Exit]

PAGE_LIBRARIES = ("jinja2", "matplotlib")


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
JSON = (
    click.option("--json", metavar="FILE", help="Write the report as JSON."),
    click.option("--html", metavar="FILE", help="Write the report as one HTML page."),
)
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
        require_folder("--json", path)
        try:
            require_page(options.get("html"))
            return function(**options)
        except RepairError as error:
            if path is not None:
                write_json({"verdict": int(error.exit_code), "error": str(error)}, path)
            raise

    return wrapped


def require_folder(option: str, path: str | None) -> None:
    """Raise Refused unless a file can be put there."""
    if path is None:
        return
    if Path(path).is_dir():
        raise Refused(f"{option} {path} is a folder. Name a file.")
    if not os.access(Path(path).resolve().parent, os.W_OK):
        raise Refused(f"{option} {path}: its folder cannot be written. Name a writable file.")


def require_page(path: str | None) -> None:
    """Raise Refused unless an HTML page can be made and put there."""
    require_folder("--html", path)
    missing = [name for name in PAGE_LIBRARIES if path and not find_spec(name)]
    if missing:
        raise Refused(
            f"--html needs {' and '.join(missing)}, which this Python does not have. "
            f"Install them: {sys.executable} -m pip install {' '.join(missing)}"
        )


def settings_from(uri_file: str | None, config: str | None, **options: Any) -> Settings:
    """Settings of the options that were given; an empty tuple was not given."""
    given = {name: value for name, value in options.items() if value != ()}
    settings = load_settings(read_uri(uri_file), config, given)
    require_page(settings.html)  # the config file may name one
    return settings


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
    """One JSON document in the file."""
    write_file("--json", path, json.dumps(document, indent=2, default=str) + "\n")


def write_file(option: str, path: str, text: str) -> None:
    """The text in the file; a reader sees the old file or the new one."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise RepairError(f"{option} {path} could not be written: {error.strerror}.") from None


def finish(report: Report, lines: Iterable[str], settings: Settings) -> Exit:
    """Show the report, write it into the files asked for; its verdict is the exit code."""
    show(lines)
    if settings.html:
        from session_repair.page import report_page

        write_file("--html", settings.html, report_page(report))
    if settings.json:
        write_json({**asdict(report), "verdict": int(report.verdict)}, settings.json)
    return report.verdict


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
