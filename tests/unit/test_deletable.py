"""Deletable: which orphans and which copies may go, a truth table over one frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from session_repair.rules.deletable import deletable_copies, deletable_orphans
from session_repair.rules.schemas import CORRECTED, FINDING, STORED
from tests.unit.frames import NOW, Row, at, frame, session

DAY = timedelta(days=1)
MS = timedelta(milliseconds=1)
DATES = ("created_at", "first_event_at", "last_event_at")


def row(
    code: str,
    *more: str,
    in_flight: bool = False,
    names_no_page: bool = True,
    counts_nothing: bool = True,
    **snippet: Any,
) -> Row:
    """A corrected row of an empty session of long ago that shows these findings."""
    document = session(event_count=0, pages=[], **snippet)
    nothing = dict.fromkeys(FINDING.fieldNames())
    return {
        **dict.fromkeys(CORRECTED.fieldNames()),
        "session_key": document["session_key"],
        "created_at": document["created_at"],
        "stored": {name: document[name] for name in STORED.fieldNames()},
        "in_flight": in_flight,
        "names_no_page": names_no_page,
        "counts_nothing": counts_nothing,
        "findings": [{**nothing, "code": it, "action": "report"} for it in (code, *more)],
    }


def dated(**dates: datetime | None) -> Row:
    return {**dict.fromkeys(DATES, at("09:00")), **dates}


# By case: what is laid over an empty session of long ago, and whether it may go.
CASES: dict[str, tuple[Row, bool]] = {
    "old and empty": ({}, True),
    "in flight": ({"in_flight": True}, False),
    "without a count": ({"types": {"event_count": "missing"}}, True),
    "without pages": ({"types": {"pages": "missing"}}, True),
    "of null": ({"types": {"pages": "null", "event_count": "null"}}, True),
    "with neither": ({"types": {"pages": "missing", "event_count": "missing"}}, False),
    "of an unknown age": (dict.fromkeys(DATES), False),
    "of one known date": ({**dict.fromkeys(DATES), "last_event_at": NOW - 2 * DAY}, True),
    **{f"a day old by {name}": (dated(**{name: NOW - DAY}), False) for name in DATES},
    **{f"older by {name}": (dated(**{name: NOW - DAY - MS}), True) for name in DATES},
}
OF_COPIES: dict[str, tuple[Row, bool]] = {
    "that names a page": ({"names_no_page": False}, False),
    "that counts": ({"counts_nothing": False}, False),
}


@pytest.mark.parametrize(
    ("choose", "code", "cases", "others"),
    [
        (deletable_orphans, "orphan_session", CASES, ("duplicate_session", "phantom_session")),
        (deletable_copies, "duplicate_session", CASES | OF_COPIES, ("orphan_session",)),
    ],
    ids=["orphans", "copies"],
)
def test_what_is_empty_old_and_at_rest_may_go_and_nothing_else(
    spark: SparkSession,
    choose: Callable[[DataFrame, datetime, timedelta], DataFrame],
    code: str,
    cases: dict[str, tuple[Row, bool]],
    others: tuple[str, ...],
) -> None:
    rows = [{**row(code, **snippet), "session_id": name} for name, (snippet, _) in cases.items()]
    rows += [{**row(other), "session_id": f"another finding: {other}"} for other in others]
    malformed = row(code, "malformed")
    rows.append({**malformed, "session_id": "malformed"})
    chosen = choose(frame(spark, rows, CORRECTED), NOW, DAY).select("session_id").collect()
    expected = {name for name, (_, may_go) in cases.items() if may_go}
    # Of an orphan that is malformed there is no finding: nothing can be told of it.
    expected |= {"malformed"} if code == "orphan_session" else set()
    assert {it["session_id"] for it in chosen} == expected
    assert len(chosen) == len(expected)
