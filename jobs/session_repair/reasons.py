"""Reasons: one table of why a finding is left alone, and of what would change that."""

from __future__ import annotations

from dataclasses import dataclass

from session_repair.verbs import DELETE_ORPHANS, FIX

SCOPE, ONLY, SHRINK, IN_FLIGHT, TOO_LARGE = "scope", "only", "shrink", "in_flight", "too_large"
CONFLICT, COPY, NO_EVENTS, NO_SESSION = "conflict", "copy", "no_events", "no_session"
MALFORMED, DISAGREE = "malformed", "disagree"
PHANTOM = "phantom"
YOUNG, BARE, FILLED = "young", "bare", "filled"  # of what a deletion is about


@dataclass(frozen=True)
class Reason:
    """A row of the table. Without a remedy nothing changes it; some have the words of a command."""

    code: str
    why: str
    remedy: str = ""
    command: tuple[str, ...] = ()


REASONS = {
    it.code: it
    for it in (
        Reason(SCOPE, "outside of --scope empty", "--scope all", (FIX, "--scope", "all")),
        Reason(ONLY, "not named by --only", "leave out --only", (FIX,)),
        Reason(
            SHRINK,
            "never shrink: events may have expired",
            "--scope all --allow-shrink",
            (FIX, "--scope", "all", "--allow-shrink"),
        ),
        Reason(IN_FLIGHT, "in flight, or it changed between two looks", "a later run"),
        Reason(TOO_LARGE, "its correction does not fit into 16 MB"),
        Reason(CONFLICT, "its events name several users"),
        Reason(DISAGREE, "its events disagree on what should be single"),
        Reason(
            COPY,
            "another document is the one to keep",
            "delete-orphans --duplicates, if empty",
            (DELETE_ORPHANS, "--duplicates"),
        ),
        Reason(NO_EVENTS, "no event names it", "delete-orphans, if empty", (DELETE_ORPHANS,)),
        Reason(PHANTOM, "filled, and no event names it: they may be archived"),
        Reason(NO_SESSION, "no session has the id of these events"),
        Reason(
            MALFORMED, "a wrong type, or too large: nothing can be told", "right names or types"
        ),
        Reason(YOUNG, "younger than --min-age, or of no known age", "a shorter --min-age"),
        Reason(BARE, "has neither pages nor a count: they may have other names", "right names"),
        Reason(FILLED, "a copy that is not empty"),
    )
}
# Why what a run can correct is left alone.
OF_CORRECTED = (SCOPE, ONLY, SHRINK, IN_FLIGHT, TOO_LARGE)
