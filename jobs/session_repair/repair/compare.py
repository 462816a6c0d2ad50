"""Compare: what a session is beside its plan, and what would make it so. Pure, of bytes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from session_repair.aggregates import BASICS
from session_repair.mongo.bson_bytes import (
    NULL,
    TYPE_NAMES,
    Element,
    array_of,
    as_document,
    elements,
    nested,
    text_in,
)
from session_repair.mongo.spellings import scalar_in, shown_id

Document = dict[str, Any]

# What a session is: as the plan saw it, as the run leaves it, anything else, or not there.
AS_OBSERVED, AS_LEFT, ANOTHER, ABSENT = "as observed", "as left", "other", "absent"
SEEN = (b"session", b"session_id", b"observed", b"parents")  # the members that say what was seen
OBJECT, MISSING = "object", "missing"
STRING = 0x02


@dataclass(frozen=True)
class Layout:
    """Where a session keeps the fields; the paths on the way to nested ones, outermost first."""

    paths: Mapping[str, str]
    parents: Sequence[str]
    names: Sequence[str] = BASICS  # of what a run may write, in the order of a plan


class PlannedSession:
    """What the plan in a journal row says of its session: as it was, and what is to be written."""

    def __init__(self, plan: bytes, layout: Layout) -> None:
        self.plan, self.layout = plan, layout

    @cached_property
    def members(self) -> dict[bytes, Element]:
        return {it.name: it for it in elements(self.plan)}

    @cached_property
    def key(self) -> Element:
        """The _id of the session."""
        return next(elements(self.members[b"session"].value))

    @cached_property
    def session_id(self) -> Any:
        """The id of the session, as Python has it."""
        return scalar_in(self.members[b"session_id"])

    @property
    def name(self) -> str:
        """The id as people read it."""
        return shown_id(self.session_id)

    @property
    def as_observed(self) -> bytes:
        return b"".join([self.members[it].raw for it in SEEN if it in self.members])

    @cached_property
    def observed(self) -> dict[bytes, Element]:
        """The fields as the plan saw them, an absent one absent."""
        return {it.name: it for it in elements(self.members[b"observed"].value)}

    @cached_property
    def new(self) -> dict[bytes, Element]:
        """The fields that are to be written."""
        return {it.name: it for it in elements(self.members[b"new"].value)}

    @cached_property
    def parents(self) -> dict[str, str]:
        """What nested fields stand in, by its path: object, null or missing."""
        if b"parents" not in self.members:
            return {}
        kinds = [text_in(it) for it in elements(self.members[b"parents"].value)]
        return dict(zip(self.layout.parents, kinds, strict=True))

    @property
    def as_left(self) -> bytes:
        """What the session is once the new fields are written."""
        names = [name.encode() for name in self.layout.names]
        left = [self.new.get(name) or self.observed.get(name) for name in names]
        members = {**self.members, b"observed": nested("observed", filter(None, left))}
        if self.parents:
            kinds = [
                OBJECT if self.is_written_below(it) else kind for it, kind in self.parents.items()
            ]
            members[b"parents"] = array_of("parents", map(text, kinds))
        return b"".join([members[it].raw for it in SEEN if it in members])

    def is_written_below(self, parent: str) -> bool:
        return any(it.startswith(f"{parent}.") for it in self.written)

    @cached_property
    def written(self) -> dict[str, Element]:
        """The new values, by the path at which each is written."""
        return {self.path(name): it for name, it in self.new.items()}

    def path(self, name: bytes) -> str:
        return self.layout.paths[name.decode()]

    def update(self) -> Document:
        """What writes the new fields.

        Each where it was, or at the end. A parent that is missing is made by the server, and what
        is null is replaced by one.
        """
        values, fields = dict(self.written), []
        for parent in [it for it, kind in self.parents.items() if kind == "null"]:
            if below := {it: values.pop(it) for it in [*values] if it.startswith(f"{parent}.")}:
                inner = {it[len(parent) + 1 :]: value for it, value in below.items()}
                fields.append(nested(parent, tree_of(inner)))
        fields += [value.named(path) for path, value in values.items()]
        return {"$set": as_document(fields)}

    def reverse(self) -> Document:
        """What puts back the fields that were written: in place, or gone where there were none."""
        before = {self.path(name): self.observed.get(name) for name in self.new}
        put = [value.named(path) for path, value in before.items() if value is not None]
        drop = {path: "" for path, value in before.items() if value is None}
        update = {"$set": as_document(put)} if put else {}
        return {**update, **({"$unset": drop} if drop else {})}

    def made_parents(self) -> dict[str, Document]:
        """What undoes the making of each parent once nothing is in it any more, innermost first."""
        made = {path: kind for path, kind in self.parents.items() if kind != OBJECT}
        return {
            path: {"$set": {path: None}} if kind == "null" else {"$unset": {path: ""}}
            for path, kind in reversed(made.items())
            if self.is_written_below(path)
        }


def tree_of(values: Mapping[str, Element]) -> list[Element]:
    """The fields of a document with these values at these paths, in the order of their names."""
    branches: dict[str, dict[str, Element]] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        branches.setdefault(name, {})[rest] = value
    return [
        inner[""].named(name) if "" in inner else nested(name, tree_of(inner))
        for name, inner in sorted(branches.items())
    ]


def text(value: str) -> Element:
    """A string without a name."""
    raw = value.encode()
    return Element(STRING, b"", (len(raw) + 1).to_bytes(4, "little") + raw + b"\0")


def state_of(planned: PlannedSession, seen: bytes | None) -> str:
    """What the session is of which the server says what is ``seen``, members of one document."""
    if seen is None:
        return ABSENT
    if seen == planned.as_observed:
        return AS_OBSERVED
    if b"new" in planned.members and seen == planned.as_left:
        return AS_LEFT
    return ANOTHER


def is_still(planned: PlannedSession, is_left: bool) -> Document:
    """The server's condition that the session is as left, or as observed.

    For a write that stands alone, without a transaction that would see to it.
    """
    paths, checks = planned.layout.paths, []
    wanted = {"session_id": planned.members.get(b"session_id")}
    for name in planned.layout.names:
        written = planned.new.get(name.encode()) if is_left else None
        wanted[name] = written or planned.observed.get(name.encode())
    for name, value in wanted.items():
        path = f"${paths[name]}"
        checks.append({"$eq": [{"$type": path}, TYPE_NAMES[value.kind] if value else MISSING]})
        if value is not None and value.kind != NULL:
            checks.append({"$eq": [path, as_document([value.named("$literal")])]})
    for parent, kind in planned.parents.items():
        left = OBJECT if is_left and planned.is_written_below(parent) else kind
        checks.append({"$eq": [{"$type": f"${parent}"}, left]})
    return {"$expr": {"$and": checks}}
