"""Metrics: the figures of a run, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from session_repair.reporting.ending import Ending


@dataclass(frozen=True)
class Figure:
    """One metric: its values by the value of its label, or one value under the label ''."""

    name: str
    meaning: str
    values: Mapping[str, float | None]  # None is not known, and left out
    label: str = ""
    common: Mapping[str, str] = field(default_factory=dict)  # labels of every value


def exposition(figures: Iterable[Figure]) -> str:
    """The figures in the text format; one without a known value is absent."""
    registry = CollectorRegistry()
    for figure in figures:
        known = {key: value for key, value in figure.values.items() if value is not None}
        if not known:
            continue
        labels = [*figure.common, *([figure.label] if figure.label else [])]
        gauge = Gauge(figure.name, figure.meaning, labels, registry=registry)
        for key, value in known.items():
            named = [*figure.common.values(), *([key] if figure.label else [])]
            (gauge.labels(*named) if labels else gauge).set(value)
    return generate_latest(registry).decode("utf-8")


def figures_of_run(ending: Ending) -> Iterator[Figure]:
    """What ``--metrics`` writes. A run that failed has no figures but the first three."""
    common = {"verb": ending.verb, "database": ending.database}

    def one(name: str, meaning: str, value: float | None) -> Figure:
        return Figure(f"session_repair_{name}", meaning, {"": value}, common=common)

    def by(label: str, name: str, meaning: str, values: Mapping[str, float | None]) -> Figure:
        return Figure(f"session_repair_{name}", meaning, values, label, common)

    seconds = (ending.ended - ending.began).total_seconds()
    yield one("verdict", "Exit code of the last run", int(ending.verdict))
    yield one("run_duration_seconds", "How long the last run took", seconds)
    yield one("run_end_timestamp_seconds", "When the last run ended", ending.ended.timestamp())
    if ending.report is None:
        return
    if window := ending.report.window:
        span = (window["until"] - window["since"]).total_seconds()
        yield one("window_seconds", "Length of the window; absent where all was read", span)
    totals, outcomes = ending.report.totals, ending.report.outcomes
    found = {symptom.code: symptom.found for symptom in ending.report.symptoms}
    yield one("sessions", "Sessions read", totals.sessions)
    yield one("events", "Events read", totals.events)
    yield by("code", "findings", "Findings before the run wrote, by code", found)
    yield one("planned", "Sessions to be corrected or deleted", totals.planned)
    yield one("deferred", "Sessions in flight, left for a later run", totals.deferred)
    if outcomes is not None:
        became = outcomes.by_name()
        yield by("outcome", "outcomes", "What became of the planned sessions", became)
