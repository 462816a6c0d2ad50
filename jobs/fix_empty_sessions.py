"""Fix empty sessions: rebuild them from their events, without ever losing good data. START HERE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
from pymongo.database import Database

from session_repair.apply import Target
from session_repair.carry_out import carry_out, freeze, leased
from session_repair.cli import (
    CONNECTION,
    OUTPUT,
    SELECTION,
    run_command,
    settings_from,
    show,
    with_options,
    write_json,
)
from session_repair.connection import connected, require_rights
from session_repair.datasets import write_datasets
from session_repair.errors import Exit
from session_repair.report import Report
from session_repair.runs import Run
from session_repair.settings import Settings
from session_repair.spark import spark_session
from session_repair.survey import Survey, preflight, survey
from session_repair.text import dry_run_report, fix_heading, fix_report


def fix(settings: Settings, is_apply: bool) -> Report:
    """Read, rebuild, diagnose, correct; with ``is_apply`` journal, apply and verify."""
    with connected(settings) as database:
        if is_apply:
            require_rights(database, settings)
        flight = preflight(database, settings)
        spark = spark_session("session-repair fix", flight.documents)
        found = survey(spark, database, settings, flight, "fix")
        show(fix_heading(found.report))
        report = write(database, settings, found) if is_apply else found.report
        if settings.report:
            write_datasets(spark, found.corrected, report, settings)
        return report


def write(database: Database[dict[str, Any]], settings: Settings, found: Survey) -> Report:
    """Freeze the plan in the journal, let the server apply it, and read back what became of it."""
    run = Run.begin(database[settings.runs], found.report)
    with leased(run) as lease:
        planned = freeze(database, settings, found, run)
        outcomes, verification = carry_out(Target(database, settings), run, lease, planned)
        report = replace(found.report, outcomes=outcomes, verification=verification)
        run.end("done", report.verdict)
        return report


@click.command("fix")
@with_options(CONNECTION, SELECTION, OUTPUT)
@click.option("--apply", "is_apply", is_flag=True, help="Write; without it nothing is written.")
def command(is_apply: bool, **options: Any) -> Exit:
    """Rebuild empty sessions from their events; a dry run unless --apply is given."""
    settings = settings_from(**options)
    report = fix(settings, is_apply)
    show(fix_report(report) if is_apply else dry_run_report(report))
    if settings.json:
        write_json(report, settings.json)
    return report.verdict


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
