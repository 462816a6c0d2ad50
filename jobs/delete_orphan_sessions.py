"""Delete orphan sessions: those that are empty, old and without any event. START HERE.

With ``--duplicates``: empty copies, beside the canonical document of their session_id.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from session_repair.cli.help import verb
from session_repair.cli.modes import APPLY, DRY_RUN, PLAN, mode_of, with_modes
from session_repair.cli.options import (
    CONNECTION,
    IDENTITY,
    OUTPUT,
    WRITING,
    examples,
    run_command,
    with_options,
    with_told_ending,
)
from session_repair.cli.screen import show
from session_repair.logs import notice
from session_repair.mongo.connection import connected, require_bytewise
from session_repair.mongo.lease import Lease
from session_repair.mongo.rights import TO_PLAN
from session_repair.mongo.runs import DONE, PLANNED, Run, new_run_id
from session_repair.mongo.store import Store
from session_repair.repair.bounds import require_bounded
from session_repair.repair.execute import carry_out, new_lease, new_run
from session_repair.repair.plan import plan_run, survey_deletions
from session_repair.repair.preconditions import require_ready
from session_repair.repair.preflight import before_plan
from session_repair.repair.report import Report
from session_repair.reporting.datasets import keep_findings, require_report_folder, write_datasets
from session_repair.reporting.deletions import deletion_heading, deletion_plan
from session_repair.reporting.text import fix_report, plan_report
from session_repair.settings import Settings
from session_repair.spark.starting import starting_spark
from session_repair.verbs import DELETE_ORPHANS


def delete_orphans(settings: Settings, mode: str) -> Report:
    """Read, diagnose, choose; then journal, look again, delete and read back as the mode goes."""
    with connected(settings) as store, ExitStack() as stack:
        if mode == DRY_RUN:
            return dry_run(store)
        require_ready(store, DELETE_ORPHANS, TO_PLAN)
        report, run, lease = plan(store, stack, PLANNED if mode == PLAN else DONE)
        lines = plan_report(report)
        if mode == APPLY:
            report = carry_out(store, run, lease)
            lines = fix_report(report)
        show(lines)
        if settings.report:
            unlimited = replace(settings, max_time=None)  # the deletion is done
            with starting_spark(DELETE_ORPHANS, store.using(unlimited)) as starting:
                spark = starting.session(report.totals.planned, report.run_id)
                write_datasets(spark, report, settings)
        return report


def dry_run(store: Store) -> Report:
    """What would be deleted; nothing is written but the datasets."""
    with starting_spark(DELETE_ORPHANS, store) as starting:
        require_bytewise(*store.collections)
        preflight = before_plan(store, DELETE_ORPHANS)
        run_id = new_run_id(preflight.now)
        notice(str(preflight))
        spark = starting.session(preflight.documents, run_id)
        require_report_folder(spark, store.settings)
        found = survey_deletions(spark, store, preflight, run_id)
        require_bounded(found.report, store.settings)
        keep_findings(found, store.settings)
        found.release()
        show([*deletion_heading(found.report), *deletion_plan(found.report)])
        write_datasets(spark, found.report, store.settings)
        return found.report


def plan(store: Store, stack: ExitStack, goal: str) -> tuple[Report, Run, Lease]:
    """What is to be deleted, frozen in the journal of a new run, whose end is that of the work.

    With the ``goal`` PLANNED that is all it is for. Spark is gone before anything is applied.
    """
    with starting_spark(DELETE_ORPHANS, store) as starting:
        preflight = before_plan(store, DELETE_ORPHANS)
        lease = stack.enter_context(new_lease(store, preflight.now))
        spark = starting.session(preflight.documents, lease.run_id)
        require_report_folder(spark, store.settings)
        run = stack.enter_context(new_run(store, DELETE_ORPHANS, preflight.now, lease, goal))
        notice(str(preflight))
        found = plan_run(spark, store, preflight, run)
        keep_findings(found, store.settings)
        found.release()
        show(deletion_heading(found.report))
    return found.report, run, lease


@verb(
    DELETE_ORPHANS,
    epilog=examples(
        "delete-orphans",
        "delete-orphans --plan --duplicates",
        "delete-orphans --apply --min-age 7d",
    ),
)
@with_options(CONNECTION, IDENTITY, OUTPUT, WRITING)
@with_modes("Delete; without it nothing is deleted.")
@with_options("duplicates", "min_age", "max_delete")
@with_told_ending
def command(settings: Settings, is_plan: bool, is_apply: bool) -> Report:
    """Delete empty sessions without events, or empty copies; a dry run unless --plan or --apply is
    given.
    """
    return delete_orphans(settings, mode_of(is_plan, is_apply))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
