"""What a test needs beside a MongoDB and the Spark of its own process: such a test is not fast.

It says so by ``@pytest.mark.needs(WHAT)``, or by a fixture that asks for the one named WHAT. What
starts a Spark in a process of its own requires the mark, so that no test can forget it.
"""

from __future__ import annotations

import pytest

NEEDS = {
    "airflow",  # in an environment of its own
    "browser",
    "cluster",  # of Spark, or a YARN
    "full_size",  # the demo's 45,291 sessions
    "many_runs",  # of Spark: minutes
    "notebook",  # its kernel
    "pip",  # which builds or installs something
    "replica_set",  # of three members
    "spark_process",  # a verb with Spark, as a user starts it
}
NOT_FAST = ("needs", "faults")


def mark(item: pytest.Item) -> None:
    """Gives a test the needs of its fixtures. Raises where it names one that is not known."""
    for what in NEEDS.intersection(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.needs(what))
    unknown = {it.args for it in item.iter_markers("needs")} - {(it,) for it in NEEDS}
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} needs {unknown}, which is none of {NEEDS}")


class Running:
    """The test that is running."""

    item: pytest.Item | None = None


def require(what: str) -> None:
    """Fails the test that is running if it is a fast one."""
    item = Running.item
    if item is not None and not any(item.get_closest_marker(it) for it in NOT_FAST):
        pytest.fail(f'{item.nodeid} does not have the mark: @pytest.mark.needs("{what}")')
