"""Blocks: the numbered checks of the Session Verification Report, and what each of them says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from session_repair.aggregates import Shape
from session_repair.symptoms import DECLARED, known_symptoms


@dataclass(frozen=True)
class Block:
    """One numbered check, of the symptoms that name it by its heading; its count line.

    ``wrong`` stands behind the number of them, the first of it behind 1; in any of the texts
    ``{id}`` for what the documents call the id of a session. The guide counts all empty
    sessions in its first two checks, orphans included: a ``total`` of the report.
    """

    heading: str
    counted: str
    wrong: tuple[str, str]
    right: str
    total: str | None = None
    events: str | None = None  # a total of the report that tells what is wrong by event

    def codes(self, shape: Shape) -> tuple[str, ...]:
        return tuple(it.code for it in known_symptoms(shape) if it.block == self.heading)


BLOCKS = (
    Block(
        "Empty Pages",
        "Sessions with empty pages",
        ("session needs page data", "sessions need page data"),
        "No session lacks page data that its events have",
        "names_no_page",
    ),
    Block(
        "Zero Events",
        "Sessions with 0 events",
        (
            "session reports 0 events although events exist",
            "sessions report 0 events although events exist",
        ),
        "No session reports 0 events although events exist",
        "counts_nothing",
    ),
    Block(
        "Event Counts",
        "Sessions whose count differs from their events",
        ("session counts other than its events", "sessions count other than their events"),
        "Every other count matches the events",
    ),
    Block(
        "Pages",
        "Sessions whose pages differ from their events",
        ("difference between pages and events", "differences between pages and events"),
        "Every other list of pages matches the events",
    ),
    Block(
        "Timestamps",
        "First and last dates that differ from the events",
        ("date differs from the events", "dates differ from the events"),
        "First and last dates match the events",
    ),
    Block(
        "Users",
        "Sessions whose user differs from their events",
        (
            "session disagrees with its events, or its events with each other",
            "sessions disagree with their events, or their events with each other",
        ),
        "Every session names the user of its events",
    ),
    Block(
        DECLARED,
        "Declared aggregates that differ from the events",
        (
            "aggregate differs from the events, or these disagree",
            "aggregates differ from the events, or these disagree",
        ),
        "Every declared aggregate matches the events",
    ),
    Block(
        "Duplicates",
        "Documents that repeat a {id}",
        (
            "document repeats the {id} of another",
            "documents repeat the {id} of another",
        ),
        "No {id} is repeated",
    ),
    Block(
        "Orphan Sessions",
        "Empty sessions without any event",
        ("orphan session (created but no events)", "orphan sessions (created but no events)"),
        "No empty session is without events",
    ),
    Block(
        "Orphan Events",
        "Session ids that only events name",
        ("session id has events but no session", "session ids have events but no session"),
        "Every event belongs to a session",
        events="events_without_session",
    ),
    Block(
        "Phantom Sessions",
        "Filled sessions without any event",
        (
            "filled session has no event (archived?); it is never emptied",
            "filled sessions have no event (archived?); they are never emptied",
        ),
        "Every filled session has events",
    ),
    Block(
        "Malformed",
        "Sessions with a field of a wrong type, or such events",
        (
            "session is left alone because of a wrong type or its size",
            "sessions are left alone because of a wrong type or their size",
        ),
        "No field has a wrong type",
    ),
)


def blocks_of(shape: Shape) -> tuple[Block, ...]:
    """The checks of sessions of this shape."""
    return tuple(as_named(it, shape) for it in BLOCKS if it.codes(shape))


def as_named(block: Block, shape: Shape) -> Block:
    """The check, in the names of the documents."""
    counted, one, many, right = (
        text.format(id=shape.in_sessions("session_id"))
        for text in (block.counted, *block.wrong, block.right)
    )
    return replace(block, counted=counted, wrong=(one, many), right=right)
