"""Confirm: what two looks plan alike stays planned, anything else waits for the next run."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from session_repair.rules.confirm import confirm
from session_repair.rules.schemas import CHANGES, CORRECTED, FINDING, STORED
from tests.unit.frames import Row, at, frame, oid, session

NO_CHANGE: Row = dict.fromkeys(CHANGES.fieldNames())
TWO = {**NO_CHANGE, "event_count": 2, "pages": ["/home", "/cart"]}


def row(number: int, changes: Row | None, *findings: tuple[str, str | None], **snippet: Any) -> Row:
    """A corrected row, of these changes and findings, each of an action and a reason."""
    document = session(**{"event_count": 0, "pages": [], **snippet})
    nothing = dict.fromkeys(FINDING.fieldNames())
    told = [{**nothing, "code": "zero_events", "action": it, "why": why} for it, why in findings]
    return {
        **dict.fromkeys(CORRECTED.fieldNames()),
        "session_key": oid(number),
        "stored": {name: document[name] for name in STORED.fieldNames()},
        "in_flight": False,
        "names_no_page": True,
        "counts_nothing": True,
        "changes": changes,
        "findings": told,
    }


CORRECT, REPORT = ("correct", None), ("report", "shrink")
DEFERRED = ("defer", "in_flight")
# By case: the earlier look, or none; the later one; what is left of that.
CASES: dict[str, tuple[Row | None, Row, Row]] = {
    "alike": (row(1, TWO, CORRECT), row(1, TWO, CORRECT, REPORT), row(1, TWO, CORRECT, REPORT)),
    "not there before": (None, row(2, TWO, CORRECT, REPORT), row(2, None, DEFERRED, REPORT)),
    "not planned before": (
        row(3, None, REPORT),
        row(3, TWO, CORRECT),
        row(3, None, DEFERRED),
    ),
    "another count to write": (
        row(4, {**TWO, "event_count": 1}, CORRECT),
        row(4, TWO, CORRECT),
        row(4, None, DEFERRED),
    ),
    "another page to write": (
        row(5, {**TWO, "pages": ["/home"]}, CORRECT),
        row(5, TWO, CORRECT),
        row(5, None, DEFERRED),
    ),
    "stored otherwise": (
        row(6, TWO, CORRECT, event_count=1),
        row(6, TWO, CORRECT),
        row(6, None, DEFERRED),
    ),
    "stored at another date": (
        row(7, TWO, CORRECT, last_event_at=at("10:06")),
        row(7, TWO, CORRECT),
        row(7, None, DEFERRED),
    ),
    "stored as null": (
        row(8, TWO, CORRECT, pages=None),
        row(8, TWO, CORRECT, pages=None),
        row(8, TWO, CORRECT, pages=None),
    ),
    "healed since": (row(9, TWO, CORRECT), row(9, None), row(9, None)),
}


def test_what_two_looks_do_not_plan_alike_is_deferred(spark: SparkSession) -> None:
    earlier = [before for before, _, _ in CASES.values() if before]
    later = [now for _, now, _ in CASES.values()]
    # What the later look has not is nobody's.
    gone = row(10, TWO, CORRECT)
    confirmed = confirm(frame(spark, later, CORRECTED), frame(spark, [*earlier, gone], CORRECTED))
    assert confirmed.columns == CORRECTED.fieldNames()
    names = {now["session_key"]: name for name, (_, now, _) in CASES.items()}
    found = {
        names[it["session_key"]]: judged(it.asDict(recursive=True)) for it in confirmed.collect()
    }
    assert found == {name: judged(left) for name, (*_, left) in CASES.items()}


def judged(corrected: Row) -> tuple[Any, list[tuple[str, str | None]]]:
    """The changes of a row, and what is done of each finding."""
    return corrected["changes"], [(it["action"], it["why"]) for it in corrected["findings"]]
