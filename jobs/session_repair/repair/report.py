"""Report: what a run found and did, as data; text, JSON and the exit code are read from it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from session_repair.errors import Exit, shortened
from session_repair.kinds import levels_of, limit_of
from session_repair.repair.outcomes import Outcomes
from session_repair.settings import SCAN
from session_repair.symptoms import corrected_codes
from session_repair.verbs import DELETE_ORPHANS

LISTED = 20  # sessions by name, of each kind that is kept, left or not restored
OTHER = "other"  # stands for the days that are not named, and for sessions without a date


@dataclass(frozen=True)
class Sample:
    """One finding of one session, its values as text."""

    session_id: str | None
    session_key: str | None
    stored: str | None
    rebuilt: str | None
    evidence: str | None


@dataclass(frozen=True)
class Symptoms:
    """All findings of one code: how many, how many to be corrected or deferred, a few of them.

    How many there are is not known (None) where a look-up left sessions unread that may have it;
    of malformed ones it tells those that it met.
    """

    code: str
    found: int | None
    to_correct: int
    deferred: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class OddType:
    """A BSON type that a field should not have: in how many documents, the _ids of a few."""

    collection: str
    field: str
    type: str
    documents: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """What there is and was diagnosed. ``potentially_empty`` names no page or counts nothing.

    What a look-up cannot know is None.
    """

    sessions: int
    events: int | None
    names_no_page: int | None
    counts_nothing: int | None
    potentially_empty: int | None
    events_without_session: int | None
    planned: int
    deferred: int
    filled_without_events: int | None = None  # name a page and count something, whatever else


@dataclass(frozen=True)
class FieldChange:
    field: str
    stored: str | None
    rebuilt: str | None


@dataclass(frozen=True)
class Correction:
    """One planned correction, its values as text, for the eyes of a reader."""

    session_id: str
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True)
class Verification:
    """What the database says after the write: of all sessions, unless the run was about a few.

    Each is one of four: empty, malformed in its pages or its count, filled without events as far as
    the run knows (a look-up knows of none), or ``with_events``, the others. Of the corrected
    sessions: still as planned, put back to what they were, moved on by live ingest, gone since.
    """

    sessions: int  # an estimate where the next two, and the last two, are not known
    with_events: int | None
    empty_remaining: int | None
    as_planned: int
    put_back: int
    moved_on: int
    gone: int
    filled_without_events: int | None = None
    malformed: int | None = None


@dataclass(frozen=True)
class Day:
    """What was found in the sessions that began on one day, or in all those of no day named here.

    ``sessions`` have findings, ``to_correct`` of them are to be corrected; ``found`` by code, where
    events without a session stand by their session id.
    """

    day: str  # 2025-10-20, in UTC, or OTHER
    sessions: int
    to_correct: int
    found: dict[str, int]


@dataclass(frozen=True)
class Left:
    """One planned session that was not changed, and the error if that is why."""

    session_id: str | None
    outcome: str
    error: str | None


@dataclass(frozen=True)
class Kept:
    """Sessions that a deletion leaves because events name them in these BSON types; some of them.

    Each session is counted once.
    """

    types: str
    sessions: int
    samples: tuple[str, ...]


def kept_sessions(types: Mapping[str, Sequence[str]]) -> tuple[Kept, ...]:
    """The sessions that are kept, of whose session_ids the types are given."""
    alike = defaultdict(list)
    for session_id, names in types.items():
        alike[", ".join(names)].append(session_id)
    return tuple(
        Kept(names, len(ids), tuple(shortened(it) for it in sorted(ids)[:LISTED]))
        for names, ids in sorted(alike.items())
    )


Made = TypeVar("Made")


def made(kind: type[Made], document: dict[str, Any], **parts: Any) -> Made:
    """One of that kind. What a newer version may have written besides is left out."""
    values = {**document, **parts}
    names = inspect.signature(kind).parameters
    return kind(**{name: values[name] for name in names if name in values})


@dataclass(frozen=True)
class Report:
    """One run in full. ``outcomes`` and ``verification`` are None where nothing was written."""

    verb: str
    run_id: str
    server_time: datetime
    settings: dict[str, Any]
    totals: Totals
    symptoms: tuple[Symptoms, ...]
    corrections: tuple[Correction, ...]
    malformed: tuple[OddType, ...] = ()
    outcomes: Outcomes | None = None
    verification: Verification | None = None
    days: tuple[Day, ...] = ()
    left: tuple[Left, ...] = ()
    kept: tuple[Kept, ...] = ()
    strategy: str = SCAN  # a look-up finds nothing in the sessions that it does not read
    window: dict[str, datetime] | None = None  # since and until: only what is active in it was read

    @staticmethod
    def from_document(document: dict[str, Any]) -> Report:
        """The report that ``asdict`` made the document of, in this version or another."""
        symptoms = [
            made(Symptoms, it, samples=tuple(made(Sample, sample) for sample in it["samples"]))
            for it in document["symptoms"]
        ]
        corrections = [
            made(Correction, it, changes=tuple(made(FieldChange, its) for its in it["changes"]))
            for it in document["corrections"]
        ]
        malformed = [
            made(OddType, it, samples=tuple(it["samples"])) for it in document["malformed"]
        ]
        outcomes, verification = document["outcomes"], document["verification"]
        return made(
            Report,
            document,
            totals=made(Totals, document["totals"]),
            symptoms=tuple(symptoms),
            corrections=tuple(corrections),
            malformed=tuple(malformed),
            outcomes=made(Outcomes, outcomes) if outcomes else None,
            verification=made(Verification, verification) if verification else None,
            days=tuple(made(Day, it) for it in document["days"]),
            left=tuple(made(Left, it) for it in document["left"]),
            kept=tuple(made(Kept, it, samples=tuple(it["samples"])) for it in document["kept"]),
        )

    @property
    def sessions_kept(self) -> int:
        return sum(it.sessions for it in self.kept)

    def symptom(self, code: str) -> Symptoms:
        return next(symptom for symptom in self.symptoms if symptom.code == code)

    @property
    def is_allowed(self) -> bool:
        """Of no finding for which sessions are to be corrected are there more than ``--allow``."""
        levels = dict(levels_of(self.settings.get("allow") or ()))
        if not levels:
            return False
        deciding = corrected_codes(self.settings["scope"], self.settings["allow_shrink"])
        return all(
            it.to_correct <= limit_of(levels.get(it.code, "0"), self.totals.sessions)
            for it in self.symptoms
            if it.code in deciding
        )

    @property
    def verdict(self) -> Exit:
        """The exit code of the run: read from what was found and written, not counted again."""
        if self.outcomes is None:
            is_fixable_left = self.totals.planned and self.verb != DELETE_ORPHANS
            is_told = is_fixable_left and not self.is_allowed
            return Exit.FIXABLE_REMAINS if is_told else Exit.CLEAN
        put_back = self.verification.put_back if self.verification else 0
        if not self.outcomes.is_whole or put_back:
            return Exit.PARTIAL
        return Exit.CLEAN
