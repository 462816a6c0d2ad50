"""Counts: what the runs counted, each figure as the run knows it that counted it last."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from session_repair.errors import Exit
from session_repair.health.model import UNKNOWN_COUNT, Count, Health
from session_repair.kinds import LAST_SUCCESS, format_duration
from session_repair.mongo.empty import empty_sessions
from session_repair.mongo.runs import DONE, UNDOING, UNDONE, counted, is_partial
from session_repair.mongo.store import Store
from session_repair.repair.outcomes import ALREADY_RIGHT, APPLIED, RESTORED, SKIPPED_GONE
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import either, number_of

Document = dict[str, Any]


def end_of(document: Document) -> datetime:
    """When a run ended, or gave its last sign of life."""
    if document.get("state") == DONE:
        return at(document, "ended_at")
    return at(document, "updated_at")


def at(document: Document, name: str) -> datetime:
    moment: datetime = document.get(name) or document["started_at"]
    return moment


def seconds(age: timedelta) -> int:
    return max(0, round(age.total_seconds()))


def latest_counts(documents: list[Document], now: datetime) -> dict[str, Count]:
    """Each count as the run knows it that counted it last."""
    counts = {}
    for name in ("empty", "fixable", "orphan"):
        known = [it for document in documents for it in counted_by(document).get(name, [])]
        if known:
            moment, count = max(known)
            counts[name] = Count(count, seconds(now - moment), None)
        else:
            counts[name] = UNKNOWN_COUNT
    return counts


def counted_by(document: Document) -> dict[str, list[tuple[datetime, int]]]:
    """What one run counted and when, with what it changed since then taken into account."""
    report = document.get("report")
    if report is None:
        return {}
    began, ended = report["server_time"], end_of(document)
    totals, outcomes = report["totals"], report["outcomes"]
    found = {symptom["code"]: symptom["found"] for symptom in report["symptoms"]}
    counts: dict[str, list[tuple[datetime, int]]] = {"empty": [], "fixable": [], "orphan": []}
    is_done = document.get("state") == DONE
    if is_done and report["verification"]["empty_remaining"] is not None:
        counts["empty"].append((ended, report["verification"]["empty_remaining"]))
    if is_partial(document["settings"], report):
        if goes_on(document):
            counts["fixable"].append((ended, still_fixable(document)))
        return counts
    if totals["potentially_empty"] is not None:  # a look-up of orphans does not know
        counts["empty"].append((began, totals["potentially_empty"]))
    if document["verb"] == DELETE_ORPHANS:
        of_orphans = is_done and not document["settings"].get("duplicates")
        deleted = outcomes[APPLIED] if of_orphans else 0
        moment = ended if of_orphans else began
        counts["orphan"].append((moment, found["orphan_session"] - deleted))
        return counts
    counts["orphan"].append((began, found["orphan_session"]))
    counts["fixable"].append((ended, still_fixable(document)))
    return counts


def goes_on(document: Document) -> bool:
    """Whether a run began where the last success had ended: what it left is all that is left."""
    asked = document["settings"]
    is_bounded = asked.get("until") or asked.get("session_ids")
    is_of_fix: bool = document["verb"] != DELETE_ORPHANS
    return is_of_fix and asked.get("since") == LAST_SUCCESS and not is_bounded


def still_fixable(document: Document) -> int:
    """Of the planned corrections, those not made, and those undone or put back since."""
    report = document["report"]
    done = report["outcomes"] or counted(document, "progress")
    applied = done.get(APPLIED, 0)
    others = done.get(ALREADY_RIGHT, 0) + done.get(SKIPPED_GONE, 0)
    left: int = report["totals"]["planned"] - applied - others
    if document.get("state") == UNDOING:
        left += applied  # all of them, in the worst case
    elif document.get("state") == UNDONE:
        left += counted(document, "undo").get(RESTORED, 0)
    elif report["verification"]:
        left += report["verification"]["put_back"]
    return left


def count_empty(store: Store, limit: timedelta) -> Count:
    """The empty sessions now, by a scan that the server ends at the limit: then it is not known."""
    try:
        with pymongo.timeout(max(limit.total_seconds(), 0.001)):
            count = store.sessions.count_documents(empty_sessions(store.settings))
    except PyMongoError as error:
        if not error.timeout:
            raise
        return Count(None, None, f"not counted within --time-limit {format_duration(limit)}")
    return Count(count, 0, None)


def recounted(known: Health, empty: Count) -> Health:
    """The health with the empty sessions counted now; more than were known are not ok."""
    answer, before = replace(known, empty=empty), known.empty.count
    if known.status != "ok" or empty.count is None or before is None or empty.count <= before:
        return answer
    now = f"{number_of(empty.count, 'session')} {either(empty.count, 'is', 'are')} empty now"
    reason = f"{now}, {before} when they were last counted"
    return replace(answer, status="degraded", reason=reason, verdict=Exit.FIXABLE_REMAINS)
