"""The history of runs: as a table of text, as data, and how the findings went."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from session_repair.kinds import show_duration
from session_repair.mongo.runs import DONE, PLANNED, UNDOING, UNDONE, counted, is_partial
from session_repair.repair.outcomes import APPLIED
from session_repair.reporting.formatting import printable
from session_repair.reporting.notify import words
from session_repair.settings import Settings
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import iso, number_of

Document = dict[str, Any]

BARS = "▁▂▃▄▅▆▇█"
TREND_RUNS = 30  # a month of nightly runs; fits on a line
LISTED = (  # of a run's document: what is told below; the rest of its report is long
    *("verb", "state", "goal", "settings", "verdict", "error", "planned", "window"),
    *("started_at", "planned_at", "updated_at", "ended_at", "versions.session_repair"),
    *("progress.counts", "progress.first_at", "progress.last_at", "undo.counts"),
    *("report.window", "report.symptoms.found"),
)


def runs_table(documents: list[Document], at_work: str | None = None) -> Iterator[str]:
    """What ``runs`` prints: a line for each run; ``at_work`` is the id of the one that is."""
    rows = [("run", "verb", "started (UTC)", "took", "scope", "ended", "changed")]
    for it in documents:
        began, took = it.get("started_at"), took_of(it)
        rows.append(
            (
                it["_id"],
                it["verb"],
                f"{began:%Y-%m-%d %H:%M}" if began else "?",
                "?" if took is None else show_duration(whole_seconds(took)),
                scope_of(it),
                end_of(it, is_at_work=it["_id"] == at_work),
                changed_by(it),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def run_told(document: Document, *, is_at_work: bool) -> Document:
    """One run of ``runs --json``: what its line says, in full."""
    asked, took, window = document.get("settings") or {}, took_of(document), window_of(document)
    times = {name: document.get(name) for name in ("started_at", "planned_at", "ended_at")}
    return {
        "run_id": document["_id"],
        "verb": document["verb"],
        "version": (document.get("versions") or {}).get("session_repair"),
        "state": document.get("state"),
        "is_at_work": is_at_work,
        **{name: None if it is None else iso(it) for name, it in times.items()},
        "took_seconds": None if took is None else took.total_seconds(),
        **{name: asked.get(name) for name in ("scope", "only", "session_ids", "duplicates")},
        "window": {name: iso(it) for name, it in window.items()} if window else None,
        "verdict": document.get("verdict"),
        "error": document.get("error"),
        "planned": document.get("planned"),
        "outcomes": counted(document, "progress"),
        "undone": counted(document, "undo") if document.get("undo") else None,
    }


def whole_seconds(took: timedelta) -> timedelta:
    """As far as people look at it: from a second on in whole ones."""
    return timedelta(seconds=took // timedelta(seconds=1)) if took.total_seconds() >= 1 else took


def took_of(document: Document) -> timedelta | None:
    """From its begin to its end, or to its last sign of life; not what it waited as a plan.

    How long an undo of it took is no part of that.
    """
    began: datetime | None = document.get("started_at")
    progress = document.get("progress") or {}
    ended = document.get("ended_at") or document.get("updated_at")
    if document.get("state") in (UNDOING, UNDONE):
        ended = document.get("ended_at") or progress.get("last_at")
    if began is None or ended is None:
        return None
    took = ended - began
    planned, applied = document.get("planned_at"), progress.get("first_at")
    if document.get("goal") == PLANNED and planned and applied:
        took -= applied - planned
    return took


def window_of(document: Document) -> dict[str, datetime] | None:
    """What it was about, where that is not all there was."""
    window: dict[str, datetime] | None = document.get("window")
    return window or (document.get("report") or {}).get("window")


def scope_of(document: Document) -> str:
    """What it was asked to change."""
    asked = document.get("settings") or {}
    parts = [asked.get("scope", "?")]
    if document["verb"] == DELETE_ORPHANS:
        parts = ["copies" if asked.get("duplicates") else "orphans"]
    if only := asked.get("only"):
        parts.append(f"only {', '.join(only)}")
    if ids := asked.get("session_ids"):
        parts.append(number_of(len(ids), "session"))
    if window := window_of(document):
        until = f" until {window['until']:%Y-%m-%d %H:%M}" if asked.get("until") else ""
        parts.append(f"since {window['since']:%Y-%m-%d %H:%M}{until}")
    return printable(", ".join(parts))


def end_of(document: Document, *, is_at_work: bool) -> str:
    """How it ended, or what it is at: a run that stopped says so, with its exit code."""
    state, verdict = document.get("state", "?"), document.get("verdict")
    if is_at_work:
        return f"at work: {state}"
    if state == UNDONE:
        return state
    if document.get("error") is not None and verdict is not None:
        how = f"stopped: {words(verdict)} ({verdict})"
        return f"undo {how}" if state == UNDOING else how
    if state == DONE and verdict is not None:
        return f"{words(verdict)} ({verdict})"
    if state == PLANNED and document.get("goal") == PLANNED:
        return state
    return "?" if state == "?" else f"broke off: {state}"


def changed_by(document: Document) -> str:
    """How many sessions it changed, what became of the others, and what was taken back."""
    counts, planned = dict(counted(document, "progress")), document.get("planned")
    done = "deleted" if document["verb"] == DELETE_ORPHANS else "corrected"
    told = f"{counts.pop(APPLIED, 0)} {done}" if counts else ""
    told = ", ".join([told, *(f"{count} {name}" for name, count in sorted(counts.items()))])
    if not told and planned is not None:
        told = f"0 of {planned}"
    if undone := counted(document, "undo"):
        told += f"; undo: {', '.join(f'{it} {name}' for name, it in sorted(undone.items()))}"
    why = printable((document.get("error") or "").removesuffix(": "))
    return f"{told}  {why}".strip()


def trend(documents: list[Document], settings: Settings) -> Iterator[str]:
    """How the findings went over the latest runs of ``fix``, oldest first; no line for one run.

    Of runs over all sessions, and over the collections that the settings name.
    """
    counted = [
        [symptom["found"] for symptom in document["report"]["symptoms"]]
        for document in documents
        if document["verb"] == "fix" and document.get("report") and is_whole(document, settings)
    ]
    # What runs by look-up did not count cannot be set beside what others did.
    found = [sum(counts) for counts in counted if None not in counts][:TREND_RUNS]
    if len(found) < 2:
        return
    oldest, *_, newest = found = found[::-1]
    most = max(1, *found)
    line = "".join(BARS[(len(BARS) - 1) * count // most] for count in found)
    yield f"findings of the last {len(found)} fixes: {oldest} {line} {newest}"
    yield ""


def is_whole(document: Document, settings: Settings) -> bool:
    """Whether the run looked at all sessions of these collections."""
    asked = document["settings"]
    names = (asked["sessions"], asked["events"])
    is_part = is_partial(asked, document["report"])
    return names == (settings.sessions, settings.events) and not is_part
