"""Outcomes: what can become of a planned session, by name, and how each is told. The one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

APPLIED = "applied"
SKIPPED_CHANGED = "skipped_changed"
SKIPPED_GONE = "skipped_gone"
CHANGED_MEANWHILE = "changed_meanwhile"
FAILED = "failed"

# Why a session is not as planned.
WHY = {
    SKIPPED_CHANGED: "changed since the plan: left as it is",
    SKIPPED_GONE: "deleted since the plan",
    CHANGED_MEANWHILE: "changed while it was written, so that none can tell whether it was",
    FAILED: "MongoDB refused the change",
}


@dataclass(frozen=True)
class Outcomes:
    """What became of every planned session; they add up to the plan."""

    planned: int
    applied: int
    skipped_changed: int
    skipped_gone: int
    failed: int
    changed_meanwhile: int = 0  # runs before 0.2 did not tell it from skipped_changed

    def __post_init__(self) -> None:
        done = sum(self.by_name().values())
        if done != self.planned:
            raise ValueError(f"{done} outcomes for {self.planned} planned corrections")

    def by_name(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in OUTCOMES}

    def left(self) -> dict[str, int]:
        """The number of sessions that are not as planned, by outcome, where there are some."""
        return {name: count for name, count in self.by_name().items() if name in WHY and count}


OUTCOMES = tuple(field.name for field in fields(Outcomes) if field.name != "planned")
