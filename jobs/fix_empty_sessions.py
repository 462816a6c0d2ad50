"""Fix empty sessions: rebuild them from their events, without ever losing good data. START HERE."""

from __future__ import annotations

from collections.abc import Sequence

import click

from session_repair.cli.options import (
    CONNECTION,
    OUTPUT,
    SELECTION,
    WRITING,
    Duration,
    run_command,
    show,
    with_options,
    with_told_ending,
)
from session_repair.errors import Refused
from session_repair.mongo.connection import connected, require_rights, server_time
from session_repair.mongo.runs import Run, new_run_id
from session_repair.repair.execute import carry_out, working
from session_repair.repair.plan import plan_run, survey_corrections
from session_repair.repair.report import Report
from session_repair.repair.survey import preflight
from session_repair.reporting.datasets import keep_findings, write_datasets
from session_repair.reporting.text import dry_run_report, fix_report, plan_report
from session_repair.settings import Settings

DRY_RUN, PLAN, APPLY = "dry run", "plan", "apply"


def fix(settings: Settings, mode: str) -> Report:
    """Read, rebuild, diagnose, correct; then journal, apply and verify as far as the mode goes."""
    with connected(settings) as database:
        if mode == DRY_RUN:
            flight = preflight(database, settings)
            found = survey_corrections(database, settings, flight, new_run_id(flight.now))
            keep_findings(found, settings)
            show(dry_run_report(found.report))
            write_datasets(found, found.report, settings)
            return found.report
        require_rights(database, settings)
        run = Run.begin(database, settings, "fix", server_time(database))
        with working(run, settings) as (run, lease):
            found = plan_run(database, settings, run)
            keep_findings(found, settings)
            report, lines = found.report, plan_report(found.report)
            if mode == APPLY:
                report = carry_out(database, settings, run, lease)
                lines = fix_report(report)
            show(lines)
            write_datasets(found, report, settings)
        return report


@click.command("fix")
@with_options(CONNECTION, SELECTION, OUTPUT, WRITING)
@click.option("--plan", "is_plan", is_flag=True, help="Write the plan into the journal only.")
@click.option("--apply", "is_apply", is_flag=True, help="Write; without it nothing is written.")
@click.option("--max-changes", metavar="N|P%", help="Stop when more sessions are to be changed.")
@click.option("--confirm-delay", type=Duration(), help="Look twice, that long apart.")
@with_told_ending
def command(settings: Settings, is_plan: bool, is_apply: bool) -> Report:
    """Rebuild empty sessions from their events; a dry run unless --plan or --apply is given."""
    if is_plan and is_apply:
        raise Refused("--plan and --apply exclude each other; --apply plans and applies.")
    mode = APPLY if is_apply else PLAN if is_plan else DRY_RUN
    return fix(settings, mode)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
