"""Malformed: which types were met that none can be judged by, and what can be done about them."""

from __future__ import annotations

from collections.abc import Callable

from session_repair.aggregates import shape_of
from session_repair.dates import DATE, DATE_FIELDS, DATES
from session_repair.fields import EVENT_FIELDS, SESSION_FIELDS
from session_repair.mongo.bson_types import TWICE
from session_repair.mongo.dates import LIKE
from session_repair.repair.report import OddType, Report
from session_repair.rules.usual_types import NO_UTF8

MET = 3  # types that are named
SIDES = ("sessions", "events")
BASICS = (*SESSION_FIELDS, *EVENT_FIELDS)


def types_met(report: Report) -> str:
    """The types that most documents have and should not, each with its field and collection."""
    most = sorted(report.malformed, key=lambda it: -it.documents)[:MET]
    return "; ".join(type_met(it) for it in most)


def type_met(odd: OddType) -> str:
    return f"{odd.field} is {odd.type} in {odd.documents} of {odd.collection}"


def in_documents(report: Report, odd: OddType) -> Callable[[str], str]:
    """What the documents of its side call a field."""
    shape = shape_of(report.settings)
    is_of_session = odd.collection == report.settings["sessions"]
    return shape.in_sessions if is_of_session else shape.in_events


def is_any(report: Report, odd: OddType, *names: str) -> bool:
    """Whether the field is one of these."""
    return odd.field in map(in_documents(report, odd), names)


def declared_of(report: Report, odd: OddType) -> list[str]:
    """The declared aggregates that keep the field, or read it, by the field that they are."""
    named = in_documents(report, odd)
    return [it.path for it in shape_of(report.settings).declared if named(it.name) == odd.field]


def dates_like(kind: str) -> str:
    """What ``dates`` would have to be for a side to take dates of this type; empty for others."""
    return DATE if kind == DATE else kind.partition(LIKE)[2]


def dates_of(report: Report, odd: OddType) -> str:
    """The same of a type that was met; empty where it is no date's."""
    return dates_like(odd.type) if is_any(report, odd, *DATE_FIELDS) else ""


def dates_that_take(report: Report) -> list[str]:
    """The lines of the config file that take the dates which were met."""
    return [
        dates_line(kind, side)
        for side in SIDES
        for kind in DATES
        if any(
            it.collection == report.settings[side] and dates_of(report, it) == kind
            for it in report.malformed
        )
    ]


def dates_line(kind: str, side: str) -> str:
    return f'Or write dates = "{kind}" under [fields.{side}]'


def remedy(report: Report) -> str:
    """What can be done: names first, for mostly it is a wrong one."""
    of_no_kind = (NO_UTF8, TWICE)
    of_a_kind = [it for it in report.malformed if it.type not in of_no_kind]
    sides = [
        f"[fields.{side}]"
        for side in SIDES
        if any(
            it.collection == report.settings[side] and is_any(report, it, "_id", *BASICS)
            for it in report.malformed
        )
    ]
    told = []
    if sides:
        told.append(f"Name other fields under {' and '.join(sides)} in the config file.")
    if names := sorted({name for it in of_a_kind for name in declared_of(report, it)}):
        told.append(f"Declare {' and '.join(names)} otherwise under [[aggregates]], or not at all.")
    told += [f"{it}, which takes such dates." for it in dates_that_take(report)]
    others = [it for it in of_a_kind if not dates_of(report, it)]
    if any(is_any(report, it, *DATE_FIELDS) for it in others):
        kinds = "dates that are neither BSON dates nor epoch numbers"
        told.append(f"Not supported yet are {kinds}: convert them.")
    if report.kept:
        told.append("Ids are joined by value and type: convert those of one side.")
    if any(is_any(report, it, "session_id") for it in of_a_kind):
        told.append("An id has to be one value, a number a whole one: convert others.")
    if any(it.type == NO_UTF8 for it in report.malformed):
        told.append("Text has to be UTF-8: convert it.")
    return " ".join([*told, "Or leave them alone, with a higher --max-malformed."])
