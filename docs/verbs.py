"""Prints docs/verbs.md: what each verb says of itself, for who has nothing installed yet.

python docs/verbs.py > docs/verbs.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

from demo.__main__ import demo
from session_repair.cli.completion import verbs
from session_repair.launch.command import JOB_OF, PLAIN
from session_repair.launch.options import HELP

WIDTH = 80
HEAD = """\
# The verbs

What `./spark-submit.sh VERB --help` prints, also before anything is installed: then it is read from
here. Made by `docs/verbs.py`."""


def page() -> Iterator[str]:
    yield HEAD
    context = click.Context(verbs)
    for name in (*JOB_OF, *PLAIN):
        command = verbs.get_command(context, name)
        assert command is not None
        yield section(name, command, name)
    yield section("demo", demo, "./spark-submit.sh demo")


def section(name: str, command: click.Command, called: str) -> str:
    context = click.Context(
        command, info_name=called, help_option_names=[*HELP], terminal_width=WIDTH
    )
    return f"\n## {name}\n\n```\n{command.get_help(context)}\n```"


if __name__ == "__main__":
    print("\n".join(page()))
