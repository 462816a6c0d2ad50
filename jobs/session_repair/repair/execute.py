"""Execute: take a run from its frozen plan to its verified end, however often that is begun."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from session_repair.errors import Exit
from session_repair.logs import notice
from session_repair.mongo.connection import clear_errors, connected
from session_repair.mongo.lease import Lease, held_lease
from session_repair.mongo.pace import Pace
from session_repair.mongo.rights import TO_PLAN
from session_repair.mongo.runs import (
    DONE,
    PLANNED,
    PLANNING,
    UNDONE,
    Run,
    counted,
    fence,
    is_partial,
    new_run_id,
    recorded_errors,
)
from session_repair.mongo.store import Store
from session_repair.ongoing import ongoing, since
from session_repair.repair.batches import Batches
from session_repair.repair.bounds import let, require_let
from session_repair.repair.changes import change_of
from session_repair.repair.journal import Plan
from session_repair.repair.outcomes import REFUSED
from session_repair.repair.preconditions import (
    require_intact_plan,
    require_ready,
    require_state,
    require_young_plan,
    settings_of_run,
)
from session_repair.repair.progress import progress_of
from session_repair.repair.readback import read_back
from session_repair.repair.report import Report
from session_repair.repair.undo import UndoReport, survey_undo
from session_repair.settings import Settings
from session_repair.wording import either, number_of

log = logging.getLogger(__name__)

Document = dict[str, Any]
Planning = Callable[[Store, Run], object]


# The command that goes on where a part of a run's document broke off.
FINISH = {"progress": ("resume",), "undo": ("undo", "--apply")}


def new_lease(store: Store, now: datetime) -> AbstractContextManager[Lease]:
    """The lease of a run that is still to begin; it has the id of that run."""
    return held_lease(store, new_run_id(now))


@contextmanager
def new_run(
    store: Store,
    verb: str,
    now: datetime,
    lease: Lease,
    goal: str = DONE,
) -> Iterator[Run]:
    """A run that begins now, and ends with its plan or with all done.

    What is refused before this leaves no document, and no database.
    """
    run = Run.begin(store, verb, now, lease.run_id, lease.token, goal)
    with working_on(store, run, lease, run.typed(*FINISH["progress"])):
        yield run


@contextmanager
def working(
    store: Store, run: Run, require: Callable[[Document], None], part: str = "progress"
) -> Iterator[tuple[Run, Lease]]:
    """A run that began earlier in this process's hands, and its lease; ``part`` is what moves.

    Until the lease is had another process may end or undo the run, so what its document is
    ``require``d to be is asked then. Neither that nor a lease that cannot be had is noted in it.
    """
    with held_lease(store, run.run_id) as lease:
        require(run.read())
        mine = run.held_by(lease.token, part)
        with working_on(store, mine, lease, run.typed(*FINISH[part])):
            yield mine, lease


@contextmanager
def working_on(store: Store, run: Run, lease: Lease, finish: str) -> Iterator[None]:
    """Within, this process works on the run; what ends it early stands in its document.

    Where it breaks off, the command to ``finish`` it with is told.
    """
    with recorded_errors(run, finish), clear_errors():
        notice(f"Run {run.run_id}")
        fence(store.runs, lease.token)
        try:
            yield
        except BaseException:
            lease.end_session()
            raise


def carry_out(store: Store, run: Run, lease: Lease) -> Report:
    """Apply what has no outcome yet, then read back what the database says."""

    def tell(line: str) -> None:
        notice(f"  {line}")
        run.record(**{"progress.waiting": line})

    document = run.read()
    pace = Pace(store, lease.taken, tell)
    step = change_of(document).apply(store, document)
    step.require_lasting(document)
    batches = Batches(store, run, lease, pace, step)
    with progress_of(document["planned"]) as on_progress, pace.interruptible(batches.is_atomic):
        batches.carry_out(on_progress)
    document = run.read()
    planned = planned_report(document)
    with ongoing(since("Reading back what was written")):
        again = read_back(store, document)
        is_part = is_partial(document["settings"], document["report"])
        verification = again.verification(store, None if is_part else planned.totals)
    log.info("read %s back as planned", number_of(verification.as_planned, "changed session"))
    report = replace(
        planned,
        outcomes=again.outcomes,
        verification=verification,
        left=again.left,
    )
    run.end(DONE, asdict(report), int(report.verdict))
    return report


def finish(
    settings: Settings, run_id: str, states: tuple[str, ...], plan: Planning | None = None
) -> Report:
    """Do what is left to do of a run that is in one of the states, and verify it.

    ``plan`` makes the plan of a run that has none yet; one that was for a plan only ends with it.
    Raises Refused on any other run.
    """
    with connected(settings) as store:
        run = Run.find(store, run_id)

        def require_fit(document: Document) -> None:
            require_state(run, document, states)
            require_let(run, document, settings)

        document = run.read()
        require_fit(document)
        store = store.using(settings_of_run(document, settings))
        require_ready(store, document["verb"], *([] if plan is None else [TO_PLAN]))
        if document["state"] != PLANNING:
            require_young_plan(store, run)
        with working(store, run, require_fit) as (run, lease):
            if plan is not None and run.read()["state"] == PLANNING:
                plan(store, run)
                if document.get("goal") == PLANNED:  # nobody has seen it
                    return planned_report(run.read())
            require_intact_plan(store, run)
            let(run, settings)
            return carry_out(store, run, lease)


def planned_report(document: Document) -> Report:
    """The report that was frozen with the plan of a run."""
    return replace(Report.from_document(document["report"]), outcomes=None, verification=None)


def with_refused_again(store: Store, run: Run) -> Document:
    """The run's document; an undo in which MongoDB refused sessions begins anew, for theirs."""
    document = run.read()
    if not counted(document, "undo").get(REFUSED):
        return document
    marked = {**Plan.of(document).rows(), "undo": {"$exists": True}}
    marks = dict.fromkeys(("undo", "undo_at", "error"), "")
    store.journal.update_many(marked, {"$unset": marks})
    run.record(undo={"after": "", "counts": {}, "token": run.token})
    return run.read()


def take_back(store: Store, run: Run, lease: Lease) -> UndoReport:
    """Restore what the run wrote; it is undone unless that is nothing, or journal rows are lost."""

    def tell(line: str) -> None:
        notice(f"  {line}")
        run.record(**{"undo.waiting": line})

    pace = Pace(store, lease.taken, tell)
    document = with_refused_again(store, run)
    step = change_of(document).undo(store, document)
    step.require_lasting(document)
    batches = Batches(store, run, lease, pace, step)
    with pace.interruptible(batches.is_atomic):
        batches.carry_out()
    undone = survey_undo(store, run.read())
    if undone.is_empty:
        return undone
    verdict = int(Exit.CLEAN if undone.is_whole else Exit.PARTIAL)
    refused = undone.counts.get(REFUSED, 0)
    if undone.lost:
        are = either(undone.lost, "is lost or has", "are lost or have")
        error = f"{number_of(undone.lost, 'row')} of the journal {are} expired"
        run.record(verdict=verdict, error=error)
    elif refused:
        again = run.typed("undo", "--apply")
        error = f"MongoDB refused to put back {number_of(refused, 'session')}. Try again: {again}"
        run.record(verdict=verdict, error=error)
    else:
        run.record(state=UNDONE, verdict=verdict, error=None)
    return undone
