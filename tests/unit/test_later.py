"""Later: of two runs that wrote one session, which one saw what the other had left."""

from __future__ import annotations

import pytest

from session_repair.repair.compare import Layout, PlannedSession
from session_repair.repair.later import observed
from tests.harness.model import FLAT, plan_bytes, session


def planned(count: int, new: int | None) -> PlannedSession:
    """The plan to count so many, or to delete the session."""
    change = None if new is None else {"event_count": new}
    document = {**session(FLAT), "event_count": count}
    return PlannedSession(plan_bytes(document, FLAT, change), Layout(FLAT, ()))


@pytest.mark.parametrize(
    ("mine", "other", "is_mine"),
    [
        ((3, 4), (0, 3), True),
        ((0, 3), (3, 4), False),
        ((0, 3), (0, 3), False),  # somebody emptied it in between
        ((0, 3), (0, 4), False),
        ((0, 3), (3, 0), False),  # each saw what the other left
        ((0, 3), (3, None), False),  # deleted later
        ((3, 4), (3, None), False),
    ],
)
def test_later_is_who_alone_observed_what_the_other_left(
    mine: tuple[int, int], other: tuple[int, int | None], is_mine: bool
) -> None:
    assert observed(planned(*mine), planned(*other)) is is_mine
