"""Outcomes: what can become of a planned session, by name, and how each is told. The one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

PLANNED = "planned"  # stands for a row that nothing has become of yet
APPLIED = "applied"
ALREADY_RIGHT = "already_right"
SKIPPED_CHANGED = "skipped_changed"
SKIPPED_GONE = "skipped_gone"
FAILED = "failed"

# Why a session is not as planned by this run.
WHY = {
    ALREADY_RIGHT: "somebody else wrote the very same: right, not this run's, and never undone",
    SKIPPED_CHANGED: "changed since the plan: left as it is",
    SKIPPED_GONE: "deleted since the plan",
    FAILED: "MongoDB refused the change",
}

# What became of a session that was to be put back.
RESTORABLE, RESTORED, CHANGED, GONE = "restorable", "restored", "changed since", "gone since"
WRITTEN_LATER, REFUSED = "written by a later run", "refused by MongoDB"
LEFT_ALONE = (CHANGED, GONE, WRITTEN_LATER, REFUSED)


@dataclass(frozen=True)
class Outcomes:
    """What became of every planned session; they add up to the plan."""

    planned: int
    applied: int
    already_right: int
    skipped_changed: int
    skipped_gone: int
    failed: int

    def __post_init__(self) -> None:
        done = sum(self.by_name().values())
        if done != self.planned:
            raise ValueError(f"{done} outcomes for {self.planned} planned corrections")

    def by_name(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in OUTCOMES}

    def left(self) -> dict[str, int]:
        """The sessions that this run did not put right, by outcome, where there are some."""
        return {name: count for name, count in self.by_name().items() if name in WHY and count}

    @property
    def is_whole(self) -> bool:
        """Every planned session is as planned, whoever made it so."""
        return self.applied + self.already_right == self.planned


OUTCOMES = tuple(field.name for field in fields(Outcomes) if field.name != "planned")
