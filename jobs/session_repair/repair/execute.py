"""Carry out: take a run from its frozen plan to its verified end, however often that is begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click
from pymongo.database import Database

from session_repair.errors import Refused
from session_repair.mongo.connection import clear_errors, server_time
from session_repair.mongo.lease import Lease, held_lease
from session_repair.mongo.runs import DONE, PLANNED, Run, planned_report, recorded_errors
from session_repair.mongo.target import Target
from session_repair.mongo.throttle import Pace
from session_repair.repair.apply import CORRECTION, apply_run
from session_repair.repair.delete import DELETION
from session_repair.repair.journal import plan_digest
from session_repair.repair.readback import balanced_outcomes, sessions_left, verify_sessions
from session_repair.repair.report import DELETE_ORPHANS, Report
from session_repair.reporting.progress import progress_of
from session_repair.settings import Settings, format_duration, revived, semantics

Document = dict[str, Any]

CHANGE_OF = {"fix": CORRECTION, DELETE_ORPHANS: DELETION}


@contextmanager
def working(run: Run, settings: Settings) -> Iterator[tuple[Run, Lease]]:
    """The run in this process's hands and its lease; what ends it early stands in its document.

    That the lease cannot be had is noted in a new run only: another process may be at work on an
    older one, or have ended it.
    """
    held = held_lease(run.collection, run.run_id, settings.break_lease)
    with recorded_errors(run), clear_errors(), held as lease:
        mine = run.held_by(lease.token)
        with recorded_errors(mine), clear_errors():
            click.echo(f"Run {run.run_id}", err=True)
            yield mine, lease


def carry_out(database: Database[Document], settings: Settings, run: Run, lease: Lease) -> Report:
    """Apply what has no outcome yet, then read back what the database says."""
    target, pace = Target(database, settings), Pace(database, settings, lease.taken)
    document = run.read()
    planned, change = document["planned"], CHANGE_OF[document["verb"]]
    with progress_of(planned) as on_progress, pace.interruptible():
        apply_run(target, run, lease, pace, change, on_progress)
    report = replace(
        planned_report(document),
        outcomes=balanced_outcomes(target, run.run_id, planned),
        verification=verify_sessions(target, run.run_id, change),
        left=sessions_left(target, run.run_id),
    )
    run.end(DONE, report)
    return report


def settings_of_run(document: Document, settings: Settings) -> Settings:
    """The settings to go on with a run: what its command line asked for, the rest as of now.

    Raises Refused when a setting that decided its plan is another one now.
    """
    again = replace(settings, **revived(document["asked"]))
    made_with, now = document["settings"], semantics(again)
    # A run of an earlier version does not know the settings that came later.
    differing = [name for name in now if made_with.get(name, now[name]) != now[name]]
    if differing:
        name = differing[0]
        raise Refused(
            f"run {document['_id']} was planned with {name} = {made_with[name]!r}, now it is "
            f"{now[name]!r}. Use the settings of the plan, or plan again."
        )
    return again


def require_intact_plan(database: Database[Document], settings: Settings, run: Run) -> None:
    """Raise Refused unless the plan in the journal is the one that was sealed."""
    document = run.read()
    if plan_digest(database, settings, run.run_id, document["planned"]) != document["digest"]:
        raise Refused(f"the plan of run {run.run_id} was edited since it was made. Plan again.")


def require_fresh_plan(database: Database[Document], settings: Settings, run: Run) -> None:
    """Raise Refused when the plan is not a plan that waits, or is an old one."""
    document = run.read()
    if document["state"] != PLANNED:
        raise Refused(
            f"run {run.run_id} is {document['state']}, not planned. "
            f"See ./spark-submit.sh runs {run.run_id}."
        )
    require_young_plan(database, settings, run)


def require_young_plan(database: Database[Document], settings: Settings, run: Run) -> None:
    """Raise Refused when the plan is older than ``--plan-ttl``."""
    age: timedelta = server_time(database) - run.read()["planned_at"]
    if age > settings.plan_ttl:
        raise Refused(
            f"the plan of run {run.run_id} is {age} old, --plan-ttl allows "
            f"{format_duration(settings.plan_ttl)}. Plan again."
        )
