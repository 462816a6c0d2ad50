"""Resume a run: finish what an interrupted one left, from wherever it stopped. START HERE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from session_repair.cli.help import verb
from session_repair.cli.options import (
    CONNECTION,
    ENDING,
    WRITING,
    examples,
    run_command,
    with_options,
    with_told_ending,
)
from session_repair.cli.screen import show
from session_repair.logs import notice
from session_repair.mongo.runs import RESUMABLE, Run
from session_repair.mongo.store import Store
from session_repair.mongo.window import ActiveWindow
from session_repair.repair.execute import finish
from session_repair.repair.plan import plan_run
from session_repair.repair.preflight import before_plan
from session_repair.repair.report import Report
from session_repair.reporting.text import fix_report, plan_report
from session_repair.settings import Settings
from session_repair.spark.starting import starting_spark


def resume(settings: Settings, run_id: str) -> Report:
    """Plan again where the journal was not whole; then apply what has no outcome, and verify."""
    return finish(settings, run_id, RESUMABLE, plan_again)


def plan_again(store: Store, run: Run) -> None:
    with starting_spark("resume", store) as starting:
        document = run.read()
        window = ActiveWindow(**document["window"]) if "window" in document else None
        preflight = before_plan(store, document["verb"], window)
        notice(str(preflight))
        spark = starting.session(preflight.documents, run.run_id)
        plan_run(spark, store, preflight, run).release()


@verb(
    "resume",
    epilog=examples("resume last", "resume r20251103-031500-5f3a9c --break-lease"),
)
@click.argument("run_id", metavar="RUN")
@with_options(CONNECTION, ENDING, WRITING)
@with_options("plan_ttl", "max_changes", "max_delete", "allow_ttl")
@with_told_ending
def command(settings: Settings, run_id: str) -> Report:
    """Finish an interrupted run.

    RUN is the id of a run, or the word last.
    """
    settings = replace(settings, report=None)  # datasets are of the verbs that read
    report = resume(settings, run_id)
    show(plan_report(report) if report.outcomes is None else fix_report(report))
    return report


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
