"""Deletions: what ``delete-orphans`` says of orphan sessions, or of empty copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from session_repair.aggregates import shape_of
from session_repair.errors import Exit
from session_repair.repair.report import Report
from session_repair.reporting.formatting import name_of, shown, title, visible
from session_repair.reporting.verdicts import (
    in_scope,
    left_lines,
    malformed_lines,
    missing_lines,
    not_green,
    way_on,
)
from session_repair.wording import either, number_of


@dataclass(frozen=True)
class Deletable:
    """What ``delete-orphans`` deletes, and how it is called."""

    heading: str
    code: str
    one: str
    many: str
    found: tuple[str, str]  # {id} stands for what the documents call the id of a session


ORPHANS = Deletable(
    "Delete Orphan Sessions",
    "orphan_session",
    "orphan session",
    "orphan sessions",
    ("orphan session (no events)", "orphan sessions (no events)"),
)

COPIES = Deletable(
    "Delete Empty Copies",
    "duplicate_session",
    "empty copy",
    "empty copies",
    ("document that repeats a {id}", "documents that repeat a {id}"),
)


def deletable(report: Report) -> Deletable:
    return COPIES if report.settings.get("duplicates") else ORPHANS


def not_planned(report: Report) -> Mapping[str, int]:
    """By reason, how many of the findings that a deletion is about it leaves alone."""
    return report.symptom(deletable(report).code).left


def deletion_heading(report: Report) -> Iterator[str]:
    """What ``delete-orphans`` prints before it deletes."""
    kind = deletable(report)
    yield from title(kind.heading)
    found = report.symptom(kind.code).found
    if found is not None:  # a look-up reads no copies but those of empty sessions
        session_id = shape_of(report.settings).in_sessions("session_id")
        yield f"Found {number_of(found, *kind.found)}".format(id=session_id)
    for kept in report.kept:
        spell = f"is kept: events spell its id as {kept.types}"
        if kept.sessions != 1:
            spell = f"are kept: events spell their ids as {kept.types}"
        more = kept.sessions - len(kept.samples)
        some = [*map(shown, kept.samples), *([f"{more} more"] if more else [])]
        yield f"ℹ️  {number_of(kept.sessions, 'session')} {spell}: {', '.join(some)}"
    yield ""


def deletion_plan(report: Report) -> Iterator[str]:
    """What ``delete-orphans`` prints when it deletes nothing."""
    kind, planned = deletable(report), report.totals.planned
    number = number_of(planned, "session")
    if report.is_frozen:
        them = either(planned, "it", "them")
        yield f"Planned to delete {number}. Nothing was written to {them}."
    else:
        yield f"Would delete {number}. This was a dry run: nothing was written."
    for sample in report.symptom(kind.code).samples:
        if sample.why is None:
            yield f"  {visible(name_of(sample))}"
    if report.malformed_beyond:
        yield from malformed_lines(report)
    elif not report.is_green:
        yield from not_green(report)
    yield from missing_lines(report)
    yield from left_lines(report, kind.code)


def deletion_verdict(report: Report) -> Iterator[str]:
    kind = deletable(report)
    if report.verdict is not Exit.CLEAN:
        yield f"⚠️  Not everything was done: {way_on(report)}"
    elif report.totals.planned:
        yield f"✅ All planned {kind.many} have been deleted!"
    elif not report.is_green:
        yield from not_green(report)
    elif report.settings.get("session_ids") and (not_planned(report) or report.kept):
        yield f"⚠️  What --session-id names is no {kind.one} to be deleted"
    else:
        yield f"✅ There was no {kind.one} to be deleted{in_scope(report)}"
    yield from missing_lines(report)
    yield from left_lines(report, kind.code)
