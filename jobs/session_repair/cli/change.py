"""Change: what ``fix`` and ``delete-orphans`` do alike: look, plan, carry out, as the mode goes.

START HERE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from session_repair.cli.modes import APPLY, DRY_RUN, PLAN
from session_repair.cli.screen import show
from session_repair.logs import notice
from session_repair.mongo.connection import connected, require_bytewise
from session_repair.mongo.lease import Lease
from session_repair.mongo.rights import TO_PLAN
from session_repair.mongo.runs import DONE, PLANNED, Run, new_run_id
from session_repair.mongo.store import Store
from session_repair.repair.bounds import require_bounded
from session_repair.repair.execute import carry_out, new_lease, new_run
from session_repair.repair.plan import PLANNERS, plan_run
from session_repair.repair.preconditions import require_ready
from session_repair.repair.preflight import before_plan
from session_repair.repair.report import Report
from session_repair.reporting.datasets import keep_findings, require_report_folder, write_datasets
from session_repair.reporting.text import fix_report, plan_report
from session_repair.settings import Settings
from session_repair.spark.starting import starting_spark

Lines = Callable[[Report], Iterable[str]]


@dataclass(frozen=True)
class Work:
    """A verb that changes sessions: what it prints before it writes, or where it writes nothing."""

    verb: str
    heading: Lines
    dry_run: Lines


def change(work: Work, settings: Settings, mode: str) -> Report:
    """Read, rebuild, diagnose, decide; then journal, apply and read back as the mode goes."""
    with connected(settings) as store, ExitStack() as stack:
        if mode == DRY_RUN:
            return dry_run(work, store)
        require_ready(store, work.verb, TO_PLAN)
        report, run, lease = plan(work, store, stack, PLANNED if mode == PLAN else DONE)
        lines = plan_report(report)
        if mode == APPLY:
            report = carry_out(store, run, lease)
            lines = fix_report(report)
        show(lines)
        if settings.report:
            unlimited = replace(settings, max_time=None)  # the sessions are changed
            with starting_spark(work.verb, store.using(unlimited)) as starting:
                spark = starting.session(report.totals.planned, report.run_id)
                write_datasets(spark, report, settings)
        return report


def dry_run(work: Work, store: Store) -> Report:
    """What would be changed; nothing is written but the datasets."""
    look, _ = PLANNERS[work.verb]
    with starting_spark(work.verb, store) as starting:
        require_bytewise(*store.collections)
        preflight = before_plan(store, work.verb)
        run_id = new_run_id(preflight.now)
        notice(str(preflight))
        spark = starting.session(preflight.documents, run_id)
        require_report_folder(spark, store.settings)
        found = look(spark, store, preflight, run_id)
        require_bounded(found.report, store.settings)
        keep_findings(found, store.settings)
        found.release()
        show([*work.heading(found.report), *work.dry_run(found.report)])
        write_datasets(spark, found.report, store.settings)
        return found.report


def plan(work: Work, store: Store, stack: ExitStack, goal: str) -> tuple[Report, Run, Lease]:
    """What is to be changed, frozen in the journal of a new run, whose end is that of the work.

    With the ``goal`` PLANNED that is all it is for. Spark is gone before anything is applied.
    """
    with starting_spark(work.verb, store) as starting:
        preflight = before_plan(store, work.verb)
        lease = stack.enter_context(new_lease(store, preflight.now))
        spark = starting.session(preflight.documents, lease.run_id)
        require_report_folder(spark, store.settings)
        run = stack.enter_context(new_run(store, work.verb, preflight.now, lease, goal))
        notice(str(preflight))
        found = plan_run(spark, store, preflight, run)
        keep_findings(found, store.settings)
        found.release()
        show(work.heading(found.report))
    return found.report, run, lease
