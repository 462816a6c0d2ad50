"""Command line: the options that all verbs share, and one place where errors become exit codes."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import click

from session_repair.cli.layers import load_settings, read_uri
from session_repair.cli.streams import make_unfailing
from session_repair.errors import Exit, Refused, RepairError
from session_repair.home import COMMAND
from session_repair.logs import (
    FORMATS,
    JSON,
    LINES,
    OPTION,
    format_in,
    logging_to_stderr,
    set_format,
    set_verbosity,
)
from session_repair.repair.report import Report
from session_repair.reporting.notify import Notifier, read_notify_url
from session_repair.reporting.outputs import STDOUT, Outputs, telling
from session_repair.scope import SCOPES
from session_repair.settings import (
    DURATION,
    LAST_SUCCESS,
    STRATEGIES,
    Settings,
    describe,
    instant_of,
    parse_duration,
)

log = logging.getLogger(__name__)

Command = Callable[..., Exit]

SETTINGS_OPTIONS = {"uri_file", "config", *(item.name for item in fields(Settings))}


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
            return instant_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Codes(click.ParamType):
    name = "codes"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        return tuple(code.strip() for code in value.split(","))


def flattened(_: Any, __: Any, values: tuple[tuple[str, ...], ...]) -> tuple[str, ...] | None:
    """The codes of an option that may be repeated; None where it is not given."""
    return tuple(code for codes in values for code in codes) if values else None


class Since(click.ParamType):
    name = "since"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if value != LAST_SUCCESS and not DURATION.fullmatch(value):
            try:
                instant_of(value)
            except ValueError as error:
                self.fail(f"{error}, a duration such as 7d, or {LAST_SUCCESS}", param, ctx)
        return str(value)


CONNECTION = (
    click.option("--uri-file", metavar="FILE", help="File with the connection string."),
    click.option("--config", metavar="FILE", help="TOML file; see conf/session_repair.toml."),
    click.option("--database", metavar="NAME", help="Database of the two collections."),
    click.option(OPTION, type=click.Choice(FORMATS), help="Of the lines on stderr (text)."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=lambda _context, _option, number: set_verbosity(number),
        help="Tell each step on stderr; -vv tells more, and all that Spark does.",
    ),
)
IDENTITY = (
    click.option(
        "--session-id", "session_ids", multiple=True, metavar="ID", help="Only this session."
    ),
    click.option("--settle", type=Duration(), help="Leave sessions active that recently (15m)."),
    click.option("--strategy", type=click.Choice(STRATEGIES), help="How to read (auto)."),
    click.option(
        "--allow-absent", multiple=True, metavar="FIELD", help="No document has this field yet."
    ),
)
SELECTION = (
    *IDENTITY,
    click.option(
        "--since",
        type=Since(),
        metavar="DATE|AGE|last-success",
        help="Only sessions that were active since then, each of them whole.",
    ),
    click.option("--until", type=Instant(), help="Only sessions active before (UTC; now)."),
    click.option(
        "--lookback", type=Duration(), help="How far before the last success to begin (1d)."
    ),
    click.option("--scope", type=click.Choice(SCOPES), help="Empty sessions, or all mismatches."),
    click.option(
        "--allow-shrink", is_flag=True, default=None, help="Also lower counts and drop pages."
    ),
)
ENDING = (
    click.option("--json", metavar="FILE", help="Write the report as JSON; - for stdout."),
    click.option("--html", metavar="FILE", help="Write the report as one HTML page."),
    click.option("--metrics", metavar="FILE", help="Write figures for Prometheus (*.prom)."),
    click.option("--notify", metavar="URL", help="Post there when the verdict has changed."),
    click.option("--notify-file", metavar="FILE", help="File with that URL, which is a secret."),
    click.option("--notify-state", metavar="FILE", help="Where the last verdict is remembered."),
)
OUTPUT = (
    *ENDING,
    click.option("--report", metavar="DIR", help="Write findings as parquet (any Hadoop path)."),
)
WRITING = (
    click.option("--batch-size", type=click.IntRange(1), help="Most sessions of a batch (250)."),
    click.option("--max-lag", type=Duration(), help="Wait while replicas lag by more (10s)."),
    click.option("--max-time", type=Duration(), help="Stop between two batches after this."),
    click.option("--pause-file", metavar="FILE", help="Stop between two batches once it exists."),
    click.option("--break-lease", is_flag=True, default=None, help="Take the lease of a dead run."),
)


def with_options(*groups: Iterable[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A decorator that adds groups of options, in their order."""

    def decorate(function: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def examples(*lines: str) -> str:
    """What ``--help`` ends with: each line as it is typed."""
    return "\n".join(["\b", "Examples:", *(f"  {COMMAND} {line}" for line in lines)])


def with_told_ending(function: Callable[..., Report]) -> Command:
    """The command: a function of the settings and its own options that returns a report.

    The report's verdict is the exit code. However the command ends is told in one place:
    ``--json``, ``--html``, ``--metrics`` and ``--notify``.
    """

    @wraps(function)
    def wrapped(notify: str | None = None, **options: Any) -> Exit:
        of_settings = {name: options.pop(name) for name in SETTINGS_OPTIONS & options.keys()}
        verb = click.get_current_context().command.name or ""
        database = of_settings["database"] or ""
        try:
            settings = settings_from(**of_settings)
        except Refused:
            # Told where the command line says, which is all that is known.
            with telling(verb, None, outputs_of(of_settings, notify), database):
                raise
        lines = sys.stdout
        if settings.json == STDOUT:  # among JSON on stderr the report for people has no place
            lines = io.StringIO() if settings.log_format == JSON else sys.stderr
        with (
            telling(verb, settings, outputs_of(vars(settings), notify), database) as told,
            redirect_stdout(lines),
        ):
            told.report = function(settings, **options)
        return told.report.verdict

    return wrapped


def outputs_of(asked: Mapping[str, Any], notify: str | None) -> Outputs:
    """Where the command is told to tell its end."""
    return Outputs(asked["json"], asked["html"], asked["metrics"], notifier_of(notify, asked))


def notifier_of(url: str | None, asked: Mapping[str, Any]) -> Notifier:
    """The notifier; one that cannot work is a line on stderr, and keeps no run from its work."""
    try:
        known_url = read_notify_url(url, asked["notify_file"])
    except Refused as error:
        log.warning("No notices: %s", error)
        known_url = None
    return Notifier(known_url, asked["notify_state"])


def settings_from(uri_file: str | None, config: str | None, **options: Any) -> Settings:
    """Settings of the options that were given."""
    settings = load_settings(read_uri(uri_file), config, given_options(options))
    set_format(settings.log_format)
    log.debug("settings: %s", describe(settings))
    return settings


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that stand on the command line; an empty tuple does not."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def run_command(command: click.Command, argv: Sequence[str] | None) -> int:
    """Run a click command whose result is an Exit; errors a user can cause take one line."""
    words = sys.argv[1:] if argv is None else argv
    name = verb_of(command, words)
    make_unfailing()
    with logging_to_stderr(format_in(words)):
        verdict = exit_code_of(command, words, name)
        log.info("%s ended with exit code %d", name, verdict)
    return verdict


def exit_code_of(command: click.Command, words: Sequence[str], name: str) -> int:
    """How the command ended; what a user can cause is one line."""
    try:
        verdict = command.main(args=words, prog_name=command.name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        log.error("%s", error.format_message())
        return Exit.REFUSED
    except click.ClickException as error:
        return complain(name, error.format_message(), Exit.REFUSED)
    except click.Abort:
        return complain(name, "interrupted", Exit.INTERRUPTED)
    except RepairError as error:
        return complain(name, str(error), error.exit_code)
    except Exception:
        if LINES.form != JSON:
            raise
        log.critical("%s: failed", name, exc_info=True)
        return Exit.UNEXPECTED
    return int(verdict or 0)


def verb_of(command: click.Command, words: Sequence[str]) -> str:
    """The word that messages begin with."""
    if isinstance(command, click.Group) and words and words[0] in command.commands:
        return words[0]
    return command.name or ""


def complain(name: str, message: str, verdict: Exit) -> int:
    log.error("%s: %s", name, message)
    return int(verdict)


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
