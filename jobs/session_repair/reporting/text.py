"""Text: the report for the terminal, in the words and headings of the guide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from session_repair.errors import Exit
from session_repair.home import COMMAND
from session_repair.mongo.runs import is_partial
from session_repair.repair.past import REFUSED
from session_repair.repair.report import (
    DELETE_ORPHANS,
    Correction,
    OddType,
    Report,
    Sample,
    Symptoms,
    Verification,
)
from session_repair.repair.undo import UndoReport
from session_repair.reporting.sections import BLOCKS, Block
from session_repair.scope import CORRECTED, EMPTY
from session_repair.wording import either, number_of

LINE = "=" * 60
SHOWN = 3  # _ids of malformed documents in a line; the JSON has more


def printable(text: str) -> str:
    """The text with control and formatting characters escaped: it cannot steer a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def title(text: str) -> Iterator[str]:
    yield from (LINE, text, LINE)


def window_line(report: Report) -> Iterator[str]:
    """What was looked at, where that is not all there is."""
    if report.window:
        since, until = (f"{report.window[name]:%Y-%m-%d %H:%M}" for name in ("since", "until"))
        yield f"Only sessions active from {since} until {until} UTC"


def keycap(number: int) -> str:
    if number == 10:
        return "🔟"
    return "".join(f"{digit}\ufe0f\u20e3" for digit in str(number))


def verification_report(report: Report) -> Iterator[str]:
    """The lines that ``verify`` prints."""
    totals = report.totals
    yield from title("Session Verification Report")
    yield from window_line(report)
    yield ""
    yield "📊 Overall Stats:"
    yield f"  Total sessions: {totals.sessions}"
    yield f"  Total events: {totals.events}"
    for number, block in enumerate(BLOCKS, start=1):
        yield ""
        yield f"{keycap(number)} {block.heading}:"
        yield from block_lines(report, block)
    yield ""
    yield from verdict_lines(report)


def block_lines(report: Report, block: Block) -> Iterator[str]:
    symptoms = [report.symptom(code) for code in block.codes]
    found = sum(symptom.found or 0 for symptom in symptoms)  # verify knows all of them
    yield f"  {block.counted}: {counted(report, block, found)}"
    if not found:
        yield f"  ✅ {block.right}"
        return
    yield f"  ⚠️  {number_of(found, *block.wrong)}"
    to_correct = sum(symptom.to_correct for symptom in symptoms)
    deferred = sum(symptom.deferred for symptom in symptoms)
    if to_correct or deferred:
        wait = either(deferred, "waits", "wait")
        waiting = f", {deferred} {wait} for a session in flight" if deferred else ""
        yield f"     fix corrects {to_correct}{waiting}"
    for symptom in symptoms:
        for sample in symptom.samples:
            yield f"     {sample_line(symptom, sample)}"
    if block.codes == ("malformed",):
        yield from (f"     {odd_type_line(it)}" for it in report.malformed)


def counted(report: Report, block: Block, found: int) -> int | None:
    """The guide counts all empty sessions in its first two checks, orphans included."""
    if block.codes == ("empty_pages",):
        return report.totals.names_no_page
    if block.codes == ("zero_events",):
        return report.totals.counts_nothing
    return found


def odd_type_line(odd: OddType) -> str:
    some = ", ".join(shown(key) for key in odd.samples[:SHOWN])
    return (
        f"{odd.documents} of {printable(odd.collection)}: {odd.field} is {odd.type}, as in {some}"
    )


def sample_line(symptom: Symptoms, sample: Sample) -> str:
    name = sample.session_id if sample.session_id is not None else sample.session_key
    parts = [printable(str(name))]
    if sample.stored is not None or sample.rebuilt is not None:
        parts.append(f"{shown(sample.stored)} → {shown(sample.rebuilt)}")
    if sample.evidence is not None:
        parts.append(printable(sample.evidence))
    return f"{symptom.code}  {'  '.join(parts)}"


def shown(value: str | None) -> str:
    if value is None:
        return "none"
    text = printable(value)
    return text if len(text) <= 100 else text[:99] + "…"


def verdict_lines(report: Report) -> Iterator[str]:
    planned, deferred = report.totals.planned, report.totals.deferred
    if report.verdict is Exit.FIXABLE_REMAINS:
        can = f"{number_of(planned, 'session')} can be repaired"
        yield f"⚠️  {can} from {either(planned, 'its', 'their')} events: fix --apply"
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


