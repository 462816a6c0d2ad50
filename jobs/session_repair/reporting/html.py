"""Page: the report as one HTML file that needs nothing else, neither a network nor a script.

Only this module and ``charts`` import the libraries of the extra ``html``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from session_repair import __version__
from session_repair.aggregates import shape_of
from session_repair.repair.outcomes import WHY
from session_repair.repair.report import OTHER, Day, Report, Symptoms
from session_repair.reporting.as_json import value_told
from session_repair.reporting.charts import NARROW, WIDE, Timeline, timeline, timeline_chart
from session_repair.reporting.checks import blocks_of
from session_repair.reporting.deletions import deletable
from session_repair.reporting.formatting import name_of, name_of_key, printable, shown
from session_repair.reporting.story import (
    badge,
    figures,
    is_deletion,
    put_back,
    sessions,
    story,
    verdict,
)
from session_repair.reporting.text import odd_type_line
from session_repair.reporting.verdicts import left_alone
from session_repair.settings import SETTINGS
from session_repair.written import as_written

UNTOLD = ("asked", "reached_by", "named_by")  # settings that say how the run was asked for
SINCE_THEN = {
    "put_back": "put back to what they were after the repair",
    "moved_on": "changed further by live ingest after the repair",
    "gone": "deleted after the repair",
}


def report_page(report: Report) -> str:
    """The whole file."""
    if is_deletion(report):
        report = of_deletable(report)
    # Of what a look-up cannot count, that is none, there is no bar.
    found = sorted((it for it in report.symptoms if it.found), key=lambda it: -(it.found or 0))
    line = timeline(report.days)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            version=__version__,
            verdict=verdict(report),
            tone="clean" if report.is_green else "broken",
            badge=badge(report),
            story=story(report),
            figures=figures(report),
            found=found,
            absent=[symptom.code for symptom in report.symptoms if symptom.found == 0],
            meanings=meanings(report),
            bars={it.code: bar(it, found[0].found or 0) for it in found},
            line=line,
            charts=charts(line) if line else {},
            caption=caption(line) if line else None,
            key=key(report),
            is_deletion=is_deletion(report),
            other=OTHER,
            day_codes=day_codes(report),
            held_back=held_back(report),
            left=list(left_alone(report)),
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
    made.filters |= {"shown": shown, "whole": printable, "number": number}
    made.filters |= {"name": name_of, "key": name_of_key}
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


def key(report: Report) -> dict[str, str]:
    """What the colours of the charts stand for."""
    if is_deletion(report):
        return {"stay": deletable(report).many}
    if report.outcomes is None:
        return {"repair": "fix repairs", "wait": "in flight", "stay": "left as they are"}
    if not report.outcomes.is_whole or put_back(report):
        return {"repair": "planned to be repaired", "wait": "in flight", "stay": "left as they are"}
    return {"repair": "before the repair only", "wait": "in flight", "stay": "before and after"}


def bar(symptom: Symptoms, most: int) -> list[tuple[str, str]]:
    """The parts of its bar: their colour, and their length in percent of the longest bar."""
    stay = (symptom.found or 0) - symptom.to_correct - symptom.deferred
    parts = (("repair", symptom.to_correct), ("wait", symptom.deferred), ("stay", stay))
    return [(color, f"{count / most:.2%}") for color, count in parts if count]


def charts(line: Timeline) -> dict[str, Markup]:
    """The picture over time by the name of its size, of which the page shows the one that fits."""
    sizes = {"wide": WIDE, "narrow": NARROW}
    return {name: Markup(timeline_chart(line, size)) for name, size in sizes.items()}


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


def settings_of(report: Report) -> list[tuple[str, list[str]]]:
    """The settings of the run by name, in lines; what was not set, or is named as here, is not."""
    known = {name: it for name, it in report.settings.items() if name in SETTINGS}
    written = as_written({name: it for name, it in known.items() if name not in UNTOLD})
    return [
        (name, setting_lines(value))
        for name, value in sorted(written.items(), key=lambda it: it[0].lstrip("-"))
        if value not in (None, []) and not name.endswith(f".{value}")
    ]


def setting_lines(value: Any) -> list[str]:
    """The whole of a setting: of tables of the config file each one in a line."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, list) and all(isinstance(it, Mapping) for it in value):
        return [table_line(it) for it in value]
    return [", ".join(map(str, value)) if isinstance(value, list) else str(value)]


def table_line(table: Mapping[str, Any]) -> str:
    """A table of the config file in one line."""
    keys = (f"{key} = {json.dumps(it, default=value_told)}" for key, it in table.items())
    return ", ".join(keys)
