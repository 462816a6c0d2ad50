"""Carry out: take a run from its frozen plan to its verified end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from session_repair.apply import Target, apply_run
from session_repair.errors import RepairError
from session_repair.journal import journal_rows, plan_digest, write_journal
from session_repair.progress import progress_of
from session_repair.report import Outcomes, Verification
from session_repair.runs import Lease, Run
from session_repair.settings import Settings
from session_repair.survey import Survey
from session_repair.verify import balanced_outcomes, verify_sessions

Document = dict[str, Any]


@contextmanager
def leased(run: Run) -> Iterator[Lease]:
    """The lease while the run works; what ends the run early is written into its document."""
    lease = Lease.take(run.collection, run.run_id)
    try:
        yield lease
    except (RepairError, PyMongoError, KeyboardInterrupt) as error:
        run.record("interrupted", error=f"{type(error).__name__}: {error}"[:500])
        raise
    finally:
        lease.release()


def freeze(database: Database[Document], settings: Settings, found: Survey, run: Run) -> int:
    """Write the plan into the journal and check that it is whole; the number of its rows."""
    planned = found.report.totals.planned
    expires_at = found.report.server_time + settings.journal_ttl
    write_journal(journal_rows(found.corrected, run.run_id, expires_at), settings, database)
    run.planned(planned, plan_digest(database, settings.journal, run.run_id, planned))
    return planned


def carry_out(
    target: Target, run: Run, lease: Lease, planned: int
) -> tuple[Outcomes, Verification]:
    """Apply what has no outcome yet, then read back what the database says."""
    with progress_of(planned) as on_progress:
        apply_run(target, run, lease, on_progress)
    outcomes = balanced_outcomes(target, run.run_id, planned)
    return outcomes, verify_sessions(target, run.run_id)
