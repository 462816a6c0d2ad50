"""Limits: a plan as large as the limit passes, one larger by one session stops the run."""

from __future__ import annotations

import pytest

from session_repair.repair.bounds import beyond_limit


@pytest.mark.parametrize("limit", ["28", "28%", "100%", None])
def test_a_plan_within_the_limit_passes(limit: str | None) -> None:
    assert beyond_limit("fix", 28, limit, 100) is None


@pytest.mark.parametrize(
    ("limit", "most"), [("27", 27), ("27%", 27), ("10", 10), ("5%", 5), ("0", 0)]
)
def test_a_plan_beyond_the_limit_stops_the_run_and_is_told(limit: str, most: int) -> None:
    for verb, option in (("fix", "--max-changes"), ("delete-orphans", "--max-delete")):
        told = f"28 of 100 sessions are in the plan, {option} {limit} allows {most}"
        assert beyond_limit(verb, 28, limit, 100) == told
