"""Health answer: the shape of what ``health`` says, and its JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from session_repair.ongoing import Reading, pace_text


@dataclass(frozen=True)
class Count:
    """A number of sessions, and how long ago it was counted."""

    count: Annotated[int | None, "null where it is not known"]
    age_seconds: Annotated[int | None, "since it was counted; null where it is not known"]
    note: Annotated[str | None, "why it is not known, where there is more to say"]


@dataclass(frozen=True)
class LastRun:
    """The run that ended last. verify and dry runs leave no trace in MongoDB and are not seen."""

    id: Annotated[str, "as the verb runs lists it"]
    verb: Annotated[str, "fix or delete-orphans"]
    state: Annotated[
        str, "planning, planned, stopped, applying, done, undoing or undone; ? where it says none"
    ]
    verdict: Annotated[int | None, "its exit code; null for a plan that waits, or a run that died"]
    ended_at: Annotated[str, "when it ended, or gave its last sign of life, by the server's clock"]
    age_seconds: Annotated[int, "since then"]
    error: Annotated[str | None, "what ended it early; null for nothing"]


@dataclass(frozen=True)
class HeldLease:
    """Whether a run is at work now."""

    is_held: Annotated[bool, "true while a run holds the lease"]
    holder: Annotated[str | None, "that run; null when it is not held"]


@dataclass(frozen=True)
class AtWork:
    """The run that holds the lease, as it is now."""

    id: Annotated[str, "as the verb runs lists it"]
    verb: Annotated[str, "fix or delete-orphans"]
    state: Annotated[str, "planning, planned, stopped, applying or undoing"]
    planned: Annotated[int | None, "sessions to be changed, or put back; null till that is known"]
    done: Annotated[int, "of them, those that were gone through"]
    rows_per_second: Annotated[int | None, "how fast; null before the first batch"]
    waiting: Annotated[str | None, "why it waits; null while it does not"]
    reading: Annotated[Reading | None, "while it makes its plan, from some seconds on; else null"]

    def __str__(self) -> str:
        far = f"{self.id}  {self.verb} {self.state}"
        if self.reading is not None:
            far += f"  {self.reading}"
        if self.planned is not None:
            far += f"  {self.done}/{self.planned}"
            far += pace_text(self.planned - self.done, self.rows_per_second, " rows")
        return far if self.waiting is None else f"{far}  {self.waiting}"


@dataclass(frozen=True)
class Health:
    """What is known of the sessions of one database, and whether that is good."""

    status: Annotated[
        Literal["ok", "degraded", "unknown"],
        "degraded: some sessions are known to be fixable, or to have become empty; or a circuit "
        "breaker stopped the last run. "
        "unknown: nothing current is known",
    ]
    reason: Annotated[str | None, "why the status is not ok; null when it is"]
    verdict: Annotated[int, "exit code: 0 ok, 3 degraded, 1 unknown, 2 refused, 75 MongoDB is away"]
    database: Annotated[str, "the database that was asked for"]
    checked_at: Annotated[str, "the server's clock, or when this machine found it away"]
    sessions: Annotated[int | None, "sessions as MongoDB's own books count them, an estimate"]
    events: Annotated[int | None, "events, likewise"]
    empty: Annotated[Count, "sessions that name no page or count nothing"]
    fixable: Annotated[Count, "sessions that fix would correct, or that it left uncorrected"]
    orphan: Annotated[Count, "empty sessions without any event"]
    last_run: Annotated[LastRun | None, "null where no run has ever ended, or MongoDB is away"]
    lease: Annotated[HeldLease | None, "null when MongoDB is away"]
    at_work: Annotated[AtWork | None, "null where no run is, or MongoDB is away"] = None


UNKNOWN_COUNT = Count(None, None, None)


def json_schema(kind: Any = Health) -> dict[str, Any]:
    """The JSON Schema of a dataclass made of plain values and of other such dataclasses."""
    if is_dataclass(kind):
        kinds = get_type_hints(kind, include_extras=True)
        properties = {item.name: json_schema(kinds[item.name]) for item in fields(kind)}
        return {
            "type": "object",
            "description": kind.__doc__,
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    if get_origin(kind) is Annotated:
        inner, meaning = get_args(kind)
        return {**json_schema(inner), "description": meaning}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if NoneType in get_args(kind):
        (inner,) = (it for it in get_args(kind) if it is not NoneType)
        return {"anyOf": [json_schema(inner), {"type": "null"}]}
    names = {str: "string", int: "integer", bool: "boolean"}
    return {"type": names[kind]}
