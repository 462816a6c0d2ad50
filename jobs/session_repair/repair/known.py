"""Known: what the report of a look-up can say, and what was counted beside what it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from session_repair.aggregates import shape_of
from session_repair.repair.report import OddType, Report, Symptoms, Totals
from session_repair.repair.summarize import OBSERVED
from session_repair.symptoms import MALFORMED, known_symptoms
from session_repair.verbs import DELETE_ORPHANS


def only_known(report: Report, sessions: int, empty: Mapping[str, int]) -> Report:
    """The report of a look-up: what it cannot know of the sessions that it did not read is None.

    How many are ``empty`` the server counted, those included that cannot be looked up. A correction
    is planned for what was read only, so all figures on corrections are known. Of malformed
    sessions those are told that it met, if any.
    """
    is_of_empty = report.verb != DELETE_ORPHANS
    least = 1 if is_of_empty else 2  # of pages and count are empty in the suspects
    codes = [it.code for it in known_symptoms(shape_of(report.settings)) if it.empty >= least]
    known = {**dict.fromkeys(OBSERVED), "sessions": sessions, **empty}
    totals = Totals(**{**asdict(report.totals), **known})
    met = {it.code: it.found or None for it in report.symptoms if it.code == MALFORMED}
    symptoms = [
        it if it.code in codes else replace(it, found=met.get(it.code)) for it in report.symptoms
    ]
    days = [
        replace(day, found={code: day.found[code] for code in codes if code in day.found})
        for day in report.days
    ]
    return replace(report, totals=totals, symptoms=tuple(symptoms), days=tuple(days))


def with_odd_ids(report: Report, sessions: Mapping[str, int], events: Mapping[str, int]) -> Report:
    """The report of a look-up, with those that the type of their session_id kept from it."""
    shape = shape_of(report.settings)
    met = {(it.collection, it.field, it.type): it for it in report.malformed}
    counted: dict[str, int] = {}
    for side, odd, named in (
        ("sessions", sessions, shape.in_sessions),
        ("events", events, shape.in_events),
    ):
        for kind, count in sorted(odd.items()):
            key = (report.settings[side], named("session_id"), kind)
            seen = met.get(key, OddType(*key, documents=0, samples=()))
            met[key] = replace(seen, documents=seen.documents + count)
        for name in (f"{side}_read", f"{side}_malformed"):
            counted[name] = (getattr(report.totals, name) or 0) + sum(odd.values())
    return replace(
        report,
        totals=replace(report.totals, **counted),
        symptoms=tuple(with_more_malformed(it, sum(sessions.values())) for it in report.symptoms),
        malformed=tuple(met.values()),
    )


def with_more_malformed(symptom: Symptoms, more: int) -> Symptoms:
    """The symptom; that of malformed sessions with those that were counted and not read."""
    if symptom.code != MALFORMED or not more:
        return symptom
    left = {MALFORMED: symptom.left.get(MALFORMED, 0) + more}
    return replace(symptom, found=(symptom.found or 0) + more, left=left)
