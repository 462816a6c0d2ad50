"""Malformed: which types were met that none can be judged by, and what can be done about them."""

from __future__ import annotations

from session_repair.mongo.bson_types import TWICE
from session_repair.repair.report import OddType, Report
from session_repair.rules.usual_types import NO_UTF8

MET = 3  # types that are named
DATES = ("first_event_at", "last_event_at", "timestamp")


def types_met(report: Report) -> str:
    """The types that most documents have and should not, each with its field and collection."""
    most = sorted(report.malformed, key=lambda it: -it.documents)[:MET]
    return "; ".join(type_met(it) for it in most)


def type_met(odd: OddType) -> str:
    return f"{odd.field} is {odd.type} in {odd.documents} of {odd.collection}"


def remedy(report: Report) -> str:
    """What can be done: names first, for mostly it is a wrong one."""
    of_no_kind = (NO_UTF8, TWICE)
    fields = {it.field for it in report.malformed if it.type not in of_no_kind}
    sides = [
        f"[fields.{side}]"
        for side in ("sessions", "events")
        if any(it.collection == report.settings[side] for it in report.malformed)
    ]
    told = []
    if sides:
        told.append(f"Name other fields under {' and '.join(sides)} in the config file.")
    if fields.intersection(DATES):
        told.append("Not supported yet are dates other than BSON dates: convert them.")
    if "session_id" in fields:
        told.append("An id has to be one value, a number a whole one: convert others.")
    if any(it.type == NO_UTF8 for it in report.malformed):
        told.append("Text has to be UTF-8: convert it.")
    return " ".join([*told, "Or leave them alone, with a higher --max-malformed."])
