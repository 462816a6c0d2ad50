"""The history of runs, as lines of text: a table, and how the findings went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from session_repair.mongo.runs import counted, is_partial
from session_repair.reporting.formatting import printable
from session_repair.settings import Settings

BARS = "▁▂▃▄▅▆▇█"
TREND_RUNS = 30  # a month of nightly runs; fits on a line


def runs_table(documents: list[dict[str, Any]]) -> Iterator[str]:
    """What ``runs`` prints: a line for each run, the newest first."""
    yield f"{'run':<24} {'verb':<15} {'state':<9} {'exit':>4} {'planned':>8}  outcomes"
    for document in documents:
        counts = counted(document, "progress")
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        verdict = document.get("verdict", "")
        planned = document.get("planned", "")
        error = f"  {printable(document['error'])}" if document.get("error") else ""
        yield (
            f"{document['_id']:<24} {document['verb']:<15} {document.get('state', '?'):<9} "
            f"{verdict!s:>4} {planned!s:>8}  {outcomes}{error}"
        )


def trend(documents: list[dict[str, Any]], settings: Settings) -> Iterator[str]:
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


def is_whole(document: dict[str, Any], settings: Settings) -> bool:
    """Whether the run looked at all sessions of these collections."""
    asked = document["settings"]
    names = (asked["sessions"], asked["events"])
    is_part = is_partial(asked, document["report"])
    return names == (settings.sessions, settings.events) and not is_part
