"""Page: the report as one HTML file that needs nothing else, neither a network nor a script.

Only this module and ``charts`` import the libraries of the extra ``html``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from session_repair import __version__
from session_repair.aggregates import shape_of
from session_repair.errors import Exit
from session_repair.reasons import REASONS
from session_repair.repair.malformed import remedy, types_met
from session_repair.repair.outcomes import WHY
from session_repair.repair.report import OTHER, Day, Report
from session_repair.reporting.charts import Timeline, findings_chart, timeline, timeline_chart
from session_repair.reporting.checks import blocks_of
from session_repair.reporting.deletions import deletable, not_planned
from session_repair.reporting.formatting import name_of, name_of_key, printable, shown, window_line
from session_repair.reporting.text import odd_type_line
from session_repair.reporting.verdicts import exceeded_line, left_alone, missing_lines, way_on
from session_repair.symptoms import ORPHAN_EVENTS
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import either

SINCE_THEN = {
    "put_back": "put back to what they were after the repair",
    "moved_on": "changed further by live ingest after the repair",
    "gone": "deleted after the repair",
}


def report_page(report: Report) -> str:
    """The whole file."""
    if is_deletion(report):
        report = of_deletable(report)
    found = [symptom for symptom in report.symptoms if symptom.found]
    line = timeline(report.days)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            version=__version__,
            verdict=verdict(report),
            tone="clean" if report.is_green else "broken",
            story=story(report),
            figures=figures(report),
            found=found,
            absent=[symptom.code for symptom in report.symptoms if symptom.found == 0],
            meanings=meanings(report),
            findings_chart=Markup(findings_chart(found)) if found else None,
            line=line,
            timeline_chart=Markup(timeline_chart(line)) if line else None,
            caption=caption(line) if line else None,
            key=key(report),
            other=OTHER,
            day_codes=day_codes(report),
            held_back=held_back(report),
            left=[] if is_deletion(report) else list(left_alone(report)),
            odd_types=[printable(odd_type_line(it)) for it in report.malformed],
            why=WHY,
            settings=settings_of(report),
        )
    )


def meanings(report: Report) -> dict[str, str]:
    """By code, what its findings are."""
    shape = shape_of(report.settings)
    return {code: block.counted for block in blocks_of(shape) for code in block.codes(shape)}


def day_codes(report: Report) -> list[str]:
    """The codes that were found on any day."""
    found = {code for day in report.days for code in day.found}
    return [it.code for it in report.symptoms if it.code in found]


def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("session_repair.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "number": number, "name": name_of, "key": name_of_key}
    return made


def of_deletable(report: Report) -> Report:
    """The report of a deletion, which concerns sessions of one kind only."""
    code = deletable(report).code
    days = [(day, day.found.get(code, 0)) for day in report.days]
    return replace(
        report,
        symptoms=(report.symptom(code),),
        malformed=(),
        days=tuple(Day(day.day, count, 0, {code: count}) for day, count in days if count),
    )


def number(count: int) -> str:
    return f"{count:,}"


def sessions(count: int, kind: str = "") -> str:
    """The number and its noun: 1 session, 2 orphan sessions."""
    return f"{count:,} {kind}{either(count, 'session', 'sessions')}"


def subjects(count: int, report: Report) -> str:
    """The number and the noun of what the run is about."""
    if not is_deletion(report):
        return sessions(count)
    kind = deletable(report)
    return f"{count:,} {either(count, kind.one, kind.many)}"


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


def put_back(report: Report) -> int:
    """Changed sessions that somebody has made what they were before."""
    return report.verification.put_back if report.verification else 0


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


def is_deletion(report: Report) -> bool:
    return report.verb == DELETE_ORPHANS


def key(report: Report) -> dict[str, str]:
    """What the colours of the charts stand for."""
    if is_deletion(report):
        return {"stay": deletable(report).many}
    if report.outcomes is None:
        return {"repair": "fix repairs", "wait": "in flight", "stay": "left as they are"}
    if not report.outcomes.is_whole or put_back(report):
        return {"repair": "planned to be repaired", "wait": "in flight", "stay": "left as they are"}
    return {"repair": "before the repair only", "wait": "in flight", "stay": "before and after"}


def caption(line: Timeline) -> str:
    """What the picture over time cannot say."""
    step = f"Each bar stands for {line.step} days. " if line.step > 1 else ""
    outside = f"{sessions(line.outside)} began outside of this span. " if line.outside else ""
    return step + outside


def held_back(report: Report) -> list[tuple[int, str]]:
    """What was skipped or deferred, how often and why."""
    told = []
    if is_deletion(report):
        told = [(it.sessions, f"kept: events spell the id as {it.types}") for it in report.kept]
        told += [(count, REASONS[reason].why) for reason, count in not_planned(report).items()]
    else:
        told = [(it.sessions, f"some events spell the id as {it.types}") for it in report.kept]
    if report.totals.deferred and not is_deletion(report):
        settle = report.settings.get("settle", "the settle window")
        told.append((report.totals.deferred, f"deferred: active within {settle} of the run"))
    if report.outcomes:
        left = report.outcomes.left().items()
        told += [(count, f"{name}: {WHY[name]}") for name, count in left]
    for name, why in SINCE_THEN.items():
        count = getattr(report.verification, name) if report.verification else 0
        if count:
            told.append((count, f"{name}: {why}"))
    return told


def settings_of(report: Report) -> list[tuple[str, str]]:
    """The settings of the run by name; what was not set is left out."""
    return [
        (name, setting_text(value))
        for name, value in sorted(report.settings.items())
        if value not in (None, [], {}) and name not in ("asked", "reached_by", "named_by", "uri")
    ]


def setting_text(value: Any) -> str:
    """A setting as text; of a mapping of names those that differ."""
    if isinstance(value, Mapping):
        other = [f"{name} = {stored}" for name, stored in value.items() if name != stored]
        return ", ".join(other) or "as they are named here"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