NOBODY = "⚠️  No session has the session_id that --session-id names"


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
    found = [report.symptom(code) for code in CORRECTED]
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


def again_report(run_id: str, report: Report) -> Iterator[str]:
    """What ``verify --run`` prints of the sessions that a run changed."""
    seen = report.verification
    assert seen is not None
    yield from title(f"Run {run_id}, looked at again")
    yield f"As the run left them: {seen.as_planned}"
    yield f"Put back to what they were before: {seen.put_back}"
    yield f"Changed since in another way: {seen.moved_on}"
    yield f"Gone: {seen.gone}"
    yield ""
    if seen.put_back:
        yield "⚠️  Somebody writes old values: find out who, then fix --apply"
    elif seen.gone:
        yield "⚠️  Somebody deletes sessions; the others are as the run left them, or told below"
    elif seen.moved_on:
        return
    elif seen.as_planned:
        yield "✅ It stayed repaired. Events that came since are not asked for: verify --since"
    else:
        yield "The run changed no session: there is nothing to look at again"


def fix_heading(report: Report) -> Iterator[str]:
    """What ``fix`` prints before it writes."""
    yield from title("Fix Empty Sessions")
    yield from window_line(report)
    empty = report.totals.potentially_empty or 0
    yield f"Found {number_of(empty, 'potentially empty session')}"
    yield ""


def dry_run_report(report: Report) -> Iterator[str]:
    """What ``fix`` prints when it writes nothing."""
    would = f"Would fix {number_of(report.totals.planned, 'session')}"
    yield f"{would}. This was a dry run: nothing was written."
    for correction in report.corrections:
        yield from correction_lines(correction)
    yield ""
    yield from verdict_lines(report)


def plan_report(report: Report) -> Iterator[str]:
    """What ``fix --plan`` prints."""
    planned = report.totals.planned
    done = f"Planned to fix {number_of(planned, 'session')}"
    yield f"{done}. Nothing was written to {either(planned, 'it', 'them')}."
    for correction in report.corrections:
        yield from correction_lines(correction)
    yield ""
    yield from absent_lines(report)
    yield f"Apply this plan with: {COMMAND} apply {report.run_id}"


def correction_lines(correction: Correction) -> Iterator[str]:
    yield f"  {printable(correction.session_id)}"
    for change in correction.changes:
        yield f"    {change.field}: {shown(change.stored)} → {shown(change.rebuilt)}"


def fix_report(report: Report) -> Iterator[str]:
    """What ``fix --apply`` prints after the write."""
    outcomes, verification = report.outcomes, report.verification
    assert outcomes is not None
    assert verification is not None
    is_deletion = report.verb == DELETE_ORPHANS
    deferred, orphans = report.totals.deferred, report.symptom("orphan_session").found
    yield ""
    yield LINE
    yield f"✅ {'Deleted' if is_deletion else 'Fixed'} {number_of(outcomes.applied, 'session')}"
    for name, count in outcomes.left().items():
        yield f"⚠️  {count} {name}"
        yield from reasons(report, name, count)
    if deferred:
        yield f"ℹ️  Deferred {number_of(deferred, 'session')} in flight"
    if not is_deletion:
        yield f"ℹ️  Found {number_of(orphans or 0, 'orphan session')} (no events)"
    yield LINE
    yield ""
    yield "=== Verification ==="
    yield from whole_collection(verification)
    yield f"Read back as planned: {verification.as_planned}"
    for name in ("put_back", "moved_on", "gone"):
        count = getattr(verification, name)
        if count:
            yield f"Since then {name.replace('_', ' ')}: {count}"
    yield ""
    yield from (deletion_verdict(report) if is_deletion else fix_verdict(report, verification))


def whole_collection(verification: Verification) -> Iterator[str]:
    """The figures of all sessions; a run about some of them counts no others."""
    if verification.with_events is None:
        return
    yield f"Total sessions: {verification.sessions}"
    yield f"Sessions with events: {verification.with_events}"
    yield f"Empty sessions remaining: {verification.empty_remaining}"


def is_narrow(report: Report) -> bool:
    """Whether the run was about some sessions only."""
    return is_partial(report.settings, {"window": report.window})


def in_scope(report: Report) -> str:
    """What the run was about, if not all sessions."""
    return f" in this scope ({scope_of(report)})" if is_narrow(report) else ""


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


