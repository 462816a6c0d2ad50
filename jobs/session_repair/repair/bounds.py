"""Bounds: a plan that is larger than its limit is kept to be looked at, and not applied.

Unless the command line of ``apply`` or ``resume`` raises the limit; what a config file says by then
does not.
"""

from __future__ import annotations

from typing import Any

from session_repair.errors import BreakerTripped, Refused
from session_repair.kinds import limit_of
from session_repair.mongo.runs import PLANNED, PLANNING, STOPPED, Run
from session_repair.repair.changes import CHANGE_OF_VERB, change_of
from session_repair.repair.report import Report
from session_repair.settings import SETTINGS, Settings
from session_repair.wording import either, number_of

Document = dict[str, Any]


def beyond_limit(verb: str, planned: int, limit: str | None, sessions: int) -> str | None:
    """By how much a plan is larger than the limit of the verb; None where it is not."""
    if limit is None or planned <= (most := limit_of(limit, sessions)):
        return None
    are = either(planned, "is", "are")
    of_all = f"{planned} of {number_of(sessions, 'session')} {are} in the plan"
    return f"{of_all}, {option_of(verb)} {limit} allows {most}"


def option_of(verb: str) -> str:
    """The option that bounds the runs of a verb."""
    name = CHANGE_OF_VERB[verb].limit
    row = SETTINGS[name]
    return row.typed(name)


def beyond(report: Report, settings: Settings) -> str | None:
    """By how much the plan of this report is larger than the settings allow."""
    limit = getattr(settings, CHANGE_OF_VERB[report.verb].limit)
    return beyond_limit(report.verb, report.totals.planned, limit, report.totals.sessions)


def require_bounded(report: Report, settings: Settings) -> None:
    """Raise BreakerTripped when a dry run would plan more than is allowed."""
    if told := beyond(report, settings):
        raise BreakerTripped(
            f"{told}. Nothing was written. Look at the plan by a dry run with a higher limit."
        )


def stopped(run: Run, verb: str, told: str, planned: int) -> BreakerTripped:
    """The error of a plan that is larger than its limit."""
    look = run.typed("runs", "--rows")
    return BreakerTripped(
        f"{told}. No session is written. The plan is kept: apply it with {option_of(verb)} "
        f"{planned} if it is right after all. Look at it with: {look}"
    )


def require_let(run: Run, document: Document, given: Settings) -> None:
    """Raise BreakerTripped where the plan of a run is larger than its limit.

    That is the one it was planned with, or the one ``given`` on the command line now. Raises
    Refused on one of other runs.
    """
    verb, limits = document["verb"], {it.limit: it.verb for it in CHANGE_OF_VERB.values()}
    for name in given.asked:
        if limits.get(name, verb) != verb:
            option = option_of(limits[name])
            raise Refused(f"{option} is about {limits[name]}, run {run.run_id} is one of {verb}.")
    if document["state"] == PLANNING or "report" not in document:  # nor is one of old applied
        return
    sessions = document["report"]["totals"]["sessions"]
    told = beyond_limit(verb, document["planned"], limit_for(document, given), sessions)
    if told:
        raise stopped(run, verb, told, document["planned"])


def limit_for(document: Document, given: Settings) -> str | None:
    """The limit of a run that is to go on."""
    name = change_of(document).limit
    limit: str | None = document["report"]["settings"][name]
    return getattr(given, name) if name in given.asked else limit


def let(run: Run, given: Settings) -> None:
    """Say that a run that was stopped may go on, under the limit that lets it."""
    document = run.read()
    if document["state"] == STOPPED:
        name, limit = change_of(document).limit, limit_for(document, given)
        under = {f"{part}.{name}": limit for part in ("report.settings", "settings", "asked")}
        run.record(state=PLANNED, **under)
