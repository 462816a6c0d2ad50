"""Help: what ``--help`` prints of a verb, its options in the groups of the settings' table."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import click

from session_repair.home import COMMAND
from session_repair.launch.command import JOB_OF
from session_repair.settings import SETTINGS

# The verb's own come first, what every verb takes comes last.
HEADINGS = {
    "": "Options",
    "sessions": "Which sessions",
    "window": "Active in a window",
    "scope": "What is corrected",
    "reading": "How it reads",
    "writing": "How it writes",
    "ending": "Where the end is told",
    "notices": "Notices",
    "connection": "Connection and log",
}
# Options that are no settings, and those that some verbs share though they are in no group.
BESIDE = {
    **dict.fromkeys(("uri_file", "config", "verbose"), "connection"),
    "session_ids_from": "sessions",
    "notify": "notices",
    **dict.fromkeys(("report", "samples"), "ending"),
}
WIDEST = 30  # of what stands before the text of an option


def group_of(param: click.Parameter) -> str:
    """The group of the option; empty for one that is the verb's own."""
    name = param.name or ""
    row = SETTINGS.get(name)
    return BESIDE.get(name, row.group if row else "")


class Verb(click.Command):
    """A command of ours: named as it is typed, its options under headings."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        spark = ["[SPARK OPTIONS]"] if self.name in JOB_OF else []
        words = [*spark, self.name or "", *self.collect_usage_pieces(ctx)]
        formatter.write_usage(COMMAND, " ".join(words), prefix="usage: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = defaultdict(list)
        for param in self.get_params(ctx):
            told = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if told is not None:
                records[group_of(param)].append(told)
        widths = [len(option) for group in records.values() for option, _ in group]
        wide = min(WIDEST, max(widths))
        for group, heading in HEADINGS.items():
            if rows := records[group]:
                with formatter.section(heading):
                    formatter.write_dl(aligned(rows, wide), col_max=WIDEST)


def aligned(rows: list[tuple[str, str]], wide: int) -> list[tuple[str, str]]:
    """The rows, one of them so wide that their texts begin where those of other groups do."""
    at = next((at for at, (option, _) in enumerate(rows) if len(option) <= wide), None)
    return [(it[0].ljust(wide) if number == at else it[0], it[1]) for number, it in enumerate(rows)]


class Verbs(click.Group):
    """The verbs of ours."""

    command_class = Verb

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(COMMAND, "VERB [OPTIONS]", prefix="usage: ")


def verb(name: str, **how: Any) -> Any:
    """A decorator: the function as the verb of that name."""
    return click.command(name, cls=Verb, **how)