def deletion_verdict(report: Report) -> Iterator[str]:
    kind = deletable(report)
    if report.verdict is not Exit.CLEAN:
        yield f"⚠️  Not everything was done: {way_on(report)}"
    elif report.totals.planned:
        yield f"✅ All planned {kind.many} have been deleted!"
    elif names_nobody(report):
        yield NOBODY
    else:
        yield f"✅ There was no {kind.one} to be deleted{in_scope(report)}"
    yield from missing_lines(report)
    yield from deletion_left(report)


def reasons(report: Report, outcome: str, count: int) -> Iterator[str]:
    """The sessions of one outcome that have an error, by name; how many more there are."""
    told = [it for it in report.left if it.outcome == outcome and it.error]
    for it in told:
        yield f"     {printable(str(it.session_id))}  {printable(str(it.error))}"
    if told and len(told) < count:
        yield f"     and {count - len(told)} more, as the journal says"


def way_on(report: Report) -> str:
    """What to do about a run that did not do everything."""
    if report.outcomes and report.outcomes.failed:
        return "mend what MongoDB refused, then run it again"
    return "run it again for what was skipped"


@dataclass(frozen=True)
class Deletable:
    """What ``delete-orphans`` deletes, and how it is called."""

    heading: str
    code: str
    one: str
    many: str
    found: tuple[str, str]
    left: str


ORPHANS = Deletable(
    "Delete Orphan Sessions",
    "orphan_session",
    "orphan session",
    "orphan sessions",
    ("orphan session (no events)", "orphan sessions (no events)"),
    "too young, in flight, or without pages and count",
)
COPIES = Deletable(
    "Delete Empty Copies",
    "duplicate_session",
    "empty copy",
    "empty copies",
    ("document that repeats a session_id", "documents that repeat a session_id"),
    "not empty, too young, in flight, malformed, or without pages and count",
)


def deletable(report: Report) -> Deletable:
    return COPIES if report.settings.get("duplicates") else ORPHANS


def deletion_heading(report: Report) -> Iterator[str]:
    """What ``delete-orphans`` prints before it deletes."""
    kind = deletable(report)
    yield from title(kind.heading)
    found = report.symptom(kind.code).found
    if found is not None:  # a look-up reads no copies but those of empty sessions
        yield f"Found {number_of(found, *kind.found)}"
    for kept in report.kept:
        spell = f"is kept: events spell its id as {kept.types}"
        if kept.sessions != 1:
            spell = f"are kept: events spell their ids as {kept.types}"
        more = kept.sessions - len(kept.samples)
        some = [*map(shown, kept.samples), *([f"{more} more"] if more else [])]
        yield f"ℹ️  {number_of(kept.sessions, 'session')} {spell}: {', '.join(some)}"
    yield ""


def deletion_plan(report: Report) -> Iterator[str]:
    """What ``delete-orphans`` prints when it writes nothing."""
    kind, planned = deletable(report), report.totals.planned
    would = f"Would delete {number_of(planned, 'session')}"
    yield f"{would}. This was a dry run: nothing was written."
    for sample in report.symptom(kind.code).samples:
        yield f"  {printable(str(sample.session_id))}"
    yield from absent_lines(report)
    yield from deletion_left(report)


def deletion_left(report: Report) -> Iterator[str]:
    """How many of what was found are not in the plan, but for those that are kept."""
    left = not_planned(report)
    if left:
        yield f"ℹ️  {left} {either(left, 'is', 'are')} {deletable(report).left}"


def not_planned(report: Report) -> int:
    """The findings that a deletion is about and did not plan; 0 where they were not counted."""
    found = report.symptom(deletable(report).code).found
    return 0 if found is None else found - report.totals.planned - report.sessions_kept


def undo_report(undo: UndoReport, is_apply: bool) -> Iterator[str]:
    """What ``undo`` prints."""
    yield from title(f"Undo {undo.run_id}")
    for state, count in sorted(undo.counts.items()):
        yield f"{number_of(count, 'session')} {state}"
    if undo.is_empty:
        yield "The run wrote no session: there is nothing to undo, and it stays as it is."
        return
    for session_id, state, error in undo.left_alone:
        why = f": {printable(error)}" if error else ""
        yield f"  {printable(str(session_id))}  {state}, left alone{why}"
    if REFUSED in undo.counts:
        yield "⚠️  What MongoDB refused stands in the journal: see plan.observed, or before"
    if undo.lost:
        are = either(undo.lost, "is lost or has", "are lost or have")
        yield f"⚠️  {number_of(undo.lost, 'row')} of its journal {are} expired: not restored"
    if not is_apply:
        yield "This was a dry run: nothing was written. Restore with --apply."
