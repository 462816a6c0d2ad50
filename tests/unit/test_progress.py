"""Progress where nobody watches: few lines, and the last one."""

from __future__ import annotations

import pytest

from session_repair.repair.progress import progress_of


@pytest.mark.parametrize(
    ("total", "batches", "lines"),
    [
        (83, [83], [83]),
        (2600, [250, 500, 750, 1000, 1250, 2200, 2450, 2600], [1000, 2200, 2600]),
        (9000, [4250, 4500, 5250, 9000], [4250, 5250, 9000]),  # of a run that is resumed
        (2000, [600, 1200], [1200]),  # of one that was stopped
        (0, [], []),
    ],
)
def test_a_line_is_told_for_each_thousand_sessions_and_for_the_last(
    capsys: pytest.CaptureFixture[str], total: int, batches: list[int], lines: list[int]
) -> None:
    with progress_of(total) as on_progress:
        for done in batches:
            on_progress(done)
    told = [f"Processing {total} sessions..."]
    told += [f"  Processed {done}/{total}..." for done in lines]
    assert capsys.readouterr().out.splitlines() == told
