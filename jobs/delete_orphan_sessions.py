"""Delete orphan sessions: those that are empty, old and without any event. START HERE.

With ``--duplicates``: empty copies, beside the canonical document of their session_id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from session_repair.cli.options import (
    CONNECTION,
    ENDING,
    IDENTITY,
    WRITING,
    Duration,
    run_command,
    show,
    with_options,
    with_told_ending,
)
from session_repair.mongo.connection import (
    connected,
    require_rights,
    require_transactions,
    server_time,
)
from session_repair.mongo.runs import Run, new_run_id
from session_repair.repair.execute import carry_out, working
from session_repair.repair.plan import plan_run, survey_deletions
from session_repair.repair.report import DELETE_ORPHANS, Report
from session_repair.repair.survey import preflight
from session_repair.reporting.text import deletion_plan, fix_report
from session_repair.settings import Settings


def delete_orphans(settings: Settings, is_apply: bool) -> Report:
    """Read, diagnose, choose; with ``is_apply`` journal, look again, delete and verify."""
    with connected(settings) as database:
        if not is_apply:
            flight = preflight(database, settings)
            return survey_deletions(database, settings, flight, new_run_id(flight.now)).report
        require_rights(database, settings, "remove")
        require_transactions(database)
        run = Run.begin(database, settings, DELETE_ORPHANS, server_time(database))
        with working(run, settings) as (run, lease):
            plan_run(database, settings, run)
            return carry_out(database, settings, run, lease)


@click.command(DELETE_ORPHANS)
@with_options(CONNECTION, IDENTITY, ENDING, WRITING)
@click.option("--apply", "is_apply", is_flag=True, help="Delete; without it nothing is written.")
@click.option(
    "--duplicates",
    is_flag=True,
    default=None,
    help="Not orphans: empty copies of sessions that stand in another document too.",
)
@click.option("--min-age", type=Duration(), help="Only sessions older than this (24h).")
@click.option("--max-delete", metavar="N|P%", help="Stop when more are to be deleted (5%).")
@with_told_ending
def command(settings: Settings, is_apply: bool) -> Report:
    """Delete empty sessions without events, or empty copies; a dry run unless --apply is given."""
    settings = replace(settings, report=None)  # datasets are of verify and fix
    report = delete_orphans(settings, is_apply)
    show((fix_report if is_apply else deletion_plan)(report))
    return report


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
