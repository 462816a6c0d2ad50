"""Verdicts: the last lines of a report: what was reached, what is left, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from session_repair.errors import Exit
from session_repair.mongo.runs import is_partial
from session_repair.reasons import NO_EVENTS, REASONS, Reason
from session_repair.repair.malformed import remedy, types_met
from session_repair.repair.report import Level, Report, Symptoms, Verification
from session_repair.reporting.formatting import SHOWN, printable, sample_line, shown
from session_repair.settings import SETTINGS
from session_repair.symptoms import ORPHAN
from session_repair.typed import on_the_same
from session_repair.verbs import DELETE_ORPHANS, FIX, VERIFY
from session_repair.wording import either, number_of


def verdict_lines(report: Report) -> Iterator[str]:
    planned, deferred = report.totals.planned, report.totals.deferred
    can = f"{number_of(planned, 'session')} can be repaired"
    if report.malformed_beyond:
        yield from malformed_lines(report)
    elif report.verdict is Exit.FIXABLE_REMAINS:
        fix = on_the_same(FIX, "--apply", settings=report.settings)
        yield f"⚠️  {can} from {either(planned, 'its', 'their')} events: {fix}"
        yield from (f"   {exceeded_line(it)}" for it in report.exceeded)
    elif planned:
        yield f"✅ {can} from {either(planned, 'its', 'their')} events, and --allow lets that pass"
    elif report.is_green:
        can_now = "can be repaired now" if deferred else "is left to repair"
        yield f"✅ Nothing in this scope {can_now}"
    else:
        yield from not_green(report)
    if deferred:
        were = either(deferred, "is in flight and was", "are in flight and were")
        yield f"   {number_of(deferred, 'session')} {were} left for a later run"
    yield from remaining_lines(report)


def malformed_lines(report: Report) -> Iterator[str]:
    """That so much is malformed that nothing can be told, what was met, and what can be done."""
    yield f"⚠️  It cannot be told whether all is right: {report.malformed_beyond}"
    if report.malformed:
        yield f"   {printable(types_met(report))}"
    yield f"   {remedy(report)}"


def exceeded_line(level: Level) -> str:
    """Which level is exceeded, and by how much."""
    is_let = f"--allow {level.code}={level.limit} lets {level.most} pass"
    if level.limit is None:
        is_let = f"--allow names no level of {level.code}"
    return f"{level.code}: {level.count} to be corrected, {is_let}: {level.count - level.most} more"


def not_green(report: Report) -> Iterator[str]:
    """In place of a green line: there was nothing to look at, or what was named is not right."""
    if report.is_named_left:
        yield "⚠️  What --session-id names is not all right, and is left alone"
    elif not report.totals.sessions and not report.missing:
        when = "was active then" if report.window else "is there"
        yield f"ℹ️  No session {when}: nothing was looked at"


def missing_lines(report: Report) -> Iterator[str]:
    """Which of the sessions that the run was to look at do not exist."""
    if report.missing:
        named = len(set(report.settings["session_ids"]))
        count = f"{len(report.missing)} of the {named} ids"
        which = "the id" if named == 1 else count
        yield f"⚠️  No session has {which} that --session-id names: {some_of(report.missing)}"


def some_of(names: Sequence[str], number: int | None = None) -> str:
    """A few of the names, and how many more there are."""
    some = [shown(it) for it in names[:SHOWN]]
    more = (len(names) if number is None else number) - len(some)
    return ", ".join([*some, *([f"{more} more"] if more else [])])


def remaining_lines(report: Report) -> Iterator[str]:
    """What the run leaves alone, as far as it knows of it, and why."""
    yield from missing_lines(report)
    orphans = report.symptom("orphan_session").found
    if orphans:
        remain = f"{number_of(orphans, 'orphan session')} {either(orphans, 'remains', 'remain')}"
        yield f"   {remain} (created but no events)"
        if report.verb == VERIFY:
            which = next_step(REASONS[NO_EVENTS], report.settings)
            yield f"   Which of them may go: {which}"
    yield from spelled_lines(report)
    yield from left_lines(report)


def spelled_lines(report: Report) -> Iterator[str]:
    """The sessions whose ids events spell in another type: to MongoDB these are other ids."""
    for it in report.kept:
        ids = either(it.sessions, "its id", "their ids")
        told = f"{number_of(it.sessions, 'session')}: some events spell {ids} as {it.types}"
        yield f"   {told}, which joins nothing: {some_of(it.samples, it.sessions)}"


def left_lines(report: Report, *codes: str) -> Iterator[str]:
    """A line for each finding and reason; where sessions are named, one for each of a few too.

    Of these findings; or of all but orphans, which have a line of their own.
    """
    wanted = codes or [it.code for it in report.symptoms if it.code != ORPHAN]
    left = [it for it in left_alone(report) if it[1].code in wanted]
    if left:
        yield "Left alone, and what changes that:"
    for count, symptom, reason in left:
        step = next_step(reason, report.settings)
        yield f"  {count:>6}  {symptom.code}  {reason.why}: {step}"
        if report.settings.get("session_ids"):
            these = [it for it in symptom.samples if it.why == reason.code]
            yield from (f"          {sample_line(symptom, it)}" for it in these)


def next_step(reason: Reason, settings: Mapping[str, Any]) -> str:
    """What changes that a finding is left alone: a command over what was looked at, or words."""
    if not reason.command:
        return reason.remedy or "nothing"
    verb, *options = reason.command
    rows = {name: SETTINGS[name] for name in settings.get("asked", ()) if name != "only"}
    asked = [name for name, row in rows.items() if row.typed(name) not in options]
    if verb == DELETE_ORPHANS:
        asked = [it for it in asked if rows[it].group in ("sessions", "reading")]
    return on_the_same(verb, *options, settings={**settings, "asked": asked})


def left_alone(report: Report) -> Iterator[tuple[int, Symptoms, Reason]]:
    """The findings that are left alone: how many of each for which reason."""
    for symptom in report.symptoms:
        for reason, count in symptom.left.items():
            yield count, symptom, REASONS[reason]


def scope_of(report: Report) -> str:
    """The options that bound what the run could correct, as they are typed."""
    asked = report.settings
    has_scope = "scope" in asked and report.verb != DELETE_ORPHANS
    options = [f"--scope {asked['scope']}"] if has_scope else []
    options += [f"--only {','.join(asked['only'])}"] if asked.get("only") else []
    ids = asked.get("session_ids") or ()
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
    elif not report.is_green:
        yield from not_green(report)
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
