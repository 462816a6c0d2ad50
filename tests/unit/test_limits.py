"""Limits: a plan as large as the limit passes, one larger by one session stops the run."""

from __future__ import annotations

import pytest

from session_repair.errors import BreakerTripped
from session_repair.repair.breakers import require_bounded
from session_repair.repair.report import Totals

HUNDRED = Totals(100, 700, 30, 30, 30, 0, planned=28, deferred=0)


@pytest.mark.parametrize("limit", ["28", "28%", "100%", None])
def test_a_plan_within_the_limit_passes(limit: str | None) -> None:
    require_bounded(28, limit, HUNDRED, "--max-changes")


@pytest.mark.parametrize(
    ("limit", "most"), [("27", 27), ("27%", 27), ("10", 10), ("5%", 5), ("0", 0)]
)
def test_a_plan_beyond_the_limit_stops_the_run_and_is_told(limit: str, most: int) -> None:
    with pytest.raises(BreakerTripped) as stopped:
        require_bounded(28, limit, HUNDRED, "--max-changes")
    assert str(stopped.value) == (
        f"28 of 100 sessions are in the plan, --max-changes {limit} allows {most}. "
        "Nothing was written. Look at the plan by a dry run with a higher limit."
    )
