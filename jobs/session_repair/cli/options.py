"""Command line: the options that all verbs share, and one place where errors become exit codes."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import reduce, wraps
from itertools import pairwise
from typing import Any

import click

from session_repair.cli.layers import load_settings, read_uri
from session_repair.cli.streams import make_unfailing
from session_repair.errors import Exit, Refused, RepairError
from session_repair.home import COMMAND
from session_repair.kinds import DURATION, Kind
from session_repair.launch.options import HELP
from session_repair.launch.options import WITH_VALUE as SPARK_OPTIONS
from session_repair.logs import (
    JSON,
    LINES,
    TEXT,
    TIME,
    Timed,
    format_in,
    logging_to_stderr,
    set_format,
    set_verbosity,
)
from session_repair.repair.report import Report
from session_repair.reporting.notify import Notifier, read_notify_url
from session_repair.reporting.outputs import STDOUT, Outputs, telling
from session_repair.secret import is_text
from session_repair.settings import SETTINGS, Settings, describe
from session_repair.signals import interrupted_once

log = logging.getLogger(__name__)

VerbFunction = Callable[..., Exit]

SETTINGS_OPTIONS = {"uri_file", "config", "session_ids_from", *SETTINGS}

Option = Callable[[Any], Any]  # what click.option makes, a decorator


class Value(click.ParamType):
    """A value of the kind, as text."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.name = kind, kind.metavar or ""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value  # a default
        try:
            return self.kind.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


AGE = Value(DURATION)


def option_of(name: str) -> Option:
    """The option of the setting."""
    row = SETTINGS[name]
    kind, known = row.kind, row.kind.bounds.get("enum")
    how: dict[str, Any] = {"type": Value(kind), "metavar": kind.metavar}
    if kind.plain is bool:
        how = {"is_flag": True, "default": None}
    elif kind.plain is int:
        bounds = kind.bounds["minimum"], kind.bounds.get("maximum")
        how |= {"type": click.IntRange(*bounds)}
    elif kind.plain is list:
        how |= {"type": str, "multiple": True, "callback": lambda _, __, texts: kind.read(texts)}
    elif known is not None:
        how = {"type": click.Choice(known)}
    return click.option(row.typed(name), name, help=row.help, **how)


def options_in(group: str) -> tuple[Option, ...]:
    """The options of the settings in the group."""
    return tuple(option_of(name) for name, row in SETTINGS.items() if row.group == group)


CONNECTION = (
    click.option("--uri-file", metavar="FILE", help="File with the connection string."),
    click.option("--config", metavar="FILE", help="TOML file; see conf/session_repair.toml."),
    *options_in("connection"),
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
        "--session-ids-from", metavar="FILE", help="Only those in the file, an id on each line."
    ),
    *options_in("sessions"),
    *options_in("reading"),
)
SELECTION = (*IDENTITY, *options_in("window"), *options_in("scope"))
ENDING = (
    *options_in("ending"),
    click.option("--notify", metavar="URL", help="Post there when the verdict has changed."),
    *options_in("notices"),
)
OUTPUT = (*ENDING, option_of("report"), option_of("samples"))
WRITING = options_in("writing")


def with_options(*these: Iterable[Option] | str) -> Option:
    """A decorator that adds groups of options, and those of settings by name, in their order."""
    groups = [[option_of(it)] if isinstance(it, str) else it for it in these]
    options = [option for group in groups for option in group]
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


def examples(*lines: str) -> str:
    """What ``--help`` ends with: each line as it is typed."""
    return "\n".join(["\b", "Examples:", *(f"  {COMMAND} {line}" for line in lines)])


def with_told_ending(function: Callable[..., Report]) -> VerbFunction:
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
        if settings.log_format == TIME:
            lines = Timed(lines)
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
    where = {"--uri-file": uri_file, "--config": config, "--database": options.get("database")}
    given = [(name, value) for name, value in where.items() if value is not None]
    reached_by = tuple(word for it in given for word in it)
    settings = replace(load_settings(read_uri(uri_file), config, options), reached_by=reached_by)
    set_format(settings.log_format)
    log.debug("settings: %s", describe(settings))
    return settings


def run_command(command: click.Command, argv: Sequence[str] | None) -> int:
    """Run a click command whose result is an Exit; errors a user can cause take one line."""
    words = sys.argv[1:] if argv is None else argv
    name = verb_of(command, words)
    make_unfailing()
    with interrupted_once(), logging_to_stderr(format_in(words)):
        verdict = exit_code_of(command, words, name)
        log.info("%s ended with exit code %d", name, verdict)
    return verdict


def exit_code_of(command: click.Command, words: Sequence[str], name: str) -> int:
    """How the command ended; what a user can cause is one line."""
    try:
        require_text(words)
        with command.make_context(command.name, [*words], help_option_names=[*HELP]) as context:
            verdict = command.invoke(context)
    except click.exceptions.Exit as ended:  # of --help
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        log.error("%s", error.format_message())
        return Exit.REFUSED
    except click.NoSuchOption as error:
        return complain(name, unknown_option(name, error), Exit.REFUSED)
    except click.ClickException as error:
        return complain(name, error.format_message(), Exit.REFUSED)
    except (click.Abort, KeyboardInterrupt):
        return complain(name, "interrupted", Exit.INTERRUPTED)
    except RepairError as error:
        return complain(name, str(error), error.exit_code)
    except Exception:
        if LINES.form == TEXT:
            raise
        log.critical("%s: failed", name, exc_info=True)
        return Exit.UNEXPECTED
    return int(verdict or 0)


def require_text(words: Sequence[str]) -> None:
    """Raise Refused on a word that came as other bytes than UTF-8; it may be a secret."""
    for before, word in pairwise(["", *words]):
        if not is_text(word):
            of = before if before.startswith("--") else f"word {words.index(word) + 1}"
            of = word.partition("=")[0] if word.startswith("--") and "=" in word else of
            raise Refused(f"{of} is not text in UTF-8. Write it again, in a terminal for UTF-8.")


def unknown_option(name: str, error: click.NoSuchOption) -> str:
    """What click says of it, and where none is alike, what lists the known ones."""
    if error.option_name in SPARK_OPTIONS:
        return f"{error.option_name} is an option of Spark's, which stand before the verb."
    listed = "" if error.possibilities else f" {name} --help lists them."
    return f"{error.format_message()}{listed}"


def verb_of(command: click.Command, words: Sequence[str]) -> str:
    """The word that messages begin with."""
    if isinstance(command, click.Group) and words and words[0] in command.commands:
        return words[0]
    return command.name or ""


def complain(name: str, message: str, verdict: Exit) -> int:
    log.error("%s: %s", name, message)
    return int(verdict)
