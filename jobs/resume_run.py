"""Resume a run: finish what an interrupted one left, from wherever it stopped. START HERE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from session_repair.cli.options import (
    CONNECTION,
    ENDING,
    WRITING,
    Duration,
    run_command,
    show,
    with_options,
    with_told_ending,
)
from session_repair.cli.spark import starting_spark
from session_repair.errors import Refused
from session_repair.mongo.connection import connected, require_rights
from session_repair.mongo.runs import PLANNING, RESUMABLE, Run
from session_repair.repair.execute import (
    carry_out,
    require_intact_plan,
    require_young_plan,
    settings_of_run,
    working,
)
from session_repair.repair.plan import plan_run
from session_repair.repair.report import Report
from session_repair.repair.survey import preflight
from session_repair.reporting.text import fix_report
from session_repair.settings import Settings


def resume(settings: Settings, run_id: str) -> Report:
    """Plan again where the journal was not whole; then apply what has no outcome, and verify."""
    with connected(settings) as database:
        require_rights(database, settings)
        run = Run.find(database, settings, run_id)
        document = run.read()
        if document["state"] not in RESUMABLE:
            raise Refused(
                f"run {run_id} is {document['state']}: there is nothing left of it to do."
            )
        settings = settings_of_run(document, settings)
        if document["state"] != PLANNING:
            require_young_plan(database, settings, run)
        with working(run, settings) as (run, lease):
            if run.read()["state"] == PLANNING:
                with starting_spark("resume", database, settings) as starting:
                    flight = preflight(database, settings)
                    spark = starting.session(flight.documents)
                    plan_run(spark, database, settings, flight, run)
            require_intact_plan(database, settings, run)
            return carry_out(database, settings, run, lease)


@click.command("resume")
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, ENDING, WRITING)
@click.option("--plan-ttl", type=Duration(), help="Refuse a plan older than this (24h).")
@with_told_ending
def command(settings: Settings, run_id: str) -> Report:
    """Finish an interrupted run."""
    settings = replace(settings, report=None)  # datasets are of verify and fix
    report = resume(settings, run_id)
    show(fix_report(report))
    return report


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
