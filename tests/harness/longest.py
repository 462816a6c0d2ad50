"""The files of tests that take longest: two workers are done soonest where these begin first."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the longest down, by what they run of Spark, kill, or wait for; the others take seconds.
LONGEST = [
    "tests/e2e/test_delete_orphans.py",
    "tests/e2e/test_write_protocol.py",
    "tests/e2e/test_airflow.py",
    "tests/e2e/test_shapes.py",
    "tests/e2e/test_declared_values.py",
    "tests/e2e/test_any_ids.py",
    "tests/e2e/test_dates.py",
    "tests/e2e/test_cluster.py",
    "tests/e2e/test_health.py",
    "tests/e2e/test_kill_and_resume.py",
    "tests/e2e/test_extremes.py",
    "tests/e2e/test_refusals.py",
    "tests/e2e/test_strategy.py",
    "tests/e2e/test_window.py",
    "tests/e2e/test_bounds.py",
    "tests/e2e/test_repair.py",
    "tests/e2e/test_every_value.py",
    "tests/e2e/test_undo.py",
    "tests/unit/test_properties.py",
    "tests/e2e/test_names.py",
    "tests/e2e/test_breakers.py",
]


def longest_first(items: list[pytest.Item]) -> None:
    """Put the tests of these files before the others; within a file their order stays."""
    place = {ROOT / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))
