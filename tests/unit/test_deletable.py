"""Deletable: which orphans and copies may go, and why others not, a truth table over one frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from session_repair.reasons import BARE, FILLED, IN_FLIGHT, MALFORMED, YOUNG
from session_repair.rules.deletable import copies, orphans
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


# By case: what is laid over an empty session of long ago, and why it may not go, if it may not.
CASES: dict[str, tuple[Row, str | None]] = {
    "old and empty": ({}, None),
    "in flight": ({"in_flight": True}, IN_FLIGHT),
    "without a count": ({"types": {"event_count": "missing"}}, None),
    "without pages": ({"types": {"pages": "missing"}}, None),
    "of null": ({"types": {"pages": "null", "event_count": "null"}}, None),
    "with neither": ({"types": {"pages": "missing", "event_count": "missing"}}, BARE),
    "of an unknown age": (dict.fromkeys(DATES), YOUNG),
    "of one known date": ({**dict.fromkeys(DATES), "last_event_at": NOW - 2 * DAY}, None),
    **{f"a day old by {name}": (dated(**{name: NOW - DAY}), YOUNG) for name in DATES},
    **{f"older by {name}": (dated(**{name: NOW - DAY - MS}), None) for name in DATES},
}
OF_COPIES: dict[str, tuple[Row, str | None]] = {
    "that names a page": ({"names_no_page": False}, FILLED),
    "that counts": ({"counts_nothing": False}, FILLED),
}


@pytest.mark.parametrize(
    ("choose", "code", "cases", "others"),
    [
        (orphans, "orphan_session", CASES, ("duplicate_session", "phantom_session")),
        (copies, "duplicate_session", CASES | OF_COPIES, ("orphan_session",)),
    ],
    ids=["orphans", "copies"],
)
def test_what_is_empty_old_and_at_rest_may_go_and_nothing_else(
    spark: SparkSession,
    choose: Callable[[DataFrame, datetime, timedelta], DataFrame],
    code: str,
    cases: dict[str, tuple[Row, str | None]],
    others: tuple[str, ...],
) -> None:
    rows = [{**row(code, **snippet), "session_id": name} for name, (snippet, _) in cases.items()]
    rows += [{**row(other), "session_id": f"another finding: {other}"} for other in others]
    malformed = row(code, "malformed")
    rows.append({**malformed, "session_id": "malformed"})
    chosen = choose(frame(spark, rows, CORRECTED), NOW, DAY)
    told = [(it["session_id"], it["kept_for"]) for it in chosen.collect()]
    expected = {name: why for name, (_, why) in cases.items()}
    # Of an orphan that is malformed there is no finding: nothing can be told of it.
    expected["malformed"] = None if code == "orphan_session" else MALFORMED
    assert dict(told) == expected
    assert len(told) == len(expected)
