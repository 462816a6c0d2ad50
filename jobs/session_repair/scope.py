"""Scope: which findings a run corrects, by their codes."""

from __future__ import annotations

from collections.abc import Iterable

from session_repair.errors import Refused

SCOPES = EMPTY, ALL = "empty", "all"

# Either makes a session empty; such a session is corrected whole, whatever else it shows.
OF_EMPTY = ("empty_pages", "zero_events")
# What --scope all corrects, without dropping anything.
CORRECTED = (
    *OF_EMPTY,
    *("count_mismatch", "pages_missing"),
    *("first_event_mismatch", "last_event_mismatch", "user_mismatch"),
)
BY_SHRINKING = ("pages_extra",)  # what --allow-shrink corrects besides


def corrected_codes(scope: str, allow_shrink: bool) -> tuple[str, ...]:
    """The findings for which a run of this scope corrects a session."""
    if scope == EMPTY:
        return OF_EMPTY
    return (*CORRECTED, *BY_SHRINKING) if allow_shrink else CORRECTED


def require_corrected(option: str, codes: Iterable[str], scope: str, allow_shrink: bool) -> None:
    """Raise Refused on a code that corrects no session in this scope, or is given twice."""
    known = corrected_codes(scope, allow_shrink)
    seen = set()
    for code in codes:
        if code not in known:
            raise Refused(
                f"{option} {code}: --scope {scope}{' --allow-shrink' if allow_shrink else ''} "
                f"corrects sessions for {', '.join(known)}, and for no other finding."
            )
        if code in seen:
            raise Refused(f"{option} names {code} twice. Leave out one.")
        seen.add(code)
