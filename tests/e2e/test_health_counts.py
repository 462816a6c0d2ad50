"""Health: how run documents and a lease become a status, counts and ages."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from session_repair.errors import Refused, Unreachable
from session_repair.health.counts import end_of, latest_counts, recounted
from session_repair.health.model import Count, Health, HeldLease, json_schema
from session_repair.health.page import banner, with_banner
from session_repair.health.queries import (
    has_ended,
    judge,
    last_run_of,
    lease_of,
    unknown,
)
from session_repair.repair.outcomes import Outcomes
from session_repair.repair.report import Report
from session_repair.settings import Settings
from tests.unit.test_text import VERIFICATION, report

NOW = datetime(2026, 1, 10, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
WINDOW = {"since": NOW - DAY, "until": NOW}
HOUR = timedelta(hours=1)
FREE = HeldLease(False, None)
Document = dict[str, Any]


def run(run_id: str, ago: timedelta, **fields: Any) -> Document:
    """A fix that ended that long ago, an hour after it began; all it planned was applied."""
    verb = fields.get("verb", "fix")
    plan = report(verb=verb, totals={"planned": 5, "potentially_empty": 9})
    done = asdict(
        replace(
            plan,
            server_time=NOW - ago - HOUR,
            outcomes=Outcomes(5, 5, 0, 0, 0, 0),
            verification=VERIFICATION,
        )
    )
    for symptom in done["symptoms"]:
        if symptom["code"] == "orphan_session":
            symptom["found"] = 8
    return {
        "_id": run_id,
        "verb": verb,
        "state": "done",
        "verdict": 0,
        "settings": {},
        "started_at": NOW - ago - HOUR,
        "updated_at": NOW - ago,
        "ended_at": NOW - ago,
        "report": done,
        **fields,
    }


def planned(run_id: str, ago: timedelta, **fields: Any) -> Document:
    """A plan that waits since then."""
    made = run(run_id, ago, state="planned", verdict=None, ended_at=None)
    made["report"] |= {"outcomes": None, "verification": None}
    return {**made, "progress": {"counts": {}}, **fields}


def counts(*documents: Document) -> dict[str, tuple[int | None, int | None]]:
    """Count and age in hours."""
    found = latest_counts(list(documents), NOW)
    return {
        name: (it.count, None if it.age_seconds is None else it.age_seconds // 3600)
        for name, it in found.items()
    }


def test_without_any_run_nothing_is_known() -> None:
    assert counts() == dict.fromkeys(("empty", "fixable", "orphan"), (None, None))


def test_after_a_fix_its_remains_are_known_since_its_end_and_orphans_since_its_begin() -> None:
    assert counts(run("r1", DAY)) == {"empty": (1, 24), "fixable": (0, 24), "orphan": (8, 25)}


def test_what_a_fix_left_is_fixable_but_not_what_is_gone() -> None:
    document = run("r1", DAY, verdict=5)
    document["report"]["outcomes"] = asdict(Outcomes(10, 3, 1, 3, 2, 1))
    document["report"]["totals"]["planned"] = 10
    document["report"]["verification"]["put_back"] = 2
    assert counts(document)["fixable"] == (6, 24)


def test_a_plan_that_waits_is_fixable() -> None:
    assert counts(planned("r1", DAY)) == {"empty": (9, 25), "fixable": (5, 24), "orphan": (8, 25)}


def test_a_run_that_broke_off_leaves_the_rest_of_its_plan() -> None:
    progress = {"counts": {"applied": 2, "skipped_gone": 1}}
    broken = planned("r1", DAY, state="applying", verdict=5, progress=progress)
    assert counts(broken)["fixable"] == (2, 24)


def test_what_was_undone_is_fixable_again() -> None:
    undone = run("r1", DAY, state="undone", undo={"counts": {"restored": 4, "changed since": 1}})
    assert counts(undone) == {"empty": (9, 25), "fixable": (4, 24), "orphan": (8, 25)}


def test_while_an_undo_is_under_way_all_that_was_applied_may_be_fixable() -> None:
    undoing = run("r1", DAY, state="undoing")
    assert counts(undoing) == {"empty": (9, 25), "fixable": (5, 24), "orphan": (8, 25)}


def test_deleted_orphans_are_gone_and_say_nothing_of_what_is_fixable() -> None:
    deleted = run("r2", DAY, verb="delete-orphans")
    assert counts(deleted) == {"empty": (1, 24), "fixable": (None, None), "orphan": (3, 24)}
    both = counts(deleted, run("r1", 2 * DAY))
    assert both == {"empty": (1, 24), "fixable": (0, 48), "orphan": (3, 24)}


def test_each_count_is_that_of_the_run_that_ended_last_not_of_the_one_that_began_last() -> None:
    resumed, newer = run("r1", HOUR), run("r2", DAY)
    newer["report"]["verification"]["empty_remaining"] = 99
    assert counts(newer, resumed)["empty"] == (1, 1)


def test_deleted_copies_are_no_orphans() -> None:
    copies = run("r2", DAY, verb="delete-orphans", settings={"duplicates": True})
    assert counts(copies)["orphan"] == (8, 25)


@pytest.mark.parametrize("name", ["session_ids", "since", "until"])
def test_a_run_over_a_part_counts_nothing_but_the_empty_sessions(name: str) -> None:
    part = run("r2", HOUR, settings={name: ["x"]})
    if name in ("since", "until"):
        part["report"]["window"] = WINDOW
    assert counts(part, run("r1", DAY)) == {"empty": (1, 1), "fixable": (0, 24), "orphan": (8, 25)}


def test_a_run_since_the_last_success_leaves_all_that_is_left() -> None:
    full = run("r1", DAY)
    on = run("r2", HOUR, settings={"since": "last-success"})
    on["report"]["window"] = WINDOW
    assert counts(on, full) == {"empty": (1, 1), "fixable": (0, 1), "orphan": (8, 25)}
    on["report"]["verification"]["put_back"] = 2
    assert counts(on, full)["fixable"] == (2, 1)
    for bound in ({"until": "2025-10-20"}, {"session_ids": ["x"]}):
        part = run("r2", HOUR, settings={"since": "last-success", **bound})
        part["report"]["window"] = WINDOW
        assert counts(part, full)["fixable"] == (0, 24)


def test_a_run_since_the_last_success_that_looked_at_all_counts_all() -> None:
    first = run("r1", HOUR, settings={"since": "last-success"})
    first["report"]["window"] = None
    assert counts(first) == counts(run("r1", HOUR))
    first["report"]["window"] = WINDOW
    first["report"]["verification"]["empty_remaining"] = None
    assert counts(first) == {"empty": (None, None), "fixable": (0, 1), "orphan": (None, None)}


def test_a_run_without_a_report_counts_nothing() -> None:
    failed = run("r1", DAY, report=None, state="planning", verdict=75)
    assert counts(failed)["fixable"] == (None, None)


DIED = "the last run, r1, ended without a verdict"
COMMAND = "./spark-submit.sh"
REACHED_BY = ("--database", "shop")


def status(last: Document | None, count: int | None = 0, age: int | None = 60) -> tuple[str, str]:
    found, reason = judge(last, Count(count, age, None), NOW, timedelta(hours=26), REACHED_BY)
    assert (reason is None) == (found == "ok")
    return found, reason or ""


def test_a_young_run_that_left_nothing_is_ok() -> None:
    assert status(run("r1", DAY)) == ("ok", "")


def test_fixable_sessions_are_degraded() -> None:
    reason = "7 sessions can be repaired from their events"
    assert status(run("r1", DAY), 7) == ("degraded", reason)
    assert status(planned("r1", DAY), 7) == ("degraded", reason)
    assert status(run("r1", DAY, verdict=5), 7) == ("degraded", reason)


def test_what_a_circuit_breaker_stopped_is_degraded_and_says_why() -> None:
    stopped = {**run("r1", DAY, verdict=4), "error": "BreakerTripped: 9 of 9: too many"}
    reason = "the last run, r1, was stopped: 9 of 9: too many"
    assert status(stopped, 0) == ("degraded", reason)


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (None, "no run has ended yet"),
        (run("r1", 27 * HOUR), "the last run, r1, ended more than 26h ago"),
        (run("r1", DAY, verdict=75), "the last run, r1, ended with exit 75"),
        (run("r1", DAY, verdict=130), "the last run, r1, ended with exit 130"),
        (planned("r1", DAY, state="applying"), f"{DIED}: {COMMAND} resume r1 --database shop"),
        (planned("r1", DAY, state="planning"), f"{DIED}: {COMMAND} resume r1 --database shop"),
        (run("r1", DAY, verdict=6), "the last run, r1, ended with exit 6"),
        (
            run("r1", DAY, state="undoing"),
            f"the undo of the last run, r1, broke off: {COMMAND} undo r1 --apply --database shop",
        ),
    ],
)
def test_what_is_not_current_is_unknown_even_if_something_is_fixable(
    last: Document | None, reason: str
) -> None:
    assert status(last, 7) == status(last, 0) == ("unknown", reason)


def test_fixable_sessions_that_nobody_counted_lately_are_unknown() -> None:
    assert status(run("r1", HOUR), None, None) == (
        "unknown",
        "no run has counted the fixable sessions yet",
    )
    assert status(run("r1", HOUR), 0, 27 * 3600) == (
        "unknown",
        "the fixable sessions were counted more than 26h ago",
    )


def test_a_run_at_work_is_not_the_last() -> None:
    working = planned("r1", DAY)
    assert has_ended(working, FREE, NOW)
    assert not has_ended(working, HeldLease(True, "r1"), NOW)
    assert has_ended(working, HeldLease(True, "r2"), NOW)
    begins = {"_id": "r1", "state": "planning", "started_at": NOW - timedelta(seconds=5)}
    assert not has_ended(begins, FREE, NOW)
    assert has_ended({**begins, "started_at": NOW - HOUR}, FREE, NOW)
    assert end_of({**begins, "started_at": NOW - HOUR}) == NOW - HOUR


def test_a_run_without_a_state_is_one_that_died() -> None:
    stateless = run("r1", DAY, verdict=None)
    del stateless["state"]
    assert has_ended(stateless, FREE, NOW)
    assert status(stateless) == ("unknown", DIED)
    assert last_run_of(stateless, NOW).state == "?"
    assert counts(stateless)["empty"] == (9, 25)


def known(status: str, empty: int | None) -> Health:
    answer = unknown(Settings(uri="mongodb://h"), Refused("no"))
    reason = None if status == "ok" else "because"
    return replace(answer, status=status, reason=reason, empty=Count(empty, 60, None))  # type: ignore[arg-type]


def test_more_empty_sessions_than_were_known_are_degraded() -> None:
    answer = recounted(known("ok", 3), Count(5, 0, None))
    assert (answer.status, answer.verdict, answer.empty.count) == ("degraded", 3, 5)
    assert answer.reason == "5 sessions are empty now, 3 when they were last counted"


@pytest.mark.parametrize(
    ("status", "before", "now"),
    [("ok", 3, 3), ("ok", 3, 2), ("ok", None, 2), ("ok", 3, None), ("unknown", 3, 5)],
)
def test_else_a_deep_count_changes_nothing_but_the_count(
    status: str, before: int | None, now: int | None
) -> None:
    answer, empty = known(status, before), Count(now, 0, None)
    assert recounted(answer, empty) == replace(answer, empty=empty)


def test_a_report_that_a_newer_version_wrote_is_read_without_what_is_new() -> None:
    document = run("r1", DAY)["report"]
    newer = {name: with_more(value) for name, value in document.items()}
    assert newer["totals"]["new"] == newer["symptoms"][0]["new"] == 1
    newer |= {"new": 1, "settings": document["settings"]}
    assert Report.from_document(newer) == Report.from_document(document)


def with_more(value: Any) -> Any:
    if isinstance(value, dict):
        return {**value, "new": 1}
    return [with_more(it) for it in value] if isinstance(value, list | tuple) else value


def told(run: Document, last: Document, lease: HeldLease = FREE) -> str:
    """What the page says above the report of the one run while the other ended last."""
    answer = replace(
        known("ok", 0), checked_at=NOW.isoformat(), last_run=last_run_of(last, NOW), lease=lease
    )
    return " ".join(banner(answer, run))


def test_the_page_says_first_what_holds_now() -> None:
    good = run("r1", DAY)
    assert told(good, good) == (
        "Health at 2026-01-10T12:00:00+00:00: ok. The last run, r1, is fix, done, exit 0. "
        "Below is the report of run r1, which is 1d 1h old."
    )


@pytest.mark.parametrize(
    ("state", "idle", "at_work"),
    [
        ("planned", "is a plan", "is a plan"),
        ("applying", "broke off while it was applied", "is being applied"),
        ("undoing", "The undo of that run broke off", "is being undone"),
        ("undone", "was undone", "was undone"),
    ],
)
def test_the_page_says_what_its_report_cannot_know(state: str, idle: str, at_work: str) -> None:
    shown = run("r1", DAY, state=state)
    assert idle in told(shown, shown)
    assert at_work in told(shown, shown, HeldLease(True, "r1"))


def test_the_page_says_that_a_later_run_failed() -> None:
    shown, failed = run("r1", DAY), run("r2", HOUR, state="planning", verdict=75, error="away")
    assert told(shown, failed).endswith(" A later run, r2, failed (away).")
    assert "failed" not in told(failed, shown)
    assert "failed" not in told(shown, run("r2", HOUR, verdict=5))
    assert "failed" not in told(shown, planned("r2", HOUR))
    assert told(shown, planned("r2", HOUR, state="applying")).endswith("r2, failed.")


def test_what_is_said_above_the_page_is_text() -> None:
    page = with_banner('<head></head>\n<body class="clean"><main>', "degraded", "<b>")
    assert page == (
        '<head></head>\n<body class="clean">\n<div role="status" class="now broken">'
        '<p class="badge">Health: degraded</p><p>&lt;b&gt;</p></div><main>'
    )
    assert 'class="now clean"><p class="badge">Health: ok<' in with_banner("<body>", "ok", "")


def test_a_lease_is_held_until_it_expires() -> None:
    second = timedelta(seconds=1)
    assert lease_of(None, NOW) == FREE
    assert lease_of({"_id": "lease", "holder": "r1", "expires_at": NOW}, NOW) == FREE
    held = {"_id": "lease", "holder": "r1", "expires_at": NOW + second}
    assert lease_of(held, NOW) == HeldLease(True, "r1")


def test_the_schema_is_one_and_names_every_field_with_its_meaning() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert list(schema["properties"]) == list(Health.__dataclass_fields__)
    assert all(it["description"] for it in schema["properties"].values())
    assert schema["properties"]["empty"]["properties"]["count"]["anyOf"] == [
        {"type": "integer"},
        {"type": "null"},
    ]


def test_what_nobody_foresaw_is_unknown_with_its_name() -> None:
    answer = unknown(Settings(uri="mongodb://h"), KeyError("totals"))
    assert (answer.reason, answer.verdict) == ("KeyError: 'totals'", 1)


@pytest.mark.parametrize(("error", "verdict"), [(Unreachable("away"), 75), (Refused("no"), 2)])
def test_an_answer_without_mongodb_is_unknown_and_valid(error: Any, verdict: int) -> None:
    answer = asdict(unknown(Settings(uri="mongodb://u:hush@h"), error))
    Draft202012Validator(json_schema()).validate(answer)
    assert (answer["status"], answer["verdict"], answer["reason"]) == (
        "unknown",
        verdict,
        str(error),
    )


def test_an_answer_of_another_shape_is_not_valid() -> None:
    answer = asdict(unknown(Settings(uri="mongodb://h"), Refused("no")))
    validator = Draft202012Validator(json_schema())
    assert not validator.is_valid({**answer, "status": "fine"})
    assert not validator.is_valid({**answer, "more": 1})
    assert not validator.is_valid({**answer, "sessions": "many"})
    del answer["lease"]
    assert not validator.is_valid(answer)
