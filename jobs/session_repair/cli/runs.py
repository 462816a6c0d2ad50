"""Runs: the verb that shows the history, and what became of one run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from session_repair.cli.help import verb
from session_repair.cli.options import CONNECTION, examples, settings_from, with_options
from session_repair.cli.screen import show, show_data
from session_repair.errors import Exit, Refused
from session_repair.health.model import AtWork
from session_repair.health.queries import run_at_work
from session_repair.logs import notice
from session_repair.mongo.connection import connected
from session_repair.mongo.names import names_there
from session_repair.mongo.newest import newest
from session_repair.mongo.runs import DONE, PLANNED, UNDOING, UNDONE, Run
from session_repair.mongo.store import Store
from session_repair.repair.listing import lost_rows, rows_of_run
from session_repair.repair.outcomes import OUTCOMES
from session_repair.repair.outcomes import PLANNED as PLANNED_ROW
from session_repair.repair.preconditions import settings_of_run
from session_repair.reporting.as_json import document_told, json_told
from session_repair.reporting.history import LISTED, run_told, runs_table, trend
from session_repair.reporting.ndjson import row_line
from session_repair.settings import PLACES
from session_repair.typed import typed
from session_repair.wording import either, number_of

log = logging.getLogger(__name__)

MOST = 20  # runs in the list; as many fit on a screen


@verb(
    "runs",
    epilog=examples("runs", "runs last", "runs --watch", "runs last --rows --outcome failed"),
)
@click.argument("run_id", metavar="[RUN]", required=False)
@with_options(CONNECTION)
@click.option("--limit", type=click.IntRange(1), metavar="N", help=f"So many runs ({MOST}).")
@click.option("--json", "as_json", is_flag=True, help="All runs, or as many, as JSON.")
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
    limit: int | None,
    as_json: bool,
    watch: bool,
    verdict: bool,
    rows: bool,
    outcomes: tuple[str, ...],
    **options: Any,
) -> Exit:
    """The history of runs, the newest first; with RUN, one of them in full, as JSON.

    RUN is the id of a run, or the word last.
    """
    settings = settings_from(**options)
    of_one = "verdict" if verdict else "rows" if rows else ""
    require_one(run_id, listed=limit is not None or as_json, of_one=of_one, watch=watch)
    if verdict + rows + watch > 1:
        raise Refused("--verdict, --rows and --watch exclude each other. Give one of them.")
    if outcomes and not rows:
        raise Refused("--outcome is about rows. Add --rows.")
    with connected(settings) as store:
        if watch:
            for now in followed(lambda: run_at_work(store)):
                show([str(now)])
        elif run_id is None:
            list_runs(store, limit, as_json)
        elif rows:
            return list_rows(store, run_id, outcomes)
        elif verdict:
            return show_verdict(store, run_id)
        else:
            document = Run.find(store, run_id).read()
            show_data([json_told(document_told(document), is_ascii=False)])
    return Exit.CLEAN


def require_one(run_id: str | None, *, listed: bool, of_one: str, watch: bool) -> None:
    """Raise Refused where what is asked for does not go with a RUN, or without one."""
    if of_one and run_id is None:
        raise Refused(f"--{of_one} is about one run. Name it: runs RUN --{of_one}.")
    if watch and run_id is not None:
        raise Refused("--watch follows the run that is at work. Leave out RUN.")
    if listed and (run_id is not None or watch):
        raise Refused("--limit and --json are about the list of runs. Leave out RUN and --watch.")


def list_runs(store: Store, limit: int | None, as_json: bool) -> None:
    """Print a line for each run, the trend above them; or all of them as JSON."""
    documents = list(newest(store, {}, LISTED))
    at_work = run_at_work(store)
    now = None if at_work is None else at_work.id
    if as_json:
        told = [run_told(it, is_at_work=it["_id"] == now) for it in documents[:limit]]
        show_data([json_told(told, is_ascii=False)])
        return
    if not documents:
        there = names_there(store.database, store.settings.runs)
        notice(f"Database {store.database.name!r} holds no run. {there}".rstrip())
    most = limit or MOST
    show([*trend(documents, store.settings), *runs_table(documents[:most], now)])
    if len(documents) > most:
        notice(f"{most} of {len(documents)} runs. For more: --limit {len(documents)}")


def list_rows(store: Store, run_id: str, outcomes: Sequence[str]) -> Exit:
    """Print the rows of a run as they come; PARTIAL where its journal has lost some."""
    document = Run.find(store, run_id).read()
    store = store.using(settings_of_run(document, store.settings, PLACES))
    show_data(map(row_line, rows_of_run(store, document, outcomes)))
    if not (lost := lost_rows(store, document)):
        return Exit.CLEAN
    are = either(lost, "is lost or has", "are lost or have")
    log.warning("%s of its journal %s expired: not listed", number_of(lost, "row"), are)
    return Exit.PARTIAL


def show_verdict(store: Store, run_id: str) -> Exit:
    """Print the line of a run; the exit code that it ended with."""
    run, at_work = Run.find(store, run_id), run_at_work(store)
    document = run.read()
    ended = ended_verdict(run, document, at_work is not None and at_work.id == run.run_id)
    show(runs_table([document]))
    return ended


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
