"""Text: the report for the terminal, in the words and headings of the guide."""

from __future__ import annotations

from collections.abc import Iterator

from session_repair.aggregates import shape_of
from session_repair.repair.outcomes import ALREADY_RIGHT, REFUSED, RESTORABLE, RESTORED
from session_repair.repair.report import (
    OddType,
    Report,
    Verification,
)
from session_repair.repair.undo import UndoReport
from session_repair.reporting.checks import Block, blocks_of
from session_repair.reporting.deletions import deletion_plan, deletion_verdict
from session_repair.reporting.formatting import (
    LINE,
    SHOWN,
    change,
    printable,
    sample_line,
    shown,
    title,
    visible,
    window_line,
)
from session_repair.reporting.verdicts import (
    fix_verdict,
    left_lines,
    missing_lines,
    verdict_lines,
)
from session_repair.symptoms import MALFORMED
from session_repair.typed import on_the_same, typed
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import either, number_of


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
    for number, block in enumerate(blocks_of(shape_of(report.settings)), start=1):
        yield ""
        yield f"{keycap(number)} {block.heading}:"
        yield from block_lines(report, block)
    yield ""
    yield from verdict_lines(report)


def block_lines(report: Report, block: Block) -> Iterator[str]:
    codes = block.codes(shape_of(report.settings))
    symptoms = [report.symptom(code) for code in codes]
    found = sum(symptom.found or 0 for symptom in symptoms)  # verify knows all of them
    yield f"  {block.counted}: {getattr(report.totals, block.total) if block.total else found}"
    odd = report.malformed if codes == (MALFORMED,) else ()
    if not found and not odd:
        is_told = report.totals.sessions and not report.malformed_beyond
        yield f"  ✅ {block.right}" if is_told else "  ℹ️  None found, where so little can be told"
        return
    events = getattr(report.totals, block.events) if block.events else None
    by_event = "" if events is None else f": {number_of(events, 'event')}"
    yield f"  ⚠️  {number_of(found, *block.wrong)}{by_event}"
    to_correct = sum(symptom.to_correct for symptom in symptoms)
    deferred = sum(symptom.deferred for symptom in symptoms)
    if to_correct or deferred:
        wait = either(deferred, "waits", "wait")
        waiting = f", {deferred} {wait} for a session in flight" if deferred else ""
        yield f"     fix corrects {to_correct}{waiting}"
    for symptom in symptoms:
        for sample in symptom.samples:
            yield f"     {sample_line(symptom, sample)}"
    yield from (f"     {odd_type_line(it)}" for it in odd)


def odd_type_line(odd: OddType) -> str:
    some = ", ".join(shown(key) for key in odd.samples[:SHOWN])
    told = f"{odd.documents} of {printable(odd.collection)}: {odd.field} is {odd.type}"
    return f"{told}, as in {some}" if some else told


def again_report(run_id: str, verb: str, report: Report) -> Iterator[str]:
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
        again = on_the_same(verb, "--apply", settings=report.settings)
        yield f"⚠️  Somebody writes old values: find out who, then {again}"
    elif seen.gone:
        yield "⚠️  Somebody deletes sessions; the others are as the run left them, or told below"
    elif seen.moved_on:
        return
    elif seen.as_planned:
        verify = on_the_same("verify", settings=report.settings)
        yield f"✅ It stayed repaired. Events that came since are not asked for: {verify}"
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
    yield from correction_lines(report)
    yield from verdict_lines(report)


def plan_report(report: Report) -> Iterator[str]:
    """What ``--plan`` prints."""
    if report.verb == DELETE_ORPHANS:
        yield from deletion_plan(report)
    else:
        planned = report.totals.planned
        done = f"Planned to fix {number_of(planned, 'session')}"
        yield f"{done}. Nothing was written to {either(planned, 'it', 'them')}."
        yield from correction_lines(report)
        yield from missing_lines(report)
        yield from left_lines(report)
    apply = typed(report.settings.get("reached_by", ()), "apply", report.run_id)
    yield f"Apply this plan with: {apply}"


def correction_lines(report: Report) -> Iterator[str]:
    for correction in report.corrections:
        yield f"  {visible(correction.session_id)}"
        for it in correction.changes:
            yield f"    {printable(it.field)}: {change(it.stored, it.rebuilt, it.difference)}"
    yield ""


def fix_report(report: Report) -> Iterator[str]:
    """What ``fix --apply`` prints after the write."""
    outcomes, verification = report.outcomes, report.verification
    assert outcomes is not None
    assert verification is not None
    is_deletion = report.verb == DELETE_ORPHANS
    deferred, orphans = report.totals.deferred, report.symptom("orphan_session").found
    yield ""
    yield LINE
    mark = "✅" if outcomes.applied else "ℹ️ "
    done = f"{'Deleted' if is_deletion else 'Fixed'} {number_of(outcomes.applied, 'session')}"
    yield f"{mark} {done}"
    for name, count in outcomes.left().items():
        yield f"{'ℹ️' if name == ALREADY_RIGHT else '⚠️'}  {count} {name}"
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
    """The figures of all sessions, which add up; a run about some of them counts no others."""
    if verification.with_events is None:
        return
    yield f"Total sessions: {verification.sessions}"
    yield f"Sessions with events: {verification.with_events}"
    if verification.filled_without_events:
        yield f"Filled sessions without events: {verification.filled_without_events}"
    if verification.malformed:
        yield f"Sessions malformed in pages or count: {verification.malformed}"
    yield f"Empty sessions remaining: {verification.empty_remaining}"


def reasons(report: Report, outcome: str, count: int) -> Iterator[str]:
    """The sessions of one outcome that have an error, by name; how many more there are."""
    told = [it for it in report.left if it.outcome == outcome and it.error]
    for it in told:
        yield f"     {shown(it.session_id)}  {printable(str(it.error))}"
    if told and len(told) < count:
        yield f"     and {count - len(told)} more, as the journal says"


FORESEEN = {RESTORABLE: "would be restored", RESTORED: "restored already"}  # by a dry run


def undo_report(undo: UndoReport, is_apply: bool) -> Iterator[str]:
    """What ``undo`` prints."""
    yield from title(f"Undo {undo.run_id}")
    for state, count in sorted(undo.counts.items()):
        yield f"{number_of(count, 'session')} {state if is_apply else FORESEEN.get(state, state)}"
    if undo.is_empty:
        yield "The run wrote no session: there is nothing to undo, and it stays as it is."
        return
    for session_id, state, error in undo.left_alone:
        why = f": {printable(error)}" if error else ""
        yield f"  {visible(session_id)}  {state}, left alone{why}"
    if REFUSED in undo.counts:
        yield "⚠️  What MongoDB refused stands in the journal: see plan.observed, or before"
    if undo.lost:
        are = either(undo.lost, "is lost or has", "are lost or have")
        yield f"⚠️  {number_of(undo.lost, 'row')} of its journal {are} expired: not restored"
    if not is_apply:
        yield "This was a dry run: nothing was written. Restore with --apply."
