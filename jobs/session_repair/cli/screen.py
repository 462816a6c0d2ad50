"""Screen: what a report gets where a person looks at it: lines that fit, and a few colours.

A pipe and a file get the lines as they are; a terminal with NO_COLOR gets no colour.
"""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator

import click

from session_repair.live import LIVE, is_terminal, width_of
from session_repair.reporting.formatting import LINE
from session_repair.typed import called

MARKS = {"✅": "green", "⚠": "yellow"}
EMOJI = "\N{VARIATION SELECTOR-16}"  # makes the sign before it one, two columns wide
HANGING = 3  # columns by which the rest of a line stands in: a mark and a space


def show(lines: Iterable[str]) -> None:
    """Print the lines of a report."""
    if not is_terminal(sys.stdout):
        show_data(lines)
        return
    for line in on_screen(lines, width_of(sys.stdout), is_coloured=not os.environ.get("NO_COLOR")):
        with LIVE.aside():
            click.echo(line, color=True)


def show_data(lines: Iterable[str]) -> None:
    """Print what programs read."""
    for line in lines:
        click.echo(line)


def on_screen(lines: Iterable[str], width: int, *, is_coloured: bool) -> Iterator[str]:
    """The lines for a terminal so wide."""
    before = ""
    for line in lines:
        for piece in fitted(line, width):
            yield coloured(piece, line, before) if is_coloured else piece
        before = line


def coloured(piece: str, line: str, before: str) -> str:
    """A piece of the line that stands below another: by its mark, or bold as a heading."""
    told = line.lstrip()
    for mark, colour in MARKS.items():
        if told.startswith(mark):
            return click.style(piece, fg=colour)
    is_title = before == LINE and told and told != LINE and told[0].isalnum()
    is_heading = line.endswith((":", " ===")) and not line[0].isspace()
    return click.style(piece, bold=True) if is_title or is_heading else piece


def fitted(line: str, width: int) -> list[str]:
    """The line in pieces that are no wider; a command stays whole, for it is to be copied."""
    if columns_of(line) <= width:
        return [line]
    if not line.strip("="):
        return [line[:width]]
    indent = " " * (len(line) - len(line.lstrip()) + HANGING)
    told, command, rest = line.partition(called())
    if command and not told.strip():
        return [line]
    if command:
        return [*fitted(told.rstrip(), width), f"{indent}{command}{rest}"]
    # A piece of so many letters is no wider than the terminal, whichever of them are wide.
    letters = max(width - (columns_of(line) - len(line)), width // 2)
    return textwrap.wrap(
        line,
        letters,
        subsequent_indent=indent if len(indent) <= letters // 2 else "",
        expand_tabs=False,
        replace_whitespace=False,
        break_on_hyphens=False,
    )


def columns_of(text: str) -> int:
    """How wide a terminal shows the text."""
    return sum(columns_of_letter(letter) for letter in text)


def columns_of_letter(letter: str) -> int:
    if letter == EMOJI:
        return 1
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):  # stands on the one before it
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
