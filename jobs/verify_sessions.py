"""Verify sessions: find those whose stored aggregates do not match their events. START HERE."""

from __future__ import annotations

from collections.abc import Sequence

import click

from session_repair.cli.help import verb
from session_repair.cli.options import (
    CONNECTION,
    OUTPUT,
    SELECTION,
    examples,
    run_command,
    with_options,
    with_told_ending,
)
from session_repair.cli.screen import show
from session_repair.errors import Refused
from session_repair.logs import notice
from session_repair.mongo.connection import connected
from session_repair.mongo.rights import TO_LOOK_AGAIN, require_rights
from session_repair.mongo.runs import new_run_id
from session_repair.repair.preflight import before_plan
from session_repair.repair.recheck import look_again
from session_repair.repair.report import Report
from session_repair.repair.survey import survey
from session_repair.reporting.datasets import keep_findings, require_report_folder, write_datasets
from session_repair.reporting.text import again_report, verification_report
from session_repair.settings import Settings
from session_repair.spark.starting import starting_spark


def verify_run(settings: Settings, run_id: str) -> Report:
    """Look again at the sessions of a run; with Spark only at those that others changed since."""
    with connected(settings) as store:
        require_rights(store, TO_LOOK_AGAIN)
        again = look_again(store, run_id)
        show(again_report(again.report.run_id, again.verb, again.report))
    if not again.changed:
        return again.report
    changed = verify(again.settings)
    return max((again.report, changed), key=lambda report: report.verdict)


def verify(settings: Settings) -> Report:
    """Read, rebuild, diagnose; write nothing but the report."""
    with (
        connected(settings) as store,
        starting_spark("verify", store) as starting,
    ):
        preflight = before_plan(store, "verify")
        run_id = new_run_id(preflight.now)
        notice(str(preflight))
        spark = starting.session(preflight.documents, run_id)
        require_report_folder(spark, settings)
        found = survey(spark, store, preflight, "verify", run_id)
        keep_findings(found, settings)
        found.release()
        show(verification_report(found.report))
        write_datasets(spark, found.report, settings)
        return found.report


@verb(
    "verify",
    epilog=examples(
        "verify",
        "verify --scope all --json - --allow count_mismatch=20",
        "--master local[4] verify --since last-success --html report.html",
        "verify --run last",
    ),
)
@with_options(CONNECTION, SELECTION, OUTPUT)
@click.option("--run", "run_id", metavar="RUN", help="Only what this run changed, or the last.")
@with_options("allow")
@with_told_ending
def command(settings: Settings, run_id: str | None) -> Report:
    """Find sessions whose stored aggregates do not match their events; change nothing."""
    if run_id is None:
        return verify(settings)
    if settings.since or settings.until or settings.session_ids:
        raise Refused("--run names the sessions. Leave out --since, --until and --session-id.")
    if settings.allow:
        raise Refused("--run asks whether it stayed repaired. Leave out --allow.")
    return verify_run(settings, run_id)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
