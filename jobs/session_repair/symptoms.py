"""Symptoms: one table of what can be wrong with a session, and for which of it a run corrects one.

When a symptom holds say ``rules/predicates``, by its code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from session_repair import reasons
from session_repair.aggregates import FIELD_OF, SINGLE, Aggregate, Shape
from session_repair.errors import Refused
from session_repair.launch.options import meant

MALFORMED, ORPHAN_EVENTS = "malformed", "orphan_events"
DUPLICATE, ORPHAN = "duplicate_session", "orphan_session"
SCOPES = EMPTY, ALL = "empty", "all"


@dataclass(frozen=True)
class Symptom:
    """A row of the table, one kind of finding. ``empty`` is what a look-up can find it by."""

    code: str
    block: str  # of the report, by its heading: where it is counted
    field: str | None = None  # that it concerns
    scope: str | None = None  # the narrowest in which its field is written; None: only reported
    by_shrinking: bool = False  # that drops something, and so needs --allow-shrink
    empty: int = 0  # so many of pages and count are empty wherever it holds, at least
    left: str = ""  # why it is only reported

    @property
    def mended_by(self) -> str | None:
        """The change that mends it; None where it is only reported."""
        return self.field if self.scope else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may be left alone."""
        return (self.left,) if self.left else reasons.OF_CORRECTED


OF_BASICS = (
    Symptom("empty_pages", "Empty Pages", "pages", EMPTY, empty=1),
    Symptom("zero_events", "Zero Events", "event_count", EMPTY, empty=1),
    Symptom("count_mismatch", "Event Counts", "event_count", ALL),
    Symptom("pages_missing", "Pages", "pages", ALL),
    Symptom("pages_extra", "Pages", "pages", ALL, by_shrinking=True),
    Symptom("first_event_mismatch", "Timestamps", "first_event_at", ALL),
    Symptom("last_event_mismatch", "Timestamps", "last_event_at", ALL),
    Symptom("user_mismatch", "Users", "user", ALL),
    Symptom("user_conflict", "Users", "user", left=reasons.CONFLICT),
)
OF_DOCUMENTS = (
    Symptom(DUPLICATE, "Duplicates", left=reasons.COPY),
    Symptom(ORPHAN, "Orphan Sessions", empty=2, left=reasons.NO_EVENTS),
    Symptom("phantom_session", "Phantom Sessions", left=reasons.PHANTOM),
    Symptom(ORPHAN_EVENTS, "Orphan Events", left=reasons.NO_SESSION),
    Symptom(MALFORMED, "Malformed", left=reasons.MALFORMED),
)
# Either makes a session empty; such a session is corrected whole, whatever else it shows.
OF_EMPTY = tuple(it.code for it in OF_BASICS if it.scope == EMPTY)
DECLARED = "Declared Aggregates"
PLAIN_NAMES = {field: name for name, field in FIELD_OF.items()}


def known_symptoms(shape: Shape) -> tuple[Symptom, ...]:
    """The table of sessions of this shape: what is not kept shows nothing."""
    kept = [PLAIN_NAMES.get(it, it) for it in shape.kept]
    basics = [it for it in OF_BASICS if it.field in kept]
    declared = [symptom for it in shape.declared for symptom in of_declared(it)]
    return (*basics, *declared, *OF_DOCUMENTS)


def of_declared(aggregate: Aggregate) -> tuple[Symptom, ...]:
    """The symptoms of an aggregate that is declared."""
    name = aggregate.name
    mismatch = Symptom(aggregate.code, DECLARED, name, ALL)
    if aggregate.kind != SINGLE:
        return (mismatch,)
    return mismatch, Symptom(aggregate.conflict, DECLARED, name, left=reasons.DISAGREE)


def names_of_changes(shape: Shape) -> tuple[str, ...]:
    """What a correction may write, as findings name it, in the order of a plan."""
    return tuple(PLAIN_NAMES.get(it, it) for it in shape.names)


def corrected_codes(scope: str, allow_shrink: bool, shape: Shape) -> tuple[str, ...]:
    """The findings for which a run of this scope corrects a session."""
    table = known_symptoms(shape)
    if scope == EMPTY:
        return tuple(it.code for it in table if it.scope == EMPTY)
    mended = [it.code for it in table if it.scope and not it.by_shrinking]
    return (*mended, *(it.code for it in table if it.by_shrinking and allow_shrink))


def require_corrected(
    option: str, codes: Iterable[str], scope: str, allow_shrink: bool, shape: Shape
) -> None:
    """Raise Refused on a code that corrects no session in this scope, or is given twice."""
    known = corrected_codes(scope, allow_shrink, shape)
    seen = set()
    for code in codes:
        if code not in {it.code for it in known_symptoms(shape)}:
            every = corrected_codes(ALL, True, shape)
            raise Refused(
                f"{option} {code}: there is no such finding. Corrected are {', '.join(every)}."
                f"{meant(code.lower(), every)}"
            )
        if code not in known:
            raise Refused(
                f"{option} {code}: {typed_scope(scope, allow_shrink)} corrects sessions for "
                f"{', '.join(known)}, and for no other finding.{wider_scope(code, shape)}"
            )
        if code in seen:
            raise Refused(f"{option} names {code} twice. Leave out one.")
        seen.add(code)


def wider_scope(code: str, shape: Shape) -> str:
    """What to pass for the finding to be corrected, if anything does."""
    for allow_shrink in (False, True):
        if code in corrected_codes(ALL, allow_shrink, shape):
            return f" Pass {typed_scope(ALL, allow_shrink)}."
    return ""


def typed_scope(scope: str, allow_shrink: bool) -> str:
    return f"--scope {scope}{' --allow-shrink' if allow_shrink else ''}"
