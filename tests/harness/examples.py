"""Examples of Hypothesis, many at once: to look at all costs Spark hardly more than at one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Example = TypeVar("Example")

# To shrink what many rows were made of takes longer than to look at it.
unshrunk = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


def examples(of: Callable[[int], st.SearchStrategy[Example]], number: int) -> list[Example]:
    """So many examples, the same each time, each by the strategy ``of`` its own number.

    So those of one number may have ids that no other has, and be put beside each other.
    """
    found: list[Example] = []
    numbers = count()

    @settings(unshrunk, max_examples=number, derandomize=True)
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        found.append(data.draw(of(next(numbers))))

    draw()
    return found
