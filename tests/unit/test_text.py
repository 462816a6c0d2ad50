"""Text: what a reader of the terminal sees of a report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from session_repair.aggregates import BASIC_SHAPE
from session_repair.errors import BreakerTripped
from session_repair.repair.breakers import require_few_malformed
from session_repair.repair.malformed import remedy
from session_repair.repair.outcomes import Outcomes
from session_repair.repair.report import (
    Correction,
    FieldChange,
    Kept,
    Level,
    OddType,
    Report,
    Sample,
    Symptoms,
    Totals,
    Verification,
)
from session_repair.repair.undo import UndoReport
from session_repair.reporting.checks import BLOCKS
from session_repair.reporting.deletions import deletion_heading, deletion_plan
from session_repair.reporting.formatting import LINE, printable
from session_repair.reporting.history import runs_table, trend
from session_repair.reporting.text import (
    again_report,
    dry_run_report,
    fix_heading,
    fix_report,
    plan_report,
    undo_report,
    verification_report,
)
from session_repair.settings import Settings, describe
from session_repair.symptoms import OF_EMPTY
from tests.harness.table import BY_SHRINKING, CODES, CORRECTED_CODES, SYMPTOMS
from tests.unit.frames import NOW

SETTINGS = Settings(uri="mongodb://h")
WHOLE = describe(SETTINGS)
NO_SAMPLE = Sample(session_id=None, session_key=None, stored=None, rebuilt=None, evidence=None)
TOTALS = Totals(
    sessions=12,
    events=345,
    names_no_page=0,
    counts_nothing=0,
    potentially_empty=0,
    events_without_session=0,
    planned=0,
    deferred=0,
)
VERIFICATION = Verification(
    sessions=12, with_events=11, empty_remaining=1, as_planned=3, put_back=0, moved_on=0, gone=0
)


def report(
    *found: Symptoms, totals: dict[str, int] | None = None, verb: str = "verify", **parts: Any
) -> Report:
    """A report of a sound database, under the given findings and figures."""
    by_code = {symptom.code: symptom for symptom in found}
    nothing = [Symptoms(code, 0, 0, 0, ()) for code in CODES]
    return Report(
        verb=verb,
        run_id="r1",
        server_time=NOW,
        settings=parts.pop("settings", {}),
        totals=replace(TOTALS, **(totals or {})),
        symptoms=tuple(by_code.get(symptom.code, symptom) for symptom in nothing),
        corrections=parts.pop("corrections", ()),
        **parts,
    )


def text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def test_every_symptom_stands_in_one_block() -> None:
    assert sorted(code for block in BLOCKS for code in block.codes(BASIC_SHAPE)) == sorted(CODES)


def test_the_report_on_a_sound_database_has_every_check_and_no_warning() -> None:
    shown = text(verification_report(report()))
    bar = "=" * 60
    assert shown.startswith(
        f"{bar}\nSession Verification Report\n{bar}\n\n"
        "📊 Overall Stats:\n  Total sessions: 12\n  Total events: 345\n\n"
        "1️⃣ Empty Pages:\n  Sessions with empty pages: 0\n"
        "  ✅ No session lacks page data that its events have\n"
    )
    headings = re.findall(r"^(\S+) ([A-Z][A-Za-z ]+):$", shown, flags=re.MULTILINE)
    assert headings == [
        ("📊", "Overall Stats"),
        ("1️⃣", "Empty Pages"),
        ("2️⃣", "Zero Events"),
        ("3️⃣", "Event Counts"),
        ("4️⃣", "Pages"),
        ("5️⃣", "Timestamps"),
        ("6️⃣", "Users"),
        ("7️⃣", "Duplicates"),
        ("8️⃣", "Orphan Sessions"),
        ("9️⃣", "Orphan Events"),
        ("🔟", "Phantom Sessions"),
        ("1️⃣1️⃣", "Malformed"),
    ]
    assert "⚠️" not in shown
    assert shown.endswith("\n\n✅ Nothing in this scope is left to repair\n")


def block(shown: str, heading: str) -> list[str]:
    """The lines under a heading."""
    return shown.split(f" {heading}:\n")[1].split("\n\n", maxsplit=1)[0].rstrip("\n").split("\n")


def test_events_without_a_session_are_told_by_id_and_by_event_and_odd_ones_of_no_session() -> None:
    odd = OddType("events", "page", "int", 2, ("68f0", "68f1"))
    shown = text(
        verification_report(
            report(
                Symptoms("orphan_events", 1, 0, 0, ()),
                totals={"events_without_session": 3},
                malformed=(odd,),
            )
        )
    )
    assert block(shown, "Orphan Events") == [
        "  Session ids that only events name: 1",
        "  ⚠️  1 session id has events but no session: 3 events",
    ]
    assert block(shown, "Malformed") == [
        "  Sessions with a field of a wrong type, or such events: 0",
        "  ⚠️  0 sessions are left alone because of a wrong type or their size",
        "     2 of events: page is int, as in 68f0, 68f1",
    ]


def test_empty_sessions_are_counted_as_the_guide_does_and_judged_by_their_events() -> None:
    sample = Sample("s1", "k1", "[]", '["/a"]', None)
    shown = text(
        verification_report(
            report(
                Symptoms("empty_pages", 5, 3, 2, (sample,)),
                Symptoms("orphan_session", 4, 0, 0, (replace(NO_SAMPLE, session_id="s2"),)),
                totals={"names_no_page": 9, "counts_nothing": 8, "planned": 3, "deferred": 2},
            )
        )
    )
    assert block(shown, "Empty Pages") == [
        "  Sessions with empty pages: 9",
        "  ⚠️  5 sessions need page data",
        "     fix corrects 3, 2 wait for a session in flight",
        '     empty_pages  s1  [] → ["/a"]',
    ]
    assert block(shown, "Zero Events")[0] == "  Sessions with 0 events: 8"
    assert block(shown, "Orphan Sessions") == [
        "  Empty sessions without any event: 4",
        "  ⚠️  4 orphan sessions (created but no events)",
        "     orphan_session  s2",
    ]
    assert shown.endswith(
        "\n\n⚠️  3 sessions can be repaired from their events: ./spark-submit.sh fix --apply\n"
        "   2 sessions are in flight and were left for a later run\n"
        "   4 orphan sessions remain (created but no events)\n"
        "   Which of them may go: ./spark-submit.sh delete-orphans\n"
    )


def test_a_block_sums_up_its_symptoms_and_names_each_sample() -> None:
    shown = text(
        verification_report(
            report(
                Symptoms("user_mismatch", 2, 2, 0, (Sample("s1", "k1", None, "u", None),)),
                Symptoms("user_conflict", 1, 0, 0, (Sample("s2", "k2", "u", None, "why"),)),
                Symptoms("malformed", 1, 0, 0, (Sample(None, "k3", None, None, "pages: int"),)),
            )
        )
    )
    assert block(shown, "Users") == [
        "  Sessions whose user differs from their events: 3",
        "  ⚠️  3 sessions disagree with their events, or their events with each other",
        "     fix corrects 2",
        "     user_mismatch  s1  nothing → u",
        "     user_conflict  s2  u → nothing  why",
    ]
    assert block(shown, "Malformed")[2] == "     malformed  k3  pages: int"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ('{"v": {"$oid": "68f5ec00000000000000003d"}}', "68f5ec00000000000000003d"),
        ('{"v": {"$numberInt": "5"}}', "5"),
        ('{"v": "caf\x1b"}', '"caf\\x1b"'),
        ('{"v": "cut off…', '"cut off…'),
        (None, "without a session id"),
    ],
)
def test_what_has_no_session_id_is_named_by_its_own_id(key: str | None, name: str) -> None:
    nameless = Symptoms("malformed", 1, 0, 0, (Sample(None, key, None, None, "pages: int"),))
    shown = text(verification_report(report(nameless)))
    assert block(shown, "Malformed")[2] == f"     malformed  {name}  pages: int"


def test_odd_types_are_counted_with_a_few_of_their_documents() -> None:
    odd = OddType("events", "page", "int", 7, ("k1", "k\x1b2", "k3", "k4"))
    shown = text(verification_report(report(Symptoms("malformed", 1, 0, 0, ()), malformed=(odd,))))
    assert block(shown, "Malformed")[2:] == ["     7 of events: page is int, as in k1, k\\x1b2, k3"]


@pytest.mark.parametrize(
    ("settings", "code", "heading", "found"),
    [
        (
            {},
            "orphan_session",
            "Delete Orphan Sessions",
            "Found 5 orphan sessions (no events)",
        ),
        (
            {"duplicates": True},
            "duplicate_session",
            "Delete Empty Copies",
            "Found 5 documents that repeat a session_id",
        ),
    ],
)
def test_a_deletion_says_what_it_would_delete_and_why_not_the_rest(
    settings: dict[str, bool], code: str, heading: str, found: str
) -> None:
    named = {"s1": None, "s\u202e2": None, "s3": "young"}
    some = tuple(Sample(name, "k", None, None, None, why) for name, why in named.items())
    found_5 = Symptoms(code, 5, 0, 0, some, {"young": 2, "bare": 1})
    made = report(found_5, totals={"planned": 2}, verb="delete-orphans")
    made = replace(made, settings=settings)
    assert list(deletion_heading(made))[1:4] == [heading, LINE, found]
    assert list(deletion_plan(made)) == [
        "Would delete 2 sessions. This was a dry run: nothing was written.",
        "  s1",
        "  s\\u202e2",
        "Left alone, and what changes that:",
        f"       2  {code}  younger than --min-age, or of no known age: a shorter --min-age",
        f"       1  {code}  has neither pages nor a count: they may have other names: right names",
    ]


def test_a_long_value_is_cut() -> None:
    sample = Sample("s1", "k1", "x" * 100, "y" * 101, None)
    shown = text(verification_report(report(Symptoms("empty_pages", 1, 1, 0, (sample,)))))
    assert f"{'x' * 100} → {'y' * 99}…\n" in shown


def test_a_dry_run_shows_old_and_new_values_and_that_nothing_was_written() -> None:
    changes = (FieldChange("event_count", "0", "2"), FieldChange("user", None, "u"))
    planned = report(
        corrections=(Correction("s1", changes),),
        totals={"planned": 1, "potentially_empty": 6},
        verb="fix",
    )
    bar = "=" * 60
    assert text(fix_heading(planned)) == (
        f"{bar}\nFix Empty Sessions\n{bar}\nFound 6 potentially empty sessions\n\n"
    )
    assert text(dry_run_report(planned)) == (
        "Would fix 1 session. This was a dry run: nothing was written.\n"
        "  s1\n"
        "    event_count: 0 → 2\n"
        "    user: nothing → u\n"
        "\n"
        "⚠️  1 session can be repaired from its events: ./spark-submit.sh fix --apply\n"
    )


def test_a_fix_that_did_all_of_its_plan_says_so() -> None:
    done = report(
        Symptoms("orphan_session", 1, 0, 0, ()),
        outcomes=Outcomes(3, 3, 0, 0, 0, 0),
        verification=VERIFICATION,
        verb="fix",
    )
    shown = text(fix_report(done))
    assert "\n✅ Fixed 3 sessions\nℹ️  Found 1 orphan session (no events)\n" in shown
    assert (
        "\n=== Verification ===\nTotal sessions: 12\nSessions with events: 11\n"
        "Empty sessions remaining: 1\n"
    ) in shown
    assert shown.endswith(
        "\n\n✅ All fixable sessions have been fixed!\n"
        "   1 orphan session remains (created but no events)\n"
    )
    assert "⚠️" not in shown


@pytest.mark.parametrize(
    ("outcomes", "verification", "line"),
    [
        (Outcomes(3, 2, 0, 1, 0, 0), VERIFICATION, "⚠️  1 skipped_changed"),
        (Outcomes(3, 1, 0, 0, 2, 0), VERIFICATION, "⚠️  2 skipped_gone"),
        (Outcomes(3, 0, 0, 0, 0, 3), VERIFICATION, "⚠️  3 failed"),
        (Outcomes(3, 3, 0, 0, 0, 0), replace(VERIFICATION, put_back=1), "put back: 1"),
    ],
)
def test_a_fix_that_left_something_is_never_called_complete(
    outcomes: Outcomes, verification: Verification, line: str
) -> None:
    shown = text(
        fix_report(
            report(
                outcomes=outcomes,
                verification=verification,
                totals={"deferred": 2},
                verb="fix",
            )
        )
    )
    assert line in shown
    assert "ℹ️  Deferred 2 sessions in flight\n" in shown
    assert "All fixable sessions have been fixed" not in shown
    assert "⚠️  Not everything was" in shown


def done(*found: Symptoms, **parts: Any) -> str:
    """What a fix of one session prints that did all of its plan; the last block of it."""
    made = report(
        *found,
        outcomes=Outcomes(1, 1, 0, 0, 0, 0),
        verification=parts.pop(
            "verification", replace(VERIFICATION, as_planned=1, empty_remaining=9)
        ),
        verb=parts.pop("verb", "fix"),
        **parts,
    )
    return text(fix_report(made))


# Of a run about some sessions, all others were not counted.
OF_FEW = replace(VERIFICATION, as_planned=1, with_events=None, empty_remaining=None)
NARROW = {
    "--scope empty, --session-id s1, --session-id s2": {"session_ids": ["s1", "s2"]},
    "--scope empty, --session-id 1, --session-id 2, --session-id 3, 2 more": {
        "session_ids": ["1", "2", "3", "4", "5"]
    },
    "--scope empty, --since 2025-10-20T00:00:00+00:00": {"since": "2025-10-20T00:00:00+00:00"},
    "--scope all, --until 2025-10-21": {"until": "2025-10-21", "scope": "all"},
    "--scope empty, --only zero_events": {"only": ["zero_events"]},
}


@pytest.mark.parametrize(("scope", "asked"), NARROW.items(), ids=NARROW)
def test_a_run_about_some_sessions_speaks_of_them_and_of_no_others(
    scope: str, asked: dict[str, Any]
) -> None:
    is_windowed = asked.keys() & {"since", "until"}
    window = {"since": NOW, "until": NOW} if is_windowed else None
    settings, totals = {**WHOLE, **asked}, {"sessions": 5}
    shown = done(settings=settings, totals=totals, window=window, verification=OF_FEW)
    assert shown.endswith(
        "\n=== Verification ===\nRead back as planned: 1\n\n"
        f"✅ All fixable sessions in this scope ({scope}) have been fixed!\n"
    )


def test_what_is_still_empty_after_a_whole_run_is_accounted_for() -> None:
    found = (
        Symptoms("orphan_session", 4, 0, 0, (), {"no_events": 4}),
        Symptoms("malformed", 2, 0, 0, (), {"malformed": 2}),
        Symptoms("count_mismatch", 3, 1, 1, (), {"scope": 1}),
        Symptoms("user_mismatch", None, 0, 0, ()),
    )
    assert done(*found, settings=WHOLE).endswith(
        "Empty sessions remaining: 9\nRead back as planned: 1\n\n"
        "✅ All fixable sessions have been fixed!\n"
        "   4 orphan sessions remain (created but no events)\n"
        "Left alone, and what changes that:\n"
        "       1  count_mismatch  outside of --scope empty: ./spark-submit.sh fix --scope all\n"
        "       2  malformed  a wrong type, or too large: nothing can be told: "
        "right names or types\n"
        "   5 others name no page or count nothing: by their events, malformed, copies, in flight "
        "or new\n"
    )


def closings(*found: Symptoms, **asked: Any) -> list[str]:
    """What each verb ends with that plans nothing."""
    nothing = {**asked, "outcomes": Outcomes(0, 0, 0, 0, 0, 0), "verification": OF_FEW}
    deletion: dict[str, Any] = {"verb": "delete-orphans"}
    made = [
        verification_report(report(*found, **asked)),
        dry_run_report(report(*found, **asked)),
        plan_report(report(*found, **asked)),
        fix_report(report(*found, verb="fix", **nothing)),
        deletion_plan(report(*found, **deletion, **asked)),
        fix_report(report(*found, **deletion, **nothing)),
    ]
    return [text(lines) for lines in made]


def last_lines(shown: str) -> str:
    """The verdict, and what follows it."""
    return shown.rpartition("\n\n")[2]


def test_sessions_that_do_not_exist_are_named_and_never_called_sound() -> None:
    asked: dict[str, Any] = {
        "settings": {**WHOLE, "session_ids": ["s1"]},
        "totals": {"sessions": 0},
        "missing": ("s1",),
    }
    line = "⚠️  No session has the id that --session-id names: s1\n"
    for shown in closings(**asked):
        assert line in shown
        assert "✅" not in last_lines(shown)


def test_of_several_sessions_those_that_do_not_exist_are_named() -> None:
    ids = ["s1", "s2", "s3", "s3", "s\x1b4", "s5", "s6"]
    missing = ("s2", "s\x1b4", "s5", "s6")
    asked: dict[str, Any] = {"settings": {**WHOLE, "session_ids": ids}, "missing": missing}
    line = "⚠️  No session has 4 of the 6 ids that --session-id names: s2, s\\x1b4, s5, 1 more\n"
    for shown in closings(**asked):
        assert line in shown
        assert "✅" not in last_lines(shown)
    del asked["missing"]
    assert ["--session-id names" in shown for shown in closings(**asked)] == [False] * 6


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({}, "ℹ️  No session is there: nothing was looked at\n"),
        (
            {"window": {"since": NOW, "until": NOW}},
            "ℹ️  No session was active then: nothing was looked at\n",
        ),
    ],
)
def test_where_no_session_was_looked_at_nothing_is_green(parts: dict[str, Any], line: str) -> None:
    for number, shown in enumerate(closings(totals={"sessions": 0}, settings=WHOLE, **parts)):
        if number != 2:  # a plan claims nothing
            assert line in shown
        assert "✅" not in shown


LEFT_OF_ONE = (
    Symptoms(
        "count_mismatch",
        1,
        0,
        0,
        (Sample("s1", "k1", "17", "14", None, "shrink"),),
        {"shrink": 1},
    ),
    Symptoms(
        "user_mismatch", 1, 0, 0, (Sample("s1", "k1", "a", "b", None, "scope"),), {"scope": 1}
    ),
)


def test_a_session_that_is_named_and_left_alone_is_not_called_right_and_it_is_said_why() -> None:
    asked: dict[str, Any] = {"settings": {**WHOLE, "session_ids": ["s1"]}}
    why = (
        "Left alone, and what changes that:\n"
        "       1  count_mismatch  never shrink: events may have expired: "
        "./spark-submit.sh fix --scope all --allow-shrink\n"
        "          count_mismatch  s1  17 → 14\n"
        "       1  user_mismatch  outside of --scope empty: ./spark-submit.sh fix --scope all\n"
        "          user_mismatch  s1  a → b\n"
    )
    line = "⚠️  What --session-id names is not all right, and is left alone\n"
    looked, dry, planned, fixed, *_ = closings(*LEFT_OF_ONE, **asked)
    for shown in (looked, dry, fixed):
        assert last_lines(shown) == line + why
    assert why in planned
    assert report(*LEFT_OF_ONE, **asked).verdict == 0


def test_of_all_sessions_what_is_left_alone_is_a_table_below_the_verdict() -> None:
    found = (
        Symptoms("count_mismatch", 9, 2, 1, LEFT_OF_ONE[0].samples, {"shrink": 4, "in_flight": 1}),
        Symptoms("malformed", 3, 0, 0, (), {"malformed": 3}),
    )
    shown = text(verification_report(report(*found, settings=WHOLE)))
    assert last_lines(shown) == (
        "✅ Nothing in this scope is left to repair\n"
        "Left alone, and what changes that:\n"
        "       4  count_mismatch  never shrink: events may have expired: "
        "./spark-submit.sh fix --scope all --allow-shrink\n"
        "       1  count_mismatch  in flight, or it changed between two looks: a later run\n"
        "       3  malformed  a wrong type, or too large: nothing can be told: "
        "right names or types\n"
    )


ODD = (
    OddType("sessions", "first_event_at", "long", 49, ("k1",)),
    OddType("sessions", "last_event_at", "long", 50, ()),
    OddType("events", "session_id", "array", 5, ()),
    OddType("events", "page", "int", 1, ()),
)
MET = (
    "last_event_at is long in 50 of sessions; first_event_at is long in 49 of sessions; "
    "session_id is array in 5 of events"
)
REMEDY = (
    "Name other fields under [fields.sessions] and [fields.events] in the config file. "
    "Not supported yet are dates that are neither BSON dates nor epoch numbers: convert them. "
    "An id has to be one value, a number a whole one: convert others. "
    "Or leave them alone, with a higher --max-malformed."
)
SESSIONS = "{} of {} sessions read are malformed, --max-malformed 5% allows {}"


def test_what_is_no_utf8_is_to_be_converted_and_is_no_id_of_another_type() -> None:
    odd = OddType("events", "session_id", "text that is not UTF-8", 5, ())
    names = {"sessions": "sessions", "events": "events"}
    assert remedy(report(malformed=(odd,), settings=names)) == (
        "Name other fields under [fields.events] in the config file. "
        "Text has to be UTF-8: convert it. "
        "Or leave them alone, with a higher --max-malformed."
    )


def test_what_changes_a_finding_is_a_command_over_what_was_looked_at() -> None:
    found = (
        Symptoms("count_mismatch", 299, 0, 0, (), {"scope": 259, "shrink": 40}),
        Symptoms("user_conflict", 2, 0, 0, (), {"conflict": 2}),
        Symptoms("zero_events", 5, 0, 0, (), {"only": 5}),
        Symptoms("duplicate_session", 3, 0, 0, (), {"copy": 3}),
    )
    given: dict[str, Any] = {
        "scope": "empty",
        "only": ["empty_pages"],
        "allow_shrink": True,
        "since": "7d",
        "settle": "1h",
        "strategy": "lookup",
    }
    asked = {**WHOLE, **given, "asked": [*given], "reached_by": ["--config", "a b.toml"]}
    shown = text(verification_report(report(*found, settings=asked)))
    fix, delete = "./spark-submit.sh fix", "./spark-submit.sh delete-orphans"
    at = "--since 7d --settle 1h --strategy lookup --config 'a b.toml'"
    assert shown.splitlines()[-5:] == [
        f"       5  zero_events  not named by --only: {fix} --scope empty --allow-shrink {at}",
        "     259  count_mismatch  outside of --scope empty: "
        f"{fix} --scope all --allow-shrink {at}",
        "      40  count_mismatch  never shrink: events may have expired: "
        f"{fix} --scope all --allow-shrink {at}",
        "       2  user_conflict  its events name several users: nothing",
        "       3  duplicate_session  another document is the one to keep: "
        f"{delete} --duplicates --settle 1h --strategy lookup --config 'a b.toml'",
    ]


def test_what_is_in_flight_is_left_to_repair() -> None:
    waiting = report(totals={"deferred": 1, "sessions": 1}, settings=WHOLE)
    assert last_lines(text(verification_report(waiting))) == (
        "✅ Nothing in this scope can be repaired now\n"
        "   1 session is in flight and was left for a later run\n"
    )


@pytest.mark.parametrize(
    ("figures", "limit", "beyond"),
    [
        (
            (50, 50, 50, 0),
            "5%",
            SESSIONS.format(50, 50, 2),
        ),
        ((100, 6, 9, 0), "5%", SESSIONS.format(6, 100, 5)),
        ((100, 5, 9, 0), "5%", None),
        ((1, 1, 9, 0), "5%", None),  # of few one is allowed
        ((1, 1, 9, 0), "0", "1 of 1 session read is malformed, --max-malformed 0 allows 0"),
        ((100, 0, 40, 3), "5%", "3 of 40 events read are malformed, --max-malformed 5% allows 2"),
        ((100, 100, 40, 40), "100%", None),
        ((0, 0, 0, 0), "5%", None),
    ],
)
def test_more_that_is_malformed_than_is_allowed_makes_nothing_green(
    figures: tuple[int, ...], limit: str, beyond: str | None
) -> None:
    names = ("sessions_read", "sessions_malformed", "events_read", "events_malformed")
    asked: dict[str, Any] = {
        "totals": dict(zip(names, figures, strict=True)),
        "settings": {**WHOLE, "max_malformed": limit},
        "malformed": ODD,
    }
    made = report(Symptoms("zero_events", 1, 1, 0, ()), **asked)
    assert (made.malformed_beyond, made.verdict) == (beyond, 0 if beyond is None else 3)
    looked, dry, _, _, deletion, _ = closings(**asked)
    for shown in (looked, dry, deletion):
        if beyond is None:
            assert "cannot be told" not in shown
            continue
        assert f"⚠️  It cannot be told whether all is right: {beyond}\n   {MET}\n" in shown
        assert f"   {REMEDY}\n" in shown
        assert "✅" not in shown
        with pytest.raises(BreakerTripped) as stopped:
            require_few_malformed(made)
        assert str(stopped.value) == f"{beyond} ({MET}). Nothing was written. {REMEDY}"
    if beyond is None:
        require_few_malformed(made)


def test_a_deletion_about_some_sessions_speaks_of_them_and_of_no_others() -> None:
    asked: dict[str, Any] = {"settings": {**WHOLE, "session_ids": ["s1"]}}
    shown = closings(totals={"sessions": 1}, **asked)[-1]
    assert shown.endswith(
        "\n\n✅ There was no orphan session to be deleted in this scope (--session-id s1)\n"
    )


def test_a_run_that_changed_nothing_did_not_stay_repaired() -> None:
    for count, last in (
        (0, "The run changed no session: there is nothing to look at again"),
        (
            1,
            "✅ It stayed repaired. Events that came since are not asked for: "
            "./spark-submit.sh verify",
        ),
    ):
        seen = replace(OF_FEW, as_planned=count)
        assert list(again_report("r1", "fix", report(verification=seen)))[-1] == last


def test_a_deletion_tells_what_it_keeps_and_what_it_had_to_delete() -> None:
    kept = (Kept("int", 2, ("777", "\x1b778")), Kept("binData, double", 1, ("779",)))
    some = Symptoms("orphan_session", 5, 0, 0, (), {"in_flight": 1})
    left = (
        "Left alone, and what changes that:",
        "       1  orphan_session  in flight, or it changed between two looks: a later run",
    )
    parts: dict[str, Any] = {"kept": kept, "verb": "delete-orphans", "settings": WHOLE}
    made = report(some, totals={"planned": 1}, **parts)
    assert list(deletion_heading(made))[3:] == [
        "Found 5 orphan sessions (no events)",
        "ℹ️  2 sessions are kept: events spell their ids as int: 777, \\x1b778",
        "ℹ️  1 session is kept: events spell its id as binData, double: 779",
        "",
    ]
    assert list(deletion_plan(made)) == [
        "Would delete 1 session. This was a dry run: nothing was written.",
        *left,
    ]
    assert done(some, totals={"planned": 1}, **parts).endswith(
        "\n\n✅ All planned orphan sessions have been deleted!\n"
        + "".join(f"{it}\n" for it in left)
    )
    nothing = replace(made, outcomes=Outcomes(0, 0, 0, 0, 0, 0), verification=VERIFICATION)
    nothing = replace(nothing, totals=replace(nothing.totals, planned=0))
    assert "\n✅ There was no orphan session to be deleted\n" in text(fix_report(nothing))


def test_sessions_whose_ids_events_spell_in_another_type_are_told() -> None:
    some = ("777", "\x1b778", "779", "780")
    kept = (Kept("int", 12, some), Kept("binData, string", 1, ("781",)))
    assert last_lines(text(verification_report(report(kept=kept, settings=WHOLE)))) == (
        "✅ Nothing in this scope is left to repair\n"
        "   12 sessions: some events spell their ids as int, which joins nothing: "
        "777, \\x1b778, 779, 9 more\n"
        "   1 session: some events spell its id as binData, string, which joins nothing: 781\n"
    )


def test_one_of_anything_is_told_in_the_singular() -> None:
    every = [Symptoms(code, 1, 1, 1, ()) for code in CODES]
    one = {"sessions": 1, "planned": 1, "deferred": 1, "potentially_empty": 1}
    parts: dict[str, Any] = {"settings": WHOLE, "totals": one}
    lines = [
        *verification_report(report(*every, **parts)),
        *fix_heading(report(*every, **parts)),
        *dry_run_report(report(*every, **parts)),
        *plan_report(report(*every, **parts)),
        *deletion_heading(report(*every, **parts)),
        *undo_report(UndoReport("r1", {"restored": 1}, (), 1), is_apply=True),
        done(*every, **parts),
    ]
    nouns = "sessions|dates|differences|documents|ids|findings|rows|others"
    verbs = "are|were|have|remain|wait|need|lie|differ|repeat|count|report|disagree"
    plural = re.compile(rf"\b1 ((\w+ ){{0,3}}({nouns})|(\w+ )?({verbs}))\b")
    assert [line for line in lines if plural.search(line)] == []
    assert len([line for line in lines if re.search(r"\b1 [a-z]", line)]) > len(BLOCKS)


def test_what_a_wider_scope_corrects_is_what_the_symptoms_say() -> None:
    mended = [it.code for it in SYMPTOMS if it.mended_by and not it.by_shrinking]
    assert list(CORRECTED_CODES) == mended
    assert list(BY_SHRINKING) == [it.code for it in SYMPTOMS if it.by_shrinking]
    assert CORRECTED_CODES[:2] == OF_EMPTY


@pytest.mark.parametrize(
    ("allow", "asked", "verdict"),
    [
        ((), {}, 3),
        (("zero_events=5",), {}, 3),  # 2 sessions without pages are not let pass
        (("zero_events=5", "empty_pages=2"), {}, 0),
        (("zero_events=4", "empty_pages=2"), {}, 3),
        (("zero_events=10%", "empty_pages=4%"), {}, 0),
        (("zero_events=9%", "empty_pages=4%"), {}, 3),
        (("zero_events=5", "empty_pages=2"), {"scope": "all"}, 3),  # nor is 1 user there
        (("zero_events=5", "empty_pages=2", "user_mismatch=1"), {"scope": "all"}, 0),
    ],
)
def test_a_known_level_is_let_pass_and_still_told(
    allow: tuple[str, ...], asked: dict[str, Any], verdict: int
) -> None:
    found = (
        Symptoms("empty_pages", 3, 2, 1, ()),
        Symptoms("zero_events", 5, 5, 0, ()),
        Symptoms("user_mismatch", 7, 1, 0, ()),
    )
    settings = {**WHOLE, **asked, "allow": list(allow)}
    made = report(*found, totals={"sessions": 50, "planned": 6}, settings=settings)
    assert made.verdict == verdict
    shown = text(verification_report(made))
    assert "\n  Sessions with 0 events: 0\n  ⚠️  5 sessions report 0 events" in shown
    ends = {
        0: "✅ 6 sessions can be repaired from their events, and --allow lets that pass",
        3: "⚠️  6 sessions can be repaired from their events: ./spark-submit.sh fix --apply",
    }
    assert ends[verdict] in shown.splitlines()


def test_of_each_level_that_is_exceeded_it_is_said_by_how_much() -> None:
    found = (
        Symptoms("empty_pages", 3, 2, 1, ()),
        Symptoms("zero_events", 50, 50, 0, ()),
        Symptoms("user_mismatch", 7, 7, 0, ()),
        Symptoms("pages_missing", 3, 3, 0, ()),
    )
    allow = ["zero_events=9%", "user_mismatch=5", "pages_missing=3"]
    settings = {**WHOLE, "scope": "all", "allow": allow}
    made = report(*found, totals={"sessions": 500, "planned": 62}, settings=settings)
    assert last_lines(text(verification_report(made))) == (
        "⚠️  62 sessions can be repaired from their events: ./spark-submit.sh fix --apply\n"
        "   empty_pages: 2 to be corrected, --allow names no level of empty_pages: 2 more\n"
        "   zero_events: 50 to be corrected, --allow zero_events=9% lets 45 pass: 5 more\n"
        "   user_mismatch: 7 to be corrected, --allow user_mismatch=5 lets 5 pass: 2 more\n"
    )
    assert made.exceeded[1] == Level("zero_events", 50, 45, "9%")


@pytest.mark.parametrize("counts", [(3, 2, 0, 0, 0, 0), (3, 3, 1, 0, 0, 0), (0, 0, 0, 0, 1, 0)])
def test_outcomes_that_do_not_add_up_to_the_plan_are_an_error(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="outcomes for"):
        Outcomes(*counts)


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\u2028", "\\u2028"),
        ("🛒 é 商品", "🛒 é 商品"),
    ],
)
def test_stored_text_cannot_steer_the_terminal(hostile: str, harmless: str) -> None:
    assert printable(hostile) == harmless
    sample = Sample(hostile, hostile, hostile, hostile, hostile)
    symptoms = [Symptoms(code, 1, 0, 0, (sample,)) for code in CODES]
    correction = Correction(hostile, (FieldChange("pages", hostile, hostile),))
    found = report(*symptoms, corrections=(correction,))
    shown = text([*verification_report(found), *dry_run_report(found)])
    assert shown.count(harmless) == 5 * len(CODES) - len(CODES) + 3
    assert (hostile in shown) == (hostile == harmless)


def fixes(*found: int, verb: str = "fix") -> list[dict[str, Any]]:
    """Run documents, the newest first as `runs` has them, for counts in order of time."""
    return [
        {"verb": verb, "settings": WHOLE, "report": {"symptoms": [{"found": it}]}}
        for it in reversed(found)
    ]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ((700, 350, 100, 0), "findings of the last 4 fixes: 700 █▄▂▁ 0"),
        ((0, 0), "findings of the last 2 fixes: 0 ▁▁ 0"),
        ((1, 2), "findings of the last 2 fixes: 1 ▄█ 2"),
    ],
)
def test_the_trend_goes_from_the_oldest_to_the_newest(found: tuple[int, ...], line: str) -> None:
    assert list(trend(fixes(*found), SETTINGS)) == [line, ""]


def test_the_trend_shows_the_latest_thirty_runs() -> None:
    (line, _) = trend(fixes(*range(1000, 0, -10)), SETTINGS)
    assert line.startswith("findings of the last 30 fixes: 300 █")
    assert line.endswith("▁ 10")


def test_there_is_no_trend_of_fewer_than_two_fixes() -> None:
    others = fixes(5, 6, verb="delete-orphans")
    failed = {"verb": "fix", "state": "planning"}
    assert list(trend([], SETTINGS)) == list(trend(fixes(7), SETTINGS)) == []
    assert list(trend([*others, *fixes(7), failed], SETTINGS)) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"session_ids": ["s1"]},
        {"since": "2025-10-20T00:00:00"},
        {"until": "2025-10-20T00:00:00"},
        {"sessions": "visits"},
        {"events": "clicks"},
    ],
)
def test_runs_over_other_sessions_are_no_part_of_the_trend(asked: dict[str, Any]) -> None:
    other = {**fixes(99)[0], "settings": {**WHOLE, **asked}}
    line = "findings of the last 2 fixes: 8 █▄ 4"
    assert list(trend([other, *fixes(8, 4), other], SETTINGS)) == [line, ""]


def test_a_run_without_a_state_has_its_line() -> None:
    _, line = runs_table([{"_id": "r1", "verb": "fix"}])
    assert line.split() == ["r1", "fix", "?", "?", "?", "?"]
