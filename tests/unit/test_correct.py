"""Correct: what is written, and what becomes of every finding."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from session_repair.reasons import BARE, DISAGREE, FILLED, REASONS, YOUNG
from session_repair.rules.correct import correct
from session_repair.rules.diagnose import diagnose
from session_repair.rules.schemas import CHANGES, CORRECTED
from tests.harness.table import CODES, SYMPTOMS
from tests.unit.frames import (
    ALICE,
    BOB,
    NOW,
    SETTLE,
    Row,
    assert_rows,
    at,
    malformed_events,
    oid,
    rebuilt,
    rebuilt_frame,
    session,
    sessions_frame,
    shape,
)

Case = tuple[Row, Row | None]
EMPTY: Row = {
    "event_count": 0,
    "pages": [],
    "first_event_at": None,
    "last_event_at": None,
    "user": None,
}
WHOLE: Row = {
    "event_count": 2,
    "pages": ["/home", "/cart"],
    "first_event_at": at("10:00"),
    "last_event_at": at("10:05"),
    "user": ALICE,
}


def corrected(
    spark: SparkSession,
    cases: dict[str, Case],
    scope: str = "all",
    allow_shrink: bool = False,
    only: tuple[str, ...] = (),
) -> DataFrame:
    """The corrected frame of one session for each case, its actions as 'code: action'."""
    documents = [
        session(number, session_id=case, **document)
        for number, (case, (document, _)) in enumerate(cases.items())
    ]
    events = {case: rebuilt(**says) for case, (_, says) in cases.items() if says is not None}
    found = diagnose(sessions_frame(spark, *documents), rebuilt_frame(spark, **events), NOW, SETTLE)
    action = F.transform("findings", lambda it: F.concat_ws(": ", it["code"], it["action"]))
    planned = correct(found, scope, allow_shrink, only)
    return planned.withColumn("actions", action)


def writes(case: str, *actions: str, **changes: Any) -> Row:
    """The row of a case: what is written, the other fields left alone; nothing if none is named."""
    nothing = dict.fromkeys(CHANGES.fieldNames())
    return {
        "session_id": case,
        "changes": {**nothing, **changes} if changes else None,
        "actions": list(actions),
    }


def test_a_corrected_session_has_the_shape_of_the_schema(spark: SparkSession) -> None:
    found = diagnose(sessions_frame(spark), rebuilt_frame(spark), NOW, SETTLE)
    assert shape(correct(found, "empty", False).schema) == shape(CORRECTED)


def test_every_change_mends_a_symptom_and_no_other_symptom_is_mended() -> None:
    mended = {it.code: it.mended_by for it in SYMPTOMS if it.mended_by}
    assert set(mended.values()) == set(CHANGES.fieldNames())
    assert set(CODES) - set(mended) == {
        "user_conflict",
        "duplicate_session",
        "orphan_session",
        "phantom_session",
        "orphan_events",
        "malformed",
    }


ALL_CORRECTED = (
    "empty_pages: correct",
    "zero_events: correct",
    "first_event_mismatch: correct",
    "last_event_mismatch: correct",
    "user_mismatch: correct",
)


def test_in_the_scope_empty_an_empty_session_is_rebuilt_whole_and_others_are_left(
    spark: SparkSession,
) -> None:
    cases: dict[str, Case] = {
        "empty": (EMPTY, {}),
        "absent": ({**EMPTY, "event_count": None, "pages": None}, {}),
        "no pages": ({"pages": [], "event_count": 1, "user": BOB}, {}),
        "no count": ({"event_count": 0, "pages": ["/home"]}, {}),
        "other figures": ({"event_count": 1, "pages": ["/home"], "user": BOB}, {}),
        "sound": ({}, {}),
        "orphan": (EMPTY, None),
    }
    assert_rows(
        corrected(spark, cases, scope="empty"),
        writes("empty", *ALL_CORRECTED, **WHOLE),
        writes("absent", *ALL_CORRECTED, **WHOLE),
        writes(
            "no pages",
            "empty_pages: correct",
            "count_mismatch: correct",
            "user_mismatch: correct",
            pages=["/home", "/cart"],
            event_count=2,
            user=ALICE,
        ),
        writes(
            "no count",
            "zero_events: correct",
            "pages_missing: correct",
            event_count=2,
            pages=["/home", "/cart"],
        ),
        writes(
            "other figures",
            "count_mismatch: report",
            "pages_missing: report",
            "user_mismatch: report",
        ),
        writes("sound"),
        writes("orphan", "orphan_session: report"),
    )


def test_in_the_scope_all_every_mismatch_is_corrected_alone(spark: SparkSession) -> None:
    cases: dict[str, Case] = {
        "empty": (EMPTY, {}),
        "count": ({"event_count": 1}, {}),
        "pages": ({"pages": ["/home"]}, {}),
        "first later": ({"first_event_at": at("09:59:59.999")}, {}),
        "last earlier": ({"last_event_at": at("10:06")}, {}),
        "user": ({"user": BOB}, {}),
        "conflict": ({}, {"user": None, "user_conflict": True}),
        "phantom": ({}, None),
    }
    assert_rows(
        corrected(spark, cases),
        writes("empty", *ALL_CORRECTED, **WHOLE),
        writes("count", "count_mismatch: correct", event_count=2),
        writes("pages", "pages_missing: correct", pages=["/home", "/cart"]),
        writes("first later", "first_event_mismatch: correct", first_event_at=at("10:00")),
        writes("last earlier", "last_event_mismatch: correct", last_event_at=at("10:05")),
        writes("user", "user_mismatch: correct", user=ALICE),
        writes("conflict", "user_conflict: report"),
        writes("phantom", "phantom_session: report"),
    )


ALL_REPORTED = tuple(code.replace("correct", "report") for code in ALL_CORRECTED)


def test_only_the_named_findings_are_mended_and_an_empty_session_whole_or_not_at_all(
    spark: SparkSession,
) -> None:
    cases: dict[str, Case] = {
        "empty": (EMPTY, {}),
        "no pages": ({"pages": [], "user": BOB}, {}),
        "two": ({"event_count": 1, "last_event_at": at("10:00")}, {}),
        "date": ({"last_event_at": at("10:00")}, {}),
    }
    date, count = "last_event_mismatch: {}", "count_mismatch: {}"
    no_pages = {"pages": WHOLE["pages"], "user": ALICE}
    assert_rows(
        corrected(spark, cases, only=("count_mismatch", "user_mismatch")),
        writes("empty", *ALL_REPORTED),
        writes("no pages", "empty_pages: report", "user_mismatch: report"),
        writes("two", count.format("correct"), date.format("report"), event_count=2),
        writes("date", date.format("report")),
    )
    assert_rows(
        corrected(spark, cases, only=("zero_events", "last_event_mismatch")),
        writes("empty", *ALL_CORRECTED, **WHOLE),
        writes("no pages", "empty_pages: report", "user_mismatch: report"),
        writes("two", count.format("report"), date.format("correct"), last_event_at=at("10:05")),
        writes("date", date.format("correct"), last_event_at=at("10:05")),
    )
    assert_rows(
        corrected(spark, cases, scope="empty", only=("empty_pages",)),
        writes("empty", *ALL_CORRECTED, **WHOLE),
        writes("no pages", "empty_pages: correct", "user_mismatch: correct", **no_pages),
        writes("two", count.format("report"), date.format("report")),
        writes("date", date.format("report")),
    )


SHRUNK: dict[str, Case] = {
    "count": ({"event_count": 3}, {}),
    "pages": ({"pages": ["/x", "/home", "/cart"]}, {}),
    "pages both ways": ({"pages": ["/x", "/cart"]}, {}),
    "pages twice": ({"pages": ["/home", "/home", "/cart"]}, {}),
    "pages twice in another order": ({"pages": ["/cart", "/home", "/cart"]}, {}),
    "pages twice, one missing": ({"pages": ["/cart", "/cart"]}, {}),
    "pages twice in an empty session": ({"event_count": 0, "pages": ["/cart", "/cart"]}, {}),
    "dates within": (
        {"event_count": 3, "first_event_at": at("09:00"), "last_event_at": at("11:00")},
        {},
    ),
    "dates beyond": (
        {"event_count": 3, "first_event_at": at("10:01"), "last_event_at": at("10:04")},
        {},
    ),
    "dates absent": ({"event_count": 3, "first_event_at": None, "last_event_at": None}, {}),
    "empty pages": ({"event_count": 3, "pages": []}, {}),
}


def test_no_count_is_lowered_no_page_dropped_and_dates_only_widen(spark: SparkSession) -> None:
    dates = {"first_event_at": at("10:00"), "last_event_at": at("10:05")}
    count = "count_mismatch: report"
    assert_rows(
        corrected(spark, SHRUNK),
        writes("count", count),
        writes("pages", "pages_extra: report"),
        # Its own order, then what it lacks.
        writes(
            "pages both ways",
            "pages_missing: correct",
            "pages_extra: report",
            pages=["/x", "/cart", "/home"],
        ),
        # A page that stands twice is dropped no more than any other.
        writes("pages twice", "pages_extra: report"),
        writes("pages twice in another order", "pages_extra: report"),
        writes(
            "pages twice, one missing",
            "pages_missing: correct",
            "pages_extra: report",
            pages=["/cart", "/cart", "/home"],
        ),
        writes(
            "pages twice in an empty session",
            "zero_events: correct",
            "pages_missing: correct",
            "pages_extra: report",
            event_count=2,
            pages=["/cart", "/cart", "/home"],
        ),
        writes(
            "dates within", count, "first_event_mismatch: report", "last_event_mismatch: report"
        ),
        writes(
            "dates beyond",
            count,
            "first_event_mismatch: correct",
            "last_event_mismatch: correct",
            **dates,
        ),
        writes(
            "dates absent",
            count,
            "first_event_mismatch: correct",
            "last_event_mismatch: correct",
            **dates,
        ),
        writes("empty pages", "empty_pages: correct", count, pages=["/home", "/cart"]),
    )


def test_where_shrinking_is_allowed_the_events_alone_decide(spark: SparkSession) -> None:
    both = ("count_mismatch: correct", "first_event_mismatch: correct")
    dates = {
        "event_count": 2,
        "first_event_at": at("10:00"),
        "last_event_at": at("10:05"),
    }
    pages = ["/home", "/cart"]
    assert_rows(
        corrected(spark, SHRUNK, allow_shrink=True),
        writes("count", "count_mismatch: correct", event_count=2),
        writes("pages", "pages_extra: correct", pages=pages),
        writes("pages both ways", "pages_missing: correct", "pages_extra: correct", pages=pages),
        writes("pages twice", "pages_extra: correct", pages=pages),
        writes("pages twice in another order", "pages_extra: correct", pages=pages),
        writes(
            "pages twice, one missing",
            "pages_missing: correct",
            "pages_extra: correct",
            pages=pages,
        ),
        writes(
            "pages twice in an empty session",
            "zero_events: correct",
            "pages_missing: correct",
            "pages_extra: correct",
            event_count=2,
            pages=pages,
        ),
        writes("dates within", *both, "last_event_mismatch: correct", **dates),
        writes("dates beyond", *both, "last_event_mismatch: correct", **dates),
        writes("dates absent", *both, "last_event_mismatch: correct", **dates),
        writes(
            "empty pages",
            "empty_pages: correct",
            "count_mismatch: correct",
            event_count=2,
            pages=pages,
        ),
    )


def test_a_phantom_is_never_emptied_even_where_shrinking_is_allowed(spark: SparkSession) -> None:
    planned = corrected(spark, {"phantom": ({}, None)}, allow_shrink=True)
    assert_rows(planned, writes("phantom", "phantom_session: report"))


def test_a_session_in_flight_is_deferred_and_nothing_is_written(spark: SparkSession) -> None:
    cases: dict[str, Case] = {
        "empty": ({**EMPTY, "created_at": NOW}, {}),
        "report only": ({"pages": ["/x", "/home", "/cart"], "created_at": NOW}, {}),
        "orphan": ({**EMPTY, "created_at": NOW}, None),
    }
    deferred = [action.replace("correct", "defer") for action in ALL_CORRECTED]
    assert_rows(
        corrected(spark, cases),
        writes("empty", *deferred),
        writes("report only", "pages_extra: report"),
        writes("orphan", "orphan_session: report"),
    )


def test_of_duplicates_only_the_canonical_document_is_corrected(spark: SparkSession) -> None:
    found = diagnose(
        sessions_frame(spark, session(1, **EMPTY), session(2, **EMPTY), session(3, **EMPTY)),
        rebuilt_frame(spark, s=rebuilt()),
        NOW,
        SETTLE,
    )
    planned = correct(found, "all", True).withColumn("action", F.expr("findings.action"))
    assert_rows(
        planned,
        {"session_key": oid(1), "changes": WHOLE, "action": ["correct"] * 5},
        {"session_key": oid(2), "changes": None, "action": ["report"]},
        {"session_key": oid(3), "changes": None, "action": ["report"]},
    )


def test_malformed_sessions_and_those_of_malformed_events_are_left_alone(
    spark: SparkSession,
) -> None:
    cases: dict[str, Case] = {
        "document": ({**EMPTY, "malformed": "pages: string"}, {}),
        "event": (EMPTY, {"malformed_events": 1, "malformed": malformed_events("page: int")}),
    }
    assert_rows(
        corrected(spark, cases, allow_shrink=True),
        writes("document", "malformed: report"),
        writes("event", "malformed: report"),
    )


def test_a_session_is_left_alone_only_where_a_journal_row_cannot_hold_it(
    spark: SparkSession,
) -> None:
    mb = 2**20
    own = ["x" * (4 * mb)]
    cases: dict[str, Case] = {
        "much else in it": ({**EMPTY, "size": 15 * mb}, {}),
        "too much else": ({**EMPTY, "size": 16 * mb - 1024}, {}),
        "its own pages twice": ({"pages": own, "size": 4 * mb}, {"pages_size": 99}),
        "its own pages and much else": ({"pages": own, "size": 15 * mb}, {"pages_size": 99}),
        "its own pages twice are too many": (
            {"pages": [*own, f"y{own[0]}"], "size": 8 * mb},
            {"pages_size": 99},
        ),
    }
    found = corrected(spark, cases, scope="all")
    rows = {
        row["session_id"]: (row["is_planned"], row["evidence"])
        for row in found.select(
            "session_id",
            F.col("changes").isNotNull().alias("is_planned"),
            F.array_distinct("findings.evidence").alias("evidence"),
        ).collect()
    }
    why = "left alone: its correction does not fit into 16 MB"
    assert rows == {
        "much else in it": (True, [None]),
        "too much else": (False, [why]),
        "its own pages twice": (True, [None]),
        "its own pages and much else": (True, [None]),
        "its own pages twice are too many": (False, [why]),
    }


def why_not(planned: DataFrame) -> dict[str, dict[str, str | None]]:
    """By case, why each finding is left alone; None where it is corrected."""
    rows = planned.persist().select("session_id", F.inline("findings")).collect()
    told: dict[str, dict[str, str | None]] = {}
    for row in rows:
        told.setdefault(row["session_id"], {})[row["code"]] = row["why"]
        assert (row["why"] is None) == (row["action"] == "correct")
        assert (row["why"] == "in_flight") == (row["action"] == "defer")
    return told


COUNTS_MORE: Row = {"event_count": 17, "pages": ["/home", "/cart", "/old"]}
LEFT: dict[str, Case] = {
    "empty": ({**EMPTY, "user": ALICE}, {}),
    "user": ({"user": BOB}, {}),
    "counts more": (COUNTS_MORE, {}),
    "wider": ({"event_count": 9, "first_event_at": at("09:00")}, {}),
    "narrower": ({"event_count": 9, "first_event_at": at("10:01")}, {}),
    "busy": ({**EMPTY, "user": ALICE, "created_at": NOW}, {}),
    "conflict": ({}, {"user": None, "user_conflict": True}),
    "orphan": (EMPTY, None),
    "phantom": ({}, None),
    "odd": ({"malformed": "pages: int"}, {}),
}
WHOLLY: dict[str, str | None] = dict.fromkeys(
    ("empty_pages", "zero_events", "first_event_mismatch", "last_event_mismatch")
)
ALWAYS: dict[str, dict[str, str | None]] = {
    "conflict": {"user_conflict": "conflict"},
    "orphan": {"orphan_session": "no_events"},
    "phantom": {"phantom_session": "phantom"},
    "odd": {"malformed": "malformed"},
    "counts more": {"count_mismatch": "shrink", "pages_extra": "shrink"},
}


def test_of_each_finding_that_is_left_alone_it_is_said_why(spark: SparkSession) -> None:
    assert why_not(corrected(spark, LEFT, scope="empty")) == {
        **ALWAYS,
        "empty": WHOLLY,
        "busy": dict.fromkeys(WHOLLY, "in_flight"),
        "user": {"user_mismatch": "scope"},
        "wider": {"count_mismatch": "shrink", "first_event_mismatch": "shrink"},
        "narrower": {"count_mismatch": "shrink", "first_event_mismatch": "scope"},
    }
    assert why_not(corrected(spark, LEFT)) == {
        **ALWAYS,
        "empty": WHOLLY,
        "busy": dict.fromkeys(WHOLLY, "in_flight"),
        "user": {"user_mismatch": None},
        "wider": {"count_mismatch": "shrink", "first_event_mismatch": "shrink"},
        "narrower": {"count_mismatch": "shrink", "first_event_mismatch": None},
    }


def test_what_would_shrink_or_is_not_named_is_left_for_that_reason_alone(
    spark: SparkSession,
) -> None:
    some = {name: LEFT[name] for name in ("empty", "user", "counts more")}
    assert why_not(corrected(spark, some, allow_shrink=True)) == {
        "empty": WHOLLY,
        "user": {"user_mismatch": None},
        "counts more": {"count_mismatch": None, "pages_extra": None},
    }
    assert why_not(corrected(spark, some, scope="empty", allow_shrink=True)) == {
        "empty": WHOLLY,
        "user": {"user_mismatch": "scope"},
        "counts more": {"count_mismatch": "scope", "pages_extra": "scope"},
    }
    assert why_not(corrected(spark, some, allow_shrink=True, only=("pages_missing",))) == {
        "empty": dict.fromkeys(WHOLLY, "only"),
        "user": {"user_mismatch": "only"},
        "counts more": {"count_mismatch": "only", "pages_extra": "only"},
    }


def test_every_reason_can_be_had_and_none_is_unknown() -> None:
    of_deletion = {YOUNG, BARE, FILLED}  # tests/unit/test_deletable.py
    known = set(REASONS) - of_deletion - {DISAGREE}  # of what is declared
    assert {reason for it in SYMPTOMS for reason in it.reasons} == known
    assert {it.code for it in SYMPTOMS if it.left} == set(CODES) - {
        it.code for it in SYMPTOMS if it.mended_by
    }
