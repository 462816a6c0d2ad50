"""All windows together find what a full run finds, of many shops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.test_window import check_windows, found_of  # noqa: F401
from tests.harness.documents import Db


@pytest.mark.parametrize("seed", range(2, 22))
def test_all_windows_together_find_what_a_full_run_finds_of_more(
    db: Db,
    found_of: Any,  # noqa: F811
    seed: int,
) -> None:
    check_windows(db, found_of, seed, may_be_any=bool(seed % 2))
