"""Malformed: which types were met that none can be judged by, and what can be done about them."""

from __future__ import annotations

from session_repair.aggregates import shape_of
from session_repair.dates import DATE, DATE_FIELDS, DATES
from session_repair.mongo.bson_types import TWICE
from session_repair.mongo.dates import LIKE
from session_repair.repair.report import OddType, Report
from session_repair.rules.usual_types import NO_UTF8

MET = 3  # types that are named
SIDES = ("sessions", "events")


def types_met(report: Report) -> str:
    """The types that most documents have and should not, each with its field and collection."""
    most = sorted(report.malformed, key=lambda it: -it.documents)[:MET]
    return "; ".join(type_met(it) for it in most)


def type_met(odd: OddType) -> str:
    return f"{odd.field} is {odd.type} in {odd.documents} of {odd.collection}"


def dates_of(odd: OddType) -> str:
    """What ``dates`` would have to be for the side to take dates of this type; empty for others."""
    if odd.field not in DATE_FIELDS:
        return ""
    return DATE if odd.type == DATE else odd.type.partition(LIKE)[2]


def dates_that_take(report: Report) -> list[str]:
    """The lines of the config file that take the dates which were met."""
    return [
        dates_line(kind, side)
        for side in SIDES
        for kind in DATES
        if any(
            it.collection == report.settings[side] and dates_of(it) == kind
            for it in report.malformed
        )
    ]


def dates_line(kind: str, side: str) -> str:
    return f'Or write dates = "{kind}" under [fields.{side}]'


def remedy(report: Report) -> str:
    """What can be done: names first, for mostly it is a wrong one."""
    of_no_kind = (NO_UTF8, TWICE)
    fields = {it.field for it in report.malformed if it.type not in of_no_kind}
    declared = {it.name for it in shape_of(report.settings).declared}
    sides = [
        f"[fields.{side}]"
        for side in SIDES
        if any(
            it.collection == report.settings[side] and it.field not in declared
            for it in report.malformed
        )
    ]
    told = []
    if sides:
        told.append(f"Name other fields under {' and '.join(sides)} in the config file.")
    if names := sorted(fields & declared):
        told.append(f"Declare {' and '.join(names)} otherwise under [[aggregates]], or not at all.")
    told += [f"{it}, which takes such dates." for it in dates_that_take(report)]
    others = [it for it in report.malformed if it.type not in of_no_kind and not dates_of(it)]
    if any(it.field in DATE_FIELDS for it in others):
        kinds = "dates that are neither BSON dates nor epoch numbers"
        told.append(f"Not supported yet are {kinds}: convert them.")
    if report.kept:
        told.append("Ids are joined by value and type: convert those of one side.")
    if "session_id" in fields:
        told.append("An id has to be one value, a number a whole one: convert others.")
    if any(it.type == NO_UTF8 for it in report.malformed):
        told.append("Text has to be UTF-8: convert it.")
    return " ".join([*told, "Or leave them alone, with a higher --max-malformed."])
