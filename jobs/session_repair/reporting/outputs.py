"""Outputs: the files that tell how a command ended, and whoever else is to be told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from session_repair.errors import Refused, RepairError
from session_repair.repair.report import Report
from session_repair.reporting.as_json import json_told
from session_repair.reporting.ending import Ending, Telling
from session_repair.settings import Settings

PAGE_LIBRARIES = ("jinja2", "matplotlib")
METRICS_LIBRARIES = ("prometheus_client",)
STDOUT = "-"  # where --json names it; what else would stand there goes to stderr


@dataclass(frozen=True)
class Outputs:
    """Where the end of a command is told; None for nowhere."""

    json: str | None = None
    html: str | None = None  # a command without a report leaves the page of an earlier one
    metrics: str | None = None
    notify: Callable[[Ending], None] = lambda ending: None

    def require_writable(self) -> None:
        """Raise Refused, before anything is done, when the end could not be told."""
        for option, path in (
            ("--json", None if self.json == STDOUT else self.json),
            ("--html", self.html),
            ("--metrics", self.metrics),
        ):
            if path:
                require_writable(option, path)

    def require_libraries(self) -> None:
        """Raise Refused without what a page or metrics need; a cluster's Python may lack it."""
        if self.html:
            require_libraries("--html", PAGE_LIBRARIES)
        if self.metrics:
            require_libraries("--metrics", METRICS_LIBRARIES)

    def write(self, ending: Ending) -> None:
        """Write each file that is asked for. Raises RepairError when one of them cannot be."""
        with ExitStack() as each:  # that one fails keeps no other from being written
            if self.metrics and not lacking(METRICS_LIBRARIES):
                each.callback(write_metrics, self.metrics, ending)
            if self.html and ending.report and not ending.error:
                each.callback(write_page, self.html, ending.report)
            if self.json:
                each.callback(write_json, self.json, ending)


def write_json(path: str, ending: Ending) -> None:
    text = json_told(ending.document()) + "\n"
    if path == STDOUT:
        click.echo(text, nl=False)
    else:
        write_file("--json", path, text)


def write_page(path: str, report: Report) -> None:
    from session_repair.reporting.html import report_page

    write_file("--html", path, report_page(report))


def write_metrics(path: str, ending: Ending) -> None:
    from session_repair.reporting.metrics import exposition, figures_of_run

    # Another user reads it.
    write_file("--metrics", path, exposition(figures_of_run(ending)), mode=0o644)


@contextmanager
def telling(
    verb: str, settings: Settings | None, outputs: Outputs, database: str = ""
) -> Iterator[Telling]:
    """Within, a command does its work. However it ends is written and, where asked for, notified.

    ``settings`` are None when they were refused; ``database`` is what the command line names.
    """
    told, is_writable = Telling(verb, settings, database), False
    try:
        outputs.require_writable()
        is_writable = True
        outputs.require_libraries()
        yield told
        ending = told.ending()
        outputs.write(ending)
    except BaseException as error:
        # What was done stands, also where it cannot be told everywhere.
        ending = told.ending(error)
        with suppress(RepairError):  # what ended the command is the one thing to complain about
            if is_writable:
                outputs.write(ending)
        outputs.notify(ending)
        raise
    outputs.notify(ending)


def require_writable(option: str, path: str) -> None:
    """Raise Refused unless a file can be made in the folder of the path."""
    probe = temporary_of(path)
    try:
        probe.touch()
        probe.unlink()
        is_writable = not Path(path).is_dir()
    except OSError:
        is_writable = False
    if not is_writable:
        raise Refused(f"{option} {path}: its folder cannot be written. Name a writable file.")


def require_libraries(option: str, names: tuple[str, ...]) -> None:
    """Raise Refused, with what to install, when this Python lacks one of them."""
    missing = lacking(names)
    if missing:
        raise Refused(
            f"{option} needs {' and '.join(missing)}, which this Python does not have. "
            f"Install them: {sys.executable} -m pip install {' '.join(missing)}"
        )


def lacking(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not find_spec(name)]


def temporary_of(path: str | Path) -> Path:
    return Path(f"{path}.{os.getpid()}.tmp")


def write_file(option: str, path: str | Path, text: str, mode: int | None = None) -> None:
    """Write the text; a reader sees the old file or the new one, never a part."""
    temporary = temporary_of(path)
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RepairError(f"{option} {path} could not be written: {error.strerror}.") from None
