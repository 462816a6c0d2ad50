"""What stands in this folder is a long test that kills, stalls or starves a real run."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the mark."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("faults")
