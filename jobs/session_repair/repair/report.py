"""Report: what a run found and did, as data; text, JSON and the exit code are read from it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from session_repair.aggregates import shape_of
from session_repair.errors import Exit
from session_repair.kinds import levels_of, limit_of
from session_repair.repair.outcomes import Outcomes
from session_repair.settings import SCAN
from session_repair.symptoms import corrected_codes
from session_repair.verbs import DELETE_ORPHANS
from session_repair.wording import either, number_of

LISTED = 20  # sessions by name, of each kind that is kept, left or not restored
MOST_DELETIONS = 1_000  # documents by name; a report has to fit into one document
OTHER = "other"  # stands for the days that are not named, and for sessions without a date


@dataclass(frozen=True)
class Sample:
    """One finding of one session, its values as text."""

    session_id: str | None
    session_key: str | None
    stored: str | None
    rebuilt: str | None
    evidence: str | None
    why: str | None = None  # it is left alone, by the code of the reason
    difference: tuple[str, ...] = ()  # in steps, where it tells more than both values


@dataclass(frozen=True)
class Symptoms:
    """All findings of one code: how many, how many to be corrected or deferred, a few of them.

    How many there are is not known (None) where a look-up left sessions unread that may have it;
    of malformed ones it tells those that it met. ``left`` says by reason how many of those that
    were read are left alone.
    """

    code: str
    found: int | None
    to_correct: int
    deferred: int
    samples: tuple[Sample, ...]
    left: Mapping[str, int] = field(default_factory=dict)


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
    # What was read, also by a look-up, and how much of that is malformed; None in older reports.
    sessions_read: int | None = None
    sessions_malformed: int | None = None
    events_read: int | None = None
    events_malformed: int | None = None


@dataclass(frozen=True)
class Level:
    """More of a finding than ``--allow`` lets pass; without a limit it names no level of it."""

    code: str
    count: int
    most: int
    limit: str | None


@dataclass(frozen=True)
class FieldChange:
    field: str
    stored: str | None
    rebuilt: str | None
    difference: tuple[str, ...] = ()


@dataclass(frozen=True)
class Correction:
    """One planned correction, its values as text, for the eyes of a reader."""

    session_id: str
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True)
class Deletion:
    """One document that a deletion is to remove, by its _id; of a copy also the one that stays."""

    session_key: str
    session_id: str | None
    canonical_key: str | None


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
    """Some sessions whose ids events spell in these BSON types, and which a deletion leaves.

    Each session_id is counted once.
    """

    types: str
    sessions: int
    samples: tuple[str, ...]


Made = TypeVar("Made")


def made(kind: type[Made], document: dict[str, Any], **parts: Any) -> Made:
    """One of that kind. What a newer version may have written besides is left out."""
    values = {
        name: tuple(it) if isinstance(it, list) else it
        for name, it in {**document, **parts}.items()
    }
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
    missing: tuple[str, ...] = ()  # session_ids that --session-id names and no session has
    deletions: tuple[Deletion, ...] = ()  # the first by _id; totals.planned says how many there are
    is_frozen: bool = False  # as a plan in the journal, which can be applied

    @staticmethod
    def from_document(document: dict[str, Any]) -> Report:
        """The report that ``asdict`` made the document of, in this version or another."""
        symptoms = [
            made(Symptoms, it, samples=tuple(made(Sample, its) for its in it["samples"]))
            for it in document["symptoms"]
        ]
        corrections = [
            made(Correction, it, changes=tuple(made(FieldChange, its) for its in it["changes"]))
            for it in document["corrections"]
        ]
        return made(
            Report,
            document,
            totals=made(Totals, document["totals"]),
            symptoms=tuple(symptoms),
            corrections=tuple(corrections),
            malformed=tuple(made(OddType, it) for it in document["malformed"]),
            outcomes=made(Outcomes, it) if (it := document["outcomes"]) else None,
            verification=made(Verification, it) if (it := document["verification"]) else None,
            days=tuple(made(Day, it) for it in document["days"]),
            left=tuple(made(Left, it) for it in document["left"]),
            kept=tuple(made(Kept, it) for it in document["kept"]),
            deletions=tuple(made(Deletion, it) for it in document.get("deletions", ())),
        )

    def symptom(self, code: str) -> Symptoms:
        return next(it for it in self.symptoms if it.code == code)

    @property
    def exceeded(self) -> tuple[Level, ...]:
        """Of each finding for which sessions are to be corrected, what ``--allow`` does not let."""
        asked, levels = self.settings, dict(levels_of(self.settings.get("allow") or ()))
        if not levels:
            return ()
        deciding = corrected_codes(asked["scope"], asked["allow_shrink"], shape_of(asked))
        found = [it for it in self.symptoms if it.code in deciding]
        given = [
            Level(it.code, it.to_correct, limit_of(limit or "0", self.totals.sessions), limit)
            for it, limit in ((it, levels.get(it.code)) for it in found)
        ]
        return tuple(it for it in given if it.count > it.most)

    @property
    def malformed_beyond(self) -> str | None:
        """What is more than ``--max-malformed``: malformed, or ids spelled otherwise, not named."""
        limit, totals = self.settings.get("max_malformed"), self.totals
        is_named = self.verb == DELETE_ORPHANS or self.settings.get("session_ids")
        spelled = 0 if is_named else sum(it.sessions for it in self.kept)
        for odd, read, noun, what in (
            (totals.sessions_malformed, totals.sessions_read, "session", "malformed"),
            (totals.events_malformed, totals.events_read, "event", "malformed"),
            (spelled, totals.sessions_read, "session", "named by events in another type"),
        ):
            if limit is None or odd is None or read is None:
                continue
            if odd > (most := limit_of(limit, read)):
                are = f"{odd} of {number_of(read, noun)} read {either(odd, 'is', 'are')} {what}"
                return f"{are}, --max-malformed {limit} allows {most}"
        return None

    @property
    def is_named_left(self) -> bool:
        """A session that ``--session-id`` names is not right, and left alone."""
        is_named = bool(self.settings.get("session_ids")) and self.verb != DELETE_ORPHANS
        return is_named and any(it.left for it in self.symptoms)

    @property
    def is_green(self) -> bool:
        """All that was asked for is there, was looked at, and is right where it is named."""
        is_there = self.totals.sessions > 0 and not self.missing
        return self.verdict is Exit.CLEAN and is_there and not self.is_named_left

    @property
    def verdict(self) -> Exit:
        """The exit code of the run: read from what was found and written, not counted again."""
        if self.outcomes is None:
            is_of_fix = self.verb != DELETE_ORPHANS
            is_fixable_left = self.totals.planned and (is_of_fix or self.is_frozen)
            is_allowed = self.settings.get("allow") and not self.exceeded
            is_told = (is_fixable_left and not is_allowed) or self.malformed_beyond
            return Exit.FIXABLE_REMAINS if is_told else Exit.CLEAN
        put_back = self.verification.put_back if self.verification else 0
        if not self.outcomes.is_whole or put_back:
            return Exit.PARTIAL
        return Exit.CLEAN
