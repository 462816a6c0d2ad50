"""Properties: what holds for whatever sessions and events there are.

All examples stand in one frame, each with ids of its own, because a Spark job costs more than its
rows. The oracle is plain Python over plain values and shares nothing with the job.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from session_repair.rules.correct import correct
from session_repair.rules.diagnose import diagnose
from session_repair.rules.rebuild import rebuild
from tests.harness.examples import examples
from tests.unit.frames import (
    ALICE,
    BOB,
    NOW,
    SETTLE,
    Row,
    at,
    event,
    events_frame,
    session,
    sessions_frame,
)

EXAMPLES = 20
MARK = at("12:00")
HORIZON = at("12:00") + timedelta(days=1)
PAGES = ["/", "/a", "/b", "{}, w: {}"]
# Few instants, so that many events share one.
instants = st.sampled_from([at("10:00") + timedelta(milliseconds=number) for number in range(4)])
users = st.sampled_from([None, ALICE, ALICE, ALICE, BOB])


def session_ids(example: int) -> list[str]:
    return [f"{example}.{number}" for number in range(4)]


@st.composite
def event_lists(draw: Callable[..., Any], example: int) -> list[Row]:
    """Events with an _id of their own, in no order, so many that sessions see a page again."""
    rows: st.SearchStrategy[Row] = st.builds(
        dict,
        session_id=st.sampled_from([*session_ids(example), None]),
        timestamp=st.none() | instants | instants,
        page=st.sampled_from([None, *PAGES]),
        user=users,
        malformed=st.sampled_from([None] * 9 + ["page: int"]),
    )
    drawn = draw(st.lists(rows, min_size=25, max_size=60))
    numbers = draw(st.permutations(range(len(drawn))))
    return [event(100 * example + it, **row) for it, row in zip(numbers, drawn, strict=True)]


@st.composite
def session_lists(draw: Callable[..., Any], example: int) -> list[Row]:
    """Sessions with an _id of their own, some of them duplicates."""
    rows: st.SearchStrategy[Row] = st.builds(
        dict,
        session_id=st.sampled_from(session_ids(example)),
        event_count=st.none() | st.integers(0, 9),
        pages=st.none() | st.lists(st.sampled_from(PAGES), max_size=5),
        first_event_at=st.none() | instants,
        last_event_at=st.none() | instants,
        user=users,
    )
    drawn = draw(st.lists(rows, min_size=4, max_size=12))
    return [session(10_000 + 100 * example + it, **row) for it, row in enumerate(drawn)]


@pytest.fixture(scope="module")
def events() -> list[Row]:
    """Those of all examples."""
    return [row for rows in examples(event_lists, EXAMPLES) for row in rows]


@pytest.fixture(scope="module")
def sessions() -> list[Row]:
    return [row for rows in examples(session_lists, EXAMPLES) for row in rows]


def by_first_visit(row: Row) -> tuple[bool, datetime, str]:
    return (row["timestamp"] is None, row["timestamp"] or NOW, row["event_key"])


def oracle(events: list[Row]) -> dict[str | None, Row]:
    """What every session should be, worked out one event after the other."""
    should: dict[str | None, Row] = {}
    for it in sorted(events, key=by_first_visit):
        figures = should.setdefault(
            it["session_id"],
            {"event_count": 0, "malformed_events": 0, "pages": [], "dates": [], "users": set()},
        )
        if it["malformed"]:
            figures["malformed_events"] += 1
            continue
        figures["event_count"] += 1
        is_visit = it["page"] is not None and it["session_id"] is not None
        if is_visit and it["page"] not in figures["pages"]:
            figures["pages"].append(it["page"])
        if it["timestamp"] is not None:
            figures["dates"].append(it["timestamp"])
        if it["user"] is not None:
            figures["users"].add(it["user"])
    for figures in should.values():
        dates, named = figures.pop("dates"), figures.pop("users")
        figures["first"] = milliseconds(min(dates, default=None))
        figures["last"] = milliseconds(max(dates, default=None))
        figures["user"] = next(iter(named)) if len(named) == 1 else None
        figures["user_conflict"] = len(named) > 1
    return should


def milliseconds(date: datetime | None) -> int | None:
    return None if date is None else round(date.timestamp() * 1000)


def figures_of(rebuilt_sessions: DataFrame) -> dict[str | None, Row]:
    """The figures that the oracle has too, by session_id."""
    rows = rebuilt_sessions.select(
        "session_id",
        "rebuilt.event_count",
        "rebuilt.malformed_events",
        "rebuilt.pages",
        F.expr("unix_millis(rebuilt.first_event_at)").alias("first"),
        F.expr("unix_millis(rebuilt.last_event_at)").alias("last"),
        "rebuilt.user",
        "rebuilt.user_conflict",
    ).collect()
    figures = [row.asDict() for row in rows]
    by_session = {row.pop("session_id"): row for row in figures}
    assert len(by_session) == len(rows)
    return by_session


def test_rebuild_says_what_plain_python_says(spark: SparkSession, events: list[Row]) -> None:
    assert figures_of(rebuild(events_frame(spark, *events), MARK, HORIZON)) == oracle(events)


def test_neither_order_nor_partitions_of_the_events_change_what_is_rebuilt(
    spark: SparkSession, events: list[Row]
) -> None:
    chance = Random(1)
    shuffled = chance.sample(events, len(events))
    cut = chance.randrange(len(events))
    split = events_frame(spark, *shuffled[:cut]).union(events_frame(spark, *shuffled[cut:]))
    assert_df_equality(
        rebuild(events_frame(spark, *events), MARK, HORIZON),
        rebuild(split.repartition(3), MARK, HORIZON),
        ignore_row_order=True,
    )


def surveyed(
    spark: SparkSession, sessions: list[Row], events: list[Row], allow_shrink: bool
) -> dict[str, Row]:
    """The changes of each document, as plain values; None for none."""
    found = diagnose(
        sessions_frame(spark, *sessions),
        rebuild(events_frame(spark, *events), MARK, HORIZON),
        NOW,
        SETTLE,
    )
    # As the job does: without it the optimizer repeats every finding in every change.
    changes = correct(found, "all", allow_shrink).persist().where("session_key IS NOT NULL")
    dates = ("first_event_at", "last_event_at")
    rows = changes.select(
        "session_key",
        "changes.event_count",
        "changes.pages",
        "changes.user",
        *[F.expr(f"unix_millis(changes.{name})").alias(name) for name in dates],
    ).collect()
    return {row["session_key"]: row.asDict() for row in rows}


def corrected_session(document: Row, changes: Row) -> Row:
    """The document with the changes written into it."""
    written = {name: value for name, value in changes.items() if value is not None}
    for name in ("first_event_at", "last_event_at"):
        if name in written:
            written[name] = datetime.fromtimestamp(written[name] / 1000, tz=NOW.tzinfo)
    return {**document, **written}


def test_a_correction_never_shrinks_and_leaves_nothing_for_a_second_one(
    spark: SparkSession, sessions: list[Row], events: list[Row]
) -> None:
    changes = surveyed(spark, sessions, events, allow_shrink=False)
    after = [corrected_session(it, changes[it["session_key"]]) for it in sessions]
    for old, new in zip(sessions, after, strict=True):
        assert (new["event_count"] or 0) >= (old["event_count"] or 0)
        assert set(new["pages"] or []) >= set(old["pages"] or [])
    left = surveyed(spark, after, events, allow_shrink=False)
    for row in left.values():
        named = {name for name, value in row.items() if value is not None}
        assert named == {"session_key"}


def test_with_shrinking_a_corrected_session_is_what_its_events_say(
    spark: SparkSession, sessions: list[Row], events: list[Row]
) -> None:
    changes = surveyed(spark, sessions, events, allow_shrink=True)
    should = oracle(events)
    for document in sessions:
        same_session = [it for it in sessions if it["session_id"] == document["session_id"]]
        figures = should.get(document["session_id"])
        is_alone = len(same_session) == 1
        if not is_alone or not figures or figures["malformed_events"] or not figures["event_count"]:
            continue
        new = corrected_session(document, changes[document["session_key"]])
        assert new["event_count"] == figures["event_count"]
        assert set(new["pages"] or []) == set(figures["pages"])
        for field, figure in (("first_event_at", "first"), ("last_event_at", "last")):
            if figures[figure] is not None:
                assert milliseconds(new[field]) == figures[figure]
        if figures["user"] is not None:
            assert new["user"] == figures["user"]
