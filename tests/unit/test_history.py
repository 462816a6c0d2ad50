"""The history: what is told of each run, in a line and as data."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from session_repair.reporting.history import run_told, runs_table
from session_repair.settings import Settings, describe

BEGAN = datetime(2025, 11, 3, 3, 15, tzinfo=timezone.utc)
RUN: dict[str, Any] = {
    "_id": "r20251103-031500-5f3a9c",
    "verb": "fix",
    "state": "done",
    "goal": "done",
    "verdict": 0,
    "settings": describe(Settings(uri="mongodb://h")),
    "started_at": BEGAN,
    "planned_at": BEGAN + timedelta(seconds=30),
    "updated_at": BEGAN + timedelta(days=9),  # by its undo, if it was undone
    "ended_at": BEGAN + timedelta(seconds=62, milliseconds=500),
    "planned": 12,
    "progress": {"counts": {"applied": 11, "failed": 1}, "first_at": BEGAN + timedelta(seconds=31)},
    "error": None,
}


def line(at_work: str | None = None, **changed: Any) -> list[str]:
    """The cells of the line of the run that is changed so; where one is empty it is missing."""
    head, row = runs_table([{**RUN, **changed}], at_work)
    names = ("run", "verb", "started (UTC)", "took", "scope", "ended", "changed")
    starts = [head.index(name) for name in names]
    return [row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]


def test_a_run_has_a_line() -> None:
    assert line() == [
        *("r20251103-031500-5f3a9c", "fix", "2025-11-03 03:15", "1m 2s"),
        *("empty", "clean (0)", "11 corrected, 1 failed"),
    ]


@pytest.mark.parametrize(
    ("changed", "ended"),
    [
        ({"verdict": 5}, "partial (5)"),
        ({"state": "planned", "goal": "planned", "verdict": None}, "planned"),
        ({"state": "planned", "verdict": None}, "broke off: planned"),
        ({"state": "applying", "verdict": None}, "broke off: applying"),
        (
            {"state": "planned", "verdict": 4, "error": "BreakerTripped: 9 are to be changed"},
            "stopped: stopped by a circuit breaker (4)",
        ),
        ({"state": "planning", "verdict": 2, "error": "Refused: no"}, "stopped: refused (2)"),
        (
            {"state": "applying", "verdict": 130, "error": "Interrupted: now"},
            "stopped: interrupted (130)",
        ),
        ({"state": "undone"}, "undone"),
        ({"state": "undoing"}, "broke off: undoing"),
        (
            {"state": "undoing", "verdict": 5, "error": "Stopped: --max-time"},
            "undo stopped: partial (5)",
        ),
    ],
)
def test_a_run_that_stopped_says_so(changed: dict[str, Any], ended: str) -> None:
    assert line(**changed)[5] == ended
    assert line(RUN["_id"], **changed)[5] == f"at work: {changed.get('state', 'done')}"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"progress": {"counts": {}}}, "0 of 12"),
        ({"progress": {}, "planned": None}, ""),
        (
            {"undo": {"counts": {"restored": 10, "changed since": 1}}},
            "11 corrected, 1 failed; undo: 1 changed since, 10 restored",
        ),
        ({"verb": "delete-orphans"}, "11 deleted, 1 failed"),
        ({"error": "Refused: a\x1b[2Jb"}, "11 corrected, 1 failed  Refused: a\\x1b[2Jb"),
    ],
)
def test_a_run_tells_what_it_changed(changed: dict[str, Any], told: str) -> None:
    assert line(**changed)[6] == told


@pytest.mark.parametrize(
    ("verb", "asked", "more", "scope"),
    [
        ("fix", {"scope": "all", "only": ["zero_events"]}, {}, "all, only zero_events"),
        ("fix", {"session_ids": ["a", "b"]}, {}, "empty, 2 sessions"),
        ("delete-orphans", {}, {}, "orphans"),
        ("delete-orphans", {"duplicates": True}, {}, "copies"),
        (
            *("fix", {"since": "1d"}),
            {"window": {"since": BEGAN - timedelta(days=1), "until": BEGAN}},
            "empty, since 2025-11-02 03:15",
        ),
        (
            *("fix", {"since": "1d", "until": BEGAN.isoformat()}),
            {"report": {"window": {"since": BEGAN - timedelta(days=1), "until": BEGAN}}},
            "empty, since 2025-11-02 03:15 until 2025-11-03 03:15",
        ),
        ("fix", {"since": "last-success"}, {"report": {"window": None}}, "empty"),
    ],
)
def test_a_run_tells_what_it_was_about(
    verb: str, asked: dict[str, Any], more: dict[str, Any], scope: str
) -> None:
    assert line(verb=verb, settings={**RUN["settings"], **asked}, **more)[4] == scope


@pytest.mark.parametrize(
    ("changed", "took"),
    [
        ({"ended_at": BEGAN + timedelta(milliseconds=250)}, "250ms"),
        # A plan that waited for a day: 30 s of planning, and 10 s of what came after.
        (
            {
                "goal": "planned",
                "progress": {"first_at": BEGAN + timedelta(days=1)},
                "ended_at": BEGAN + timedelta(days=1, seconds=10),
            },
            "40s",
        ),
        # Interrupted, and undone nine days later.
        (
            {
                "state": "undone",
                "ended_at": None,
                "progress": {"last_at": BEGAN + timedelta(seconds=45)},
            },
            "45s",
        ),
        ({"ended_at": None, "updated_at": BEGAN + timedelta(minutes=2)}, "2m"),
        ({"started_at": None}, "?"),
    ],
)
def test_a_run_tells_how_long_it_took(changed: dict[str, Any], took: str) -> None:
    assert line(**changed)[3] == took


def test_a_run_is_told_to_programs() -> None:
    window = {"since": BEGAN - timedelta(days=1), "until": BEGAN}
    changed = {"window": window, "undo": {"counts": {"restored": 11}}, "state": "undone"}
    assert run_told({**RUN, **changed}, is_at_work=False) == {
        "run_id": "r20251103-031500-5f3a9c",
        "verb": "fix",
        "version": None,
        "state": "undone",
        "is_at_work": False,
        "started_at": "2025-11-03T03:15:00.000Z",
        "planned_at": "2025-11-03T03:15:30.000Z",
        "ended_at": "2025-11-03T03:16:02.500Z",
        "took_seconds": 62.5,
        "scope": "empty",
        "only": [],
        "session_ids": [],
        "duplicates": False,
        "window": {"since": "2025-11-02T03:15:00.000Z", "until": "2025-11-03T03:15:00.000Z"},
        "verdict": 0,
        "error": None,
        "planned": 12,
        "outcomes": {"applied": 11, "failed": 1},
        "undone": {"restored": 11},
    }
