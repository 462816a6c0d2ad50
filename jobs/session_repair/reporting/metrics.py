"""Metrics: the figures of a run, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from session_repair.reporting.ending import Ending

PREFIX = "session_repair_"


@dataclass(frozen=True)
class Figure:
    """One metric: its value, or its values by the value of its label. None is not known."""

    common: Mapping[str, str]  # labels of every value
    name: str  # without the prefix
    meaning: str
    values: float | Mapping[str, float | None] | None
    label: str = ""


def exposition(figures: Iterable[Figure]) -> str:
    """The figures in the text format; one without a known value is absent."""
    registry = CollectorRegistry()
    for figure in figures:
        values = figure.values if isinstance(figure.values, Mapping) else {"": figure.values}
        known = {key: value for key, value in values.items() if value is not None}
        if not known:
            continue
        labels = [*figure.common, *([figure.label] if figure.label else [])]
        gauge = Gauge(PREFIX + figure.name, figure.meaning, labels, registry=registry)
        for key, value in known.items():
            named = [*figure.common.values(), *([key] if figure.label else [])]
            (gauge.labels(*named) if labels else gauge).set(value)
    return generate_latest(registry).decode("utf-8")


def figures_of_run(ending: Ending) -> Iterator[Figure]:
    """What ``--metrics`` writes. A run that failed has no figures but the first three."""
    figure = partial(Figure, {"verb": ending.verb, "database": ending.database})
    seconds = (ending.ended - ending.began).total_seconds()
    yield figure("verdict", "Exit code of the last run", int(ending.verdict))
    yield figure("run_duration_seconds", "How long the last run took", seconds)
    yield figure("run_end_timestamp_seconds", "When the last run ended", ending.ended.timestamp())
    if ending.report is None:
        return
    if window := ending.report.window:
        span = (window["until"] - window["since"]).total_seconds()
        yield figure("window_seconds", "Length of the window; absent where all was read", span)
    totals, outcomes = ending.report.totals, ending.report.outcomes
    found = {symptom.code: symptom.found for symptom in ending.report.symptoms}
    yield figure("sessions", "Sessions read", totals.sessions)
    yield figure("events", "Events read", totals.events)
    without = totals.events_without_session
    yield figure("events_without_session", "Events that belong to no session", without)
    yield figure("findings", "Findings before the run wrote, by code", found, "code")
    malformed = {"sessions": totals.sessions_malformed, "events": totals.events_malformed}
    yield figure("malformed", "Those read that have a wrong type", malformed, "of")
    yield figure("planned", "Sessions to be corrected or deleted", totals.planned)
    yield figure("deferred", "Sessions in flight, left for a later run", totals.deferred)
    if outcomes is not None:
        became = outcomes.by_name()
        yield figure("outcomes", "What became of the planned sessions", became, "outcome")
