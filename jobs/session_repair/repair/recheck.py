"""Again: look at the sessions of a run that ended, some time later. Did it stay repaired?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from session_repair.errors import Refused
from session_repair.mongo.connection import server_time
from session_repair.mongo.runs import DONE, Run
from session_repair.mongo.store import Store
from session_repair.repair.execute import planned_report
from session_repair.repair.preconditions import settings_of_run
from session_repair.repair.readback import read_back
from session_repair.repair.report import Report, Totals
from session_repair.settings import (
    DATA,
    OF_WINDOW,
    SEMANTIC,
    Settings,
    as_made,
    describe,
    revived,
)

MOST_NAMED = 10_000  # of more, a look at all sessions is cheaper than one at each


@dataclass(frozen=True)
class Again:
    """What became of a run's sessions; of those ``changed`` by others only their events tell."""

    report: Report
    settings: Settings  # to look at those with
    changed: int
    verb: str  # of the run


def look_again(store: Store, run_id: str) -> Again:
    """Hold each session that a finished run changed against what it made of it.

    A session that is put back is to be corrected once more. Raises Refused where the run has not
    ended, or its journal is not whole any more.
    """
    run = Run.find(store, run_id)
    document = run.read()
    if document["state"] != DONE:
        raise Refused(
            f"run {run.run_id} is {document['state']}, not {DONE}: there is no repair to look at "
            f"again. See {run.typed('runs')}"
        )
    settings = settings_of_run(document, store.settings, DATA)
    # What changed since may lie outside of the window that the run was about.
    asked = tuple(it for it in settings.asked if it not in OF_WINDOW)
    settings = replace(settings, asked=asked)
    made_with = as_made(document["settings"])
    planned_with = revived({name: made_with[name] for name in SEMANTIC})
    then = store.using(replace(settings, **planned_with))
    read = read_back(then, document, MOST_NAMED + 1)
    seen = read.verification(then)
    # What was found then is not what would be found now.
    planned = planned_report(document)
    totals = Totals(
        sessions=document["planned"],
        events=None,
        names_no_page=None,
        counts_nothing=None,
        potentially_empty=None,
        events_without_session=None,
        planned=seen.put_back,
        deferred=0,
    )
    symptoms = [
        replace(it, found=None, to_correct=0, deferred=0, samples=(), left={})
        for it in planned.symptoms
    ]
    names = read.moved_on
    return Again(
        report=replace(
            planned,
            verb="verify",
            settings=describe(settings),
            server_time=server_time(store),
            totals=totals,
            symptoms=tuple(symptoms),
            corrections=(),
            days=(),
            malformed=(),
            missing=(),
            verification=seen,
        ),
        settings=replace(
            settings, since=None, until=None, session_ids=names if len(names) <= MOST_NAMED else ()
        ),
        changed=seen.moved_on,
        verb=document["verb"],
    )
