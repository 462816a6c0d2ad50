"""Init: the verb that proposes a config file for the collections that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from session_repair.cli.help import verb
from session_repair.cli.options import CONNECTION, examples, settings_from, with_options
from session_repair.cli.screen import show_data
from session_repair.errors import Exit, Refused
from session_repair.logs import notice
from session_repair.mongo.connection import connected
from session_repair.proposal.look import SESSIONS, propose
from session_repair.proposal.toml import config_of, file_of
from session_repair.typed import typed


@verb("init", epilog=examples("init --database shop", "init --file shop.toml"))
@with_options(CONNECTION)
@click.option(
    "--sessions",
    "number",
    type=click.IntRange(1),
    default=SESSIONS,
    help=f"Whole sessions to try fields on ({SESSIONS}).",
)
@click.option("--file", metavar="FILE", help="Write it there, where no file is yet.")
def init(number: int, file: str | None, **options: Any) -> Exit:
    """A config file for the collections that are there, by a look at some documents."""
    if file is not None and Path(file).exists():
        raise refused(file, "File exists")
    with connected(settings_from(**options)) as store:
        lines = [*config_of(propose(store, number))]
    if file is None:
        show_data(lines)
        return Exit.CLEAN
    try:
        with Path(file).open("x", encoding="utf-8") as opened:
            opened.write(file_of(lines))
    except OSError as error:
        raise refused(file, error.strerror or str(error)) from None
    address = () if options["uri_file"] is None else ("--uri-file", options["uri_file"])
    notice(f"Look through it, then: {typed(address, 'verify', '--config', file)}")
    return Exit.CLEAN


def refused(file: str, why: str) -> Refused:
    return Refused(f"--file {file}: {why}. Name one that can be made.")
