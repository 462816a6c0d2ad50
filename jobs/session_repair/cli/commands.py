"""The verbs that need no Spark: ``python -m session_repair apply|undo|runs|health …``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from session_repair.cli.config import config_schema, setting_lines
from session_repair.cli.help import Verbs
from session_repair.cli.init import init
from session_repair.cli.options import (
    AGE,
    CONNECTION,
    ENDING,
    OUTPUT,
    SELECTION,
    WRITING,
    examples,
    run_command,
    settings_from,
    with_options,
    with_told_ending,
)
from session_repair.cli.runs import runs
from session_repair.cli.screen import show, show_data
from session_repair.errors import Exit, Refused
from session_repair.health.counts import count_empty, recounted
from session_repair.health.model import json_schema
from session_repair.health.queries import MAX_AGE, bounded, look, unknown
from session_repair.mongo.connection import connected, require_bytewise
from session_repair.mongo.newest import WROTE
from session_repair.mongo.runs import APPLICABLE, Run
from session_repair.repair.execute import finish, take_back, working
from session_repair.repair.preconditions import (
    require_not_undone,
    require_ready_to_undo,
    settings_of_run,
)
from session_repair.repair.report import Report
from session_repair.repair.undo import require_lasting_undo, survey_undo
from session_repair.reporting.text import fix_report, undo_report
from session_repair.settings import PLACES, Settings


@click.group("session-repair", cls=Verbs)
def commands() -> None:
    """Apply a plan, undo a run, look at the history and the health."""


@commands.command(
    "apply",
    epilog=examples("apply last", "apply r20251103-031500-5f3a9c --max-time 2h --max-lag 5s"),
)
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, ENDING, WRITING)
@with_options("plan_ttl", "max_changes", "max_delete", "allow_ttl")
@with_told_ending
def apply(settings: Settings, run_id: str) -> Report:
    """Carry out a planned run, that plan and no other.

    RUN is the id of a run, or the word last.
    """
    report = finish(settings, run_id, APPLICABLE)
    show(fix_report(report))
    return report


@commands.command("undo", epilog=examples("undo last", "undo r20251103-031500-5f3a9c --apply"))
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, WRITING)
@with_options("allow_ttl")
@click.option("--apply", "is_apply", is_flag=True, help="Restore; without it nothing is written.")
def undo(run_id: str, is_apply: bool, **options: Any) -> Exit:
    """Put back the documents that a run changed or deleted; a dry run unless --apply is given.

    RUN is the id of a run, or the word last: the last one that wrote anything.
    """
    settings = settings_from(**options)
    with connected(settings) as store:
        run = Run.find(store, run_id, WROTE)
        store = store.using(settings_of_run(run.read(), settings, PLACES))
        if not is_apply:
            require_bytewise(store.sessions, store.journal, store.runs)
            found = survey_undo(store, run.read())
            show(undo_report(found, is_apply))
            require_lasting_undo(store, run.read())
            return Exit.PARTIAL if found.lost else Exit.CLEAN
        require_not_undone(run.read())
        require_ready_to_undo(store, run.read()["verb"])
        with working(store, run, require_not_undone, "undo") as (run, lease):
            undone = take_back(store, run, lease)
    show(undo_report(undone, is_apply))
    return Exit.CLEAN if undone.is_whole else Exit.PARTIAL


@commands.command(
    "health", epilog=examples("health", "health --deep --time-limit 30s", "health --serve 8080")
)
@with_options(CONNECTION)
@click.option("--max-age", type=AGE, default=MAX_AGE, help="Trust no older run (26h).")
@click.option("--deep", is_flag=True, help="Count the empty sessions now, by a scan.")
@click.option("--time-limit", type=AGE, default="5s", help="End that scan after this (5s).")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the answer, and end.")
@click.option("--serve", "port", type=click.IntRange(0, 65535), metavar="PORT", help="Answer HTTP.")
@click.option("--host", default="127.0.0.1", help="Where to listen (127.0.0.1).")
@click.option("--token-file", metavar="FILE", help="File with the token that a client must send.")
@click.option("--cache", type=AGE, default="10s", help="Keep an answer this long (10s).")
def health(
    max_age: timedelta,
    deep: bool,
    time_limit: timedelta,
    schema: bool,
    port: int | None,
    host: str,
    token_file: str | None,
    cache: timedelta,
    **options: Any,
) -> Exit:
    """What is known of the sessions, as one line of JSON; with --serve, over HTTP."""
    if schema:
        show_data([json.dumps(json_schema(), indent=2)])
        return Exit.CLEAN
    settings = settings_from(**options)
    if port is not None:
        if deep:
            raise Refused("--deep and --serve exclude each other: a scan may take too long.")
        try:
            from session_repair.health.server import read_token, serve
        except ImportError as error:
            raise Refused(
                f"--serve needs the Python package {error.name}. Install session-repair[health]."
            ) from None
        serve(settings, max_age, cache, host, port, read_token(token_file))
        return Exit.CLEAN
    try:
        seconds = settings.server_selection_timeout.total_seconds()
        with bounded(seconds), connected(settings) as store:
            answer = look(store, max_age)
        if deep:
            with connected(settings) as store:
                answer = recounted(answer, count_empty(store, time_limit))
    except Exception as error:
        answer = unknown(settings, error)
    show_data([json.dumps(asdict(answer))])
    return Exit(answer.verdict)


@commands.command(
    "config", epilog=examples("config --show --config night.toml --settle 1h", "config --schema")
)
@with_options(CONNECTION, SELECTION, OUTPUT, WRITING)
@click.option("--show", "is_shown", is_flag=True, help="What --config and other options lead to.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the config file.")
def config(
    is_shown: bool, schema: bool, uri_file: str | None, config: str | None, **options: Any
) -> Exit:
    """Every setting with its value, and where that comes from; it asks no database."""
    if is_shown == schema:
        raise Refused("write --show for the settings, or --schema for what a config file may say.")
    if schema:
        show_data([json.dumps(config_schema(), indent=2)])
    else:
        show_data(setting_lines(uri_file, config, options))
    return Exit.CLEAN


commands.add_command(init)
commands.add_command(runs)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(commands, argv)


if __name__ == "__main__":
    raise SystemExit(main())
