"""Story: what the page says before its tables: a verdict, a badge, sentences and figures."""

from __future__ import annotations

from session_repair.errors import Exit
from session_repair.repair.malformed import remedy, types_met
from session_repair.repair.report import Report
from session_repair.reporting.deletions import deletable
from session_repair.reporting.formatting import window_line
from session_repair.reporting.verdicts import exceeded_line, missing_lines, way_on
from session_repair.symptoms import ORPHAN_EVENTS
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import either


def verdict(report: Report) -> str:
    """What a reader needs to know if they read one line only."""
    planned = report.totals.planned
    if report.outcomes is None:
        if report.malformed_beyond:
            return "It cannot be told whether all is right"
        if planned:
            done = "deleted" if is_deletion(report) else "repaired"
            return f"{subjects(planned, report)} can be {done}"
        if not report.totals.sessions:
            return "There are no sessions to check"
        if report.is_named_left:
            return "What was asked for is not all right, and is left alone"
        return f"Nothing is to be {'deleted' if is_deletion(report) else 'repaired'}"
    applied, planned = report.outcomes.applied, report.outcomes.planned
    done = "Deleted" if is_deletion(report) else "Repaired"
    if not planned:
        if report.is_named_left:
            return "What was asked for is not all right, and is left alone"
        return f"Nothing was to be {done.lower()}"
    if put_back(report):
        were = either(put_back(report), "was", "were")
        return (
            f"{done}: {subjects(applied, report)}, but {put_back(report):,} {were} put back since"
        )
    if applied < planned:
        return f"{done}: {applied:,} of {subjects(planned, report)}"
    return f"{done}: {subjects(planned, report)}"


def badge(report: Report) -> str:
    """How the run ended, in a word or two."""
    if report.verdict is Exit.PARTIAL:
        return "Partial"
    if report.verdict is Exit.FIXABLE_REMAINS:
        return "Not clean"
    if not report.is_green:
        return "Left alone" if report.is_named_left else "Not found"
    if report.outcomes is not None:
        return "Done"
    if report.totals.planned:
        return "Not deleted yet" if is_deletion(report) else "Let pass"
    return "Clean"


def story(report: Report) -> list[str]:
    """The sentences below the verdict: what was done, and what remains."""
    totals = report.totals
    told = list(window_line(report))
    if report.malformed_beyond:
        told.append(f"{report.malformed_beyond}: {types_met(report)}. {remedy(report)}")
    told += [line.removeprefix("⚠️  ") + "." for line in missing_lines(report)]
    told += [f"{exceeded_line(it)}." for it in report.exceeded]
    if totals.events is None:
        told.append(
            f"Of {sessions(totals.sessions)} the empty ones were compared with their events."
        )
    else:
        events = f"{totals.events:,} {either(totals.events, 'event', 'events')}"
        told.append(f"{sessions(totals.sessions)} and {events} were compared.")
    if report.outcomes is None:
        told.append("Nothing was written to any session.")
        if totals.planned:
            plan = f"apply {report.run_id}" if report.is_frozen else ""
            verb = report.verb if is_deletion(report) else "fix"
            told.append(f"{plan or f'{verb} --apply'} does it.")
    elif report.verdict is not Exit.CLEAN:
        told.append(f"Not everything was done: {way_on(report)}.")
    if totals.deferred and not is_deletion(report):
        wait = either(totals.deferred, "waits", "wait")
        told.append(f"{sessions(totals.deferred)} in flight {wait} for a later run.")
    without = 0 if is_deletion(report) else totals.events_without_session
    if without:
        ids = report.symptom(ORPHAN_EVENTS).found or 0
        events = f"{without:,} {either(without, 'event', 'events')}"
        told.append(f"No session has the {ids:,} session {either(ids, 'id', 'ids')} of {events}.")
    orphans = 0 if is_deletion(report) else report.symptom("orphan_session").found
    if orphans:
        remain = either(orphans, "remains", "remain")
        told.append(f"{sessions(orphans, 'orphan ')} {remain}, which no event could fill.")
    return told


def figures(report: Report) -> list[tuple[str, int, int | None]]:
    """The figures that stand out: what they count, before, and after where that was looked at."""
    totals, checked = report.totals, report.verification
    empty = checked.empty_remaining if checked else None
    told: list[tuple[str, int | None, int | None]] = [
        ("Sessions", totals.sessions, None),
        ("Events", totals.events, None),
        ("Empty sessions", totals.potentially_empty, empty),
    ]
    known = [(name, count, after) for name, count, after in told if count is not None]
    if report.outcomes is None:
        planned = "To be deleted" if is_deletion(report) else "Repairable"
        return [*known, (planned, totals.planned, None)]
    done = "Deleted" if is_deletion(report) else "Repaired"
    return [*known, (done, report.outcomes.applied, None)]


def subjects(count: int, report: Report) -> str:
    """The number and the noun of what the run is about."""
    if not is_deletion(report):
        return sessions(count)
    kind = deletable(report)
    return f"{count:,} {either(count, kind.one, kind.many)}"


def sessions(count: int, kind: str = "") -> str:
    """The number and its noun: 1 session, 2 orphan sessions."""
    return f"{count:,} {kind}{either(count, 'session', 'sessions')}"


def put_back(report: Report) -> int:
    """Changed sessions that somebody has made what they were before."""
    return report.verification.put_back if report.verification else 0


def is_deletion(report: Report) -> bool:
    return report.verb == DELETE_ORPHANS
