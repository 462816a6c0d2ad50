"""The verbs that need no Spark: ``python -m session_repair apply|undo|runs|health …``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from session_repair.cli.config import config_schema, setting_lines
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
    show,
    with_options,
    with_told_ending,
)
from session_repair.errors import Exit, Refused
from session_repair.health.counts import count_empty, recounted
from session_repair.health.model import AtWork, json_schema
from session_repair.health.queries import MAX_AGE, bounded, look, run_at_work, unknown
from session_repair.logs import notice
from session_repair.mongo.connection import connected, require_bytewise
from session_repair.mongo.names import names_there
from session_repair.mongo.runs import DONE, PLANNED, UNDOING, UNDONE, Run, list_runs
from session_repair.repair.execute import finish, take_back, working
from session_repair.repair.listing import lost_rows, rows_of_run
from session_repair.repair.outcomes import OUTCOMES
from session_repair.repair.outcomes import PLANNED as PLANNED_ROW
from session_repair.repair.preconditions import (
    require_not_undone,
    require_ready_to_undo,
    settings_of_run,
)
from session_repair.repair.report import Report
from session_repair.repair.undo import require_lasting_undo, survey_undo
from session_repair.reporting.history import runs_table, trend
from session_repair.reporting.ndjson import row_line
from session_repair.reporting.text import fix_report, undo_report
from session_repair.settings import PLACES, Settings
from session_repair.typed import typed
from session_repair.wording import either, number_of

log = logging.getLogger(__name__)


@click.group("session-repair")
def commands() -> None:
    """Apply a plan, undo a run, look at the history and the health."""


@commands.command(
    "apply",
    epilog=examples(
        "apply r20251103-031500-5f3a9c", "apply r20251103-031500-5f3a9c --max-time 2h --max-lag 5s"
    ),
)
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, ENDING, WRITING)
@with_options("plan_ttl", "allow_ttl")
@with_told_ending
def apply(settings: Settings, run_id: str) -> Report:
    """Carry out a planned run, that plan and no other."""
    report = finish(settings, run_id, (PLANNED,))
    show(fix_report(report))
    return report


@commands.command(
    "undo", epilog=examples("undo r20251103-031500-5f3a9c", "undo r20251103-031500-5f3a9c --apply")
)
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, WRITING)
@with_options("allow_ttl")
@click.option("--apply", "is_apply", is_flag=True, help="Restore; without it nothing is written.")
def undo(run_id: str, is_apply: bool, **options: Any) -> Exit:
    """Put back the documents that a run changed or deleted; a dry run unless --apply is given."""
    settings = settings_from(**options)
    with connected(settings) as store:
        run = Run.find(store, run_id)
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
    "runs",
    epilog=examples("runs", "runs --watch", "runs r20251103-031500-5f3a9c --rows --outcome failed"),
)
@click.argument("run_id", metavar="[RUN]", required=False)
@with_options(CONNECTION)
@click.option("--watch", is_flag=True, help="Follow the run at work, until there is none.")
@click.option("--rows", is_flag=True, help="List every session of RUN, with what became of it.")
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice((PLANNED_ROW, *OUTCOMES)),
    multiple=True,
    help="Of the rows only these; may be repeated.",
)
@click.option("--verdict", is_flag=True, help="Exit as RUN did, where its exit code was lost.")
def runs(
    run_id: str | None,
    watch: bool,
    verdict: bool,
    rows: bool,
    outcomes: tuple[str, ...],
    **options: Any,
) -> Exit:
    """The history of runs; with RUN, one of them in full, as JSON."""
    settings = settings_from(**options)
    if verdict and run_id is None:
        raise Refused("--verdict is that of one run. Name it: runs RUN --verdict.")
    if verdict + rows + watch > 1:
        raise Refused("--verdict, --rows and --watch exclude each other. Give one of them.")
    if outcomes and not rows:
        raise Refused("--outcome is about rows. Add --rows.")
    if rows:
        if run_id is None:
            raise Refused("--rows lists the sessions of one run. Name RUN.")
        return list_rows(settings, run_id, outcomes)
    if watch and run_id is not None:
        raise Refused("--watch follows the run that is at work. Leave out RUN.")
    with connected(settings) as store:
        if watch:
            for now in followed(lambda: run_at_work(store)):
                show([str(now)])
        elif run_id is None:
            documents = list_runs(store)
            if not documents:
                there = names_there(store.database, store.settings.runs)
                notice(f"Database {store.database.name!r} holds no run. {there}".rstrip())
            show([*trend(documents, settings), *runs_table(documents)])
        elif verdict:
            run, at_work = Run.find(store, run_id), run_at_work(store)
            document = run.read()
            ended = ended_verdict(run, document, at_work is not None and at_work.id == run_id)
            show(runs_table([document]))
            return ended
        else:
            document = Run.find(store, run_id).read()
            show([json.dumps(document, indent=2, default=str, ensure_ascii=False)])
    return Exit.CLEAN


def list_rows(settings: Settings, run_id: str, outcomes: Sequence[str]) -> Exit:
    """Print the rows of a run as they come; PARTIAL where its journal has lost some."""
    with connected(settings) as store:
        document = Run.find(store, run_id).read()
        store = store.using(settings_of_run(document, settings, PLACES))
        show(map(row_line, rows_of_run(store, document, outcomes)))
        lost = lost_rows(store, document)
    if not lost:
        return Exit.CLEAN
    are = either(lost, "is lost or has", "are lost or have")
    log.warning("%s of its journal %s expired: not listed", number_of(lost, "row"), are)
    return Exit.PARTIAL


def ended_verdict(run: Run, document: dict[str, Any], is_at_work: bool) -> Exit:
    """The exit code that a run ended with. Raises Refused where it has not ended."""
    state = document["state"]
    has_ended = state in (DONE, UNDONE) or document.get("error") is not None
    if is_at_work or not has_ended:
        finish = {PLANNED: ("apply",), UNDOING: ("undo", "--apply")}.get(state, ("resume",))
        way_on = f"Finish it with: {run.typed(*finish)}"
        if is_at_work:
            way_on = f"Follow it with: {typed(run.store.settings.reached_by, 'runs', '--watch')}"
        raise Refused(f"run {run.run_id} has no verdict: it is {state}. {way_on}")
    return Exit(document["verdict"])


WATCH_SECONDS = 1.0  # between two looks


def followed(look_at_work: Callable[[], AtWork | None]) -> Iterator[AtWork]:
    """The run at work, each time that something of it has changed, until none is at work."""
    before = None
    while (now := look_at_work()) is not None:
        if now != before:
            yield now
        before = now
        time.sleep(WATCH_SECONDS)


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
        show([json.dumps(json_schema(), indent=2)])
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
    show([json.dumps(asdict(answer))])
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
        show([json.dumps(config_schema(), indent=2)])
    else:
        show(setting_lines(uri_file, config, options))
    return Exit.CLEAN


commands.add_command(init)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(commands, argv)


if __name__ == "__main__":
    raise SystemExit(main())
