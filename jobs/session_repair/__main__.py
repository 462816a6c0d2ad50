"""The verbs that need no Spark: ``python -m session_repair apply|undo|runs …``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from session_repair.carry_out import (
    carry_out,
    require_fresh_plan,
    require_intact_plan,
    settings_of_run,
    working,
)
from session_repair.cli import (
    CONNECTION,
    ENDING,
    WRITING,
    Duration,
    run_command,
    settings_from,
    show,
    with_options,
    with_told_ending,
)
from session_repair.connection import connected, require_rights
from session_repair.errors import Exit
from session_repair.report import Report
from session_repair.runs import UNDONE, Run, list_runs
from session_repair.target import Target
from session_repair.text import fix_report, runs_table, undo_report
from session_repair.undo import survey_undo, undo_run


@click.group("session-repair")
def commands() -> None:
    """Apply a plan, undo a run, look at the history."""


@commands.command("apply")
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, ENDING, WRITING)
@click.option("--plan-ttl", type=Duration(), help="Refuse a plan older than this (24h).")
@with_told_ending
def apply(run_id: str, **options: Any) -> Report:
    """Carry out a planned run, that plan and no other."""
    settings = settings_from(**options)
    with connected(settings) as database:
        require_rights(database, settings)
        run = Run.find(database, settings, run_id)
        require_fresh_plan(database, settings, run)
        settings = settings_of_run(run.read(), settings)
        with working(run, settings) as (run, lease):
            require_intact_plan(database, settings, run)
            report = carry_out(database, settings, run, lease)
    show(fix_report(report))
    return report


@commands.command("undo")
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, WRITING)
@click.option("--apply", "is_apply", is_flag=True, help="Restore; without it nothing is written.")
def undo(run_id: str, is_apply: bool, **options: Any) -> Exit:
    """Put back the documents that a run changed or deleted; a dry run unless --apply is given."""
    settings = settings_from(**options)
    with connected(settings) as database:
        run = Run.find(database, settings, run_id)
        target = Target(database, settings_of_run(run.read(), settings))
        if not is_apply or run.read()["state"] == UNDONE:
            show(undo_report(survey_undo(target, run_id), is_apply))
            return Exit.CLEAN
        require_rights(database, settings)
        with working(run, settings) as (run, lease):
            undone = undo_run(target, run_id, lease)
            run.record(state=UNDONE, undo=undone.counts)
    show(undo_report(undone, is_apply))
    return Exit.CLEAN if undone.is_whole else Exit.PARTIAL


@commands.command("runs")
@click.argument("run_id", metavar="[RUN]", required=False)
@with_options(CONNECTION)
def runs(run_id: str | None, **options: Any) -> Exit:
    """The history of runs; with RUN, one of them in full, as JSON."""
    settings = settings_from(**options)
    with connected(settings) as database:
        if run_id is None:
            show(runs_table(list_runs(database, settings)))
        else:
            document = Run.find(database, settings, run_id).read()
            show([json.dumps(document, indent=2, default=str, ensure_ascii=False)])
    return Exit.CLEAN


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(commands, argv)


if __name__ == "__main__":
    raise SystemExit(main())
