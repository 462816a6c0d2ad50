"""Verdicts: the last lines of a report: what was reached, what is left, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from session_repair.errors import Exit
from session_repair.mongo.runs import is_partial
from session_repair.repair.report import Report, Verification
from session_repair.reporting.formatting import SHOWN, printable, shown
from session_repair.symptoms import CORRECTED_CODES, EMPTY
from session_repair.typed import on_the_same
from session_repair.verbs import DELETE_ORPHANS, FIX
from session_repair.wording import either, number_of

NOBODY = "⚠️  No session has the session_id that --session-id names"


def verdict_lines(report: Report) -> Iterator[str]:
    planned, deferred = report.totals.planned, report.totals.deferred
    if report.verdict is Exit.FIXABLE_REMAINS:
        can = f"{number_of(planned, 'session')} can be repaired"
        fix = on_the_same(FIX, "--apply", settings=report.settings)
        yield f"⚠️  {can} from {either(planned, 'its', 'their')} events: {fix}"
    elif names_nobody(report):
        yield NOBODY
    elif planned:
        can = f"{number_of(planned, 'session')} can be repaired"
        yield f"✅ {can} from {either(planned, 'its', 'their')} events, and --allow lets that pass"
    else:
        yield "✅ Nothing in this scope is left to repair"
    if deferred:
        were = either(deferred, "is in flight and was", "are in flight and were")
        yield f"   {number_of(deferred, 'session')} {were} left for a later run"
    yield from remaining_lines(report)


def names_nobody(report: Report) -> bool:
    """Whether the sessions that the run was to look at do not exist."""
    return bool(report.settings.get("session_ids")) and not report.totals.sessions


def missing_lines(report: Report) -> Iterator[str]:
    """How many of the sessions that the run was to look at do not exist, where others do."""
    named = len(set(report.settings.get("session_ids") or ()))
    there = report.totals.sessions - (report.symptom("duplicate_session").found or 0)
    if 0 < there < named:
        some = f"{named - there} of the {named} session_ids"
        yield f"⚠️  No session has {some} that --session-id names"


def absent_lines(report: Report) -> Iterator[str]:
    """Which of the sessions that the run was to look at do not exist, be it all of them."""
    if names_nobody(report):
        yield NOBODY
    yield from missing_lines(report)


def remaining_lines(report: Report) -> Iterator[str]:
    """What no correction of this scope concerns, as far as the run knows of it."""
    yield from missing_lines(report)
    orphans = report.symptom("orphan_session").found
    if orphans:
        remain = f"{number_of(orphans, 'orphan session')} {either(orphans, 'remains', 'remain')}"
        yield f"   {remain} (created but no events)"
    malformed = report.symptom("malformed").found
    if malformed:
        cannot = f"{number_of(malformed, 'session')} {either(malformed, 'is', 'are')} malformed"
        yield f"   {cannot} and left alone"
    others = findings_outside(report)
    if others:
        yield (
            f"   {number_of(others, 'finding')} {either(others, 'lies', 'lie')} outside of this "
            f"scope ({scope_of(report)})"
        )


def findings_outside(report: Report) -> int:
    """The findings that a wider scope may correct, as far as they were counted."""
    if report.settings.get("scope") != EMPTY and not report.settings.get("only"):
        return 0
    found = [report.symptom(code) for code in CORRECTED_CODES]
    return sum(it.found - it.to_correct - it.deferred for it in found if it.found is not None)


def scope_of(report: Report) -> str:
    """The options that bound what the run could correct, as they are typed."""
    asked = report.settings
    has_scope = "scope" in asked and report.verb != DELETE_ORPHANS
    options = [f"--scope {asked['scope']}"] if has_scope else []
    options += [f"--only {','.join(asked['only'])}"] if asked.get("only") else []
    ids = [printable(str(it)) for it in asked.get("session_ids") or ()]
    options += [f"--session-id {shown(it)}" for it in ids[:SHOWN]]
    options += [f"{len(ids) - SHOWN} more"] if len(ids) > SHOWN else []
    options += [f"--{name} {asked[name]}" for name in ("since", "until") if asked.get(name)]
    return ", ".join(options)


def in_scope(report: Report) -> str:
    """What the run was about, if not all sessions."""
    is_narrow = is_partial(report.settings, {"window": report.window})
    return f" in this scope ({scope_of(report)})" if is_narrow else ""


def way_on(report: Report) -> str:
    """What to do about a run that did not do everything."""
    if report.outcomes and report.outcomes.failed:
        return "mend what MongoDB refused, then run it again"
    return "run it again for what was skipped"


def fix_verdict(report: Report, verification: Verification) -> Iterator[str]:
    scope = in_scope(report)
    if report.verdict is not Exit.CLEAN:
        yield f"⚠️  Not everything was done: {way_on(report)}"
    elif names_nobody(report):
        yield NOBODY
    elif report.totals.deferred:
        have = f"All sessions{scope} that can be fixed now have been fixed"
        yield f"✅ {have}; those in flight wait"
    else:
        yield f"✅ All fixable sessions{scope} have been fixed!"
    yield from remaining_lines(report)
    orphans = report.symptom("orphan_session").found or 0
    others = (verification.empty_remaining or 0) - orphans
    if others > 0 and report.verdict is Exit.CLEAN:
        name = either(others, "other names no page or counts", "others name no page or count")
        yield f"   {others} {name} nothing: by their events, malformed, copies, in flight or new"
