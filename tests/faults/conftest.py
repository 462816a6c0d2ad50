"""What stands in this folder kills, stalls or starves a real run, or tries very much."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """The folder is the mark."""
    item.add_marker("faults")
