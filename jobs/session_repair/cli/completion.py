"""What a shell asks for on TAB: every verb with its options, after Spark's own.

``_SESSION_REPAIR_COMPLETE=bash_source session-repair`` prints what makes the shell ask.
"""

from __future__ import annotations

from importlib import import_module

import click

from session_repair.cli.commands import commands
from session_repair.home import COMMAND
from session_repair.launch.command import COMPLETE, JOB_OF, SET_UP

# The most used ones; spark-submit knows more.
SPARK_OPTIONS = (
    *("--master", "--deploy-mode", "--name", "--conf", "--properties-file"),
    *("--driver-memory", "--driver-cores", "--executor-memory", "--executor-cores"),
    *("--num-executors", "--total-executor-cores", "--queue", "--principal", "--keytab"),
    *("--jars", "--packages", "--repositories", "--py-files", "--files", "--archives"),
)
SPARK_FLAGS = ("--verbose", "--supervise")


class Verbs(click.Group):
    """All verbs; only the one that is typed is imported, for some bring pyspark along."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*JOB_OF, *commands.commands, *SET_UP])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in SET_UP:
            return click.Command(name)
        if name not in JOB_OF:
            return commands.get_command(ctx, name)
        command: click.Command = import_module(JOB_OF[name]).command
        return command


verbs = Verbs(
    "session-repair",
    params=[
        *(click.Option([name]) for name in SPARK_OPTIONS),
        *(click.Option([name], is_flag=True) for name in SPARK_FLAGS),
    ],
)


def main() -> None:
    verbs.main(args=[], prog_name=COMMAND.removeprefix("./"), complete_var=COMPLETE)


if __name__ == "__main__":
    main()
