"""TOML: a proposal as a config file, with the reasons as comments. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from session_repair.aggregates import NAME, OF_EMPTY, TAKEN
from session_repair.fields import ONLY_FOR
from session_repair.proposal.declared import Declared, limited
from session_repair.proposal.guess import Choice, Fields
from session_repair.proposal.trials import Found, Trial
from session_repair.wording import number_of

BARE = re.compile(r"[A-Za-z0-9_-]+")
COMMENT_AT = 44  # the column of comments, where there is room


@dataclass(frozen=True)
class Proposal:
    """What a config file says of a database, and what its reader has to know."""

    database: str
    sessions: str
    events: str
    fields: Fields
    declared: list[Declared]
    looked_at: str  # of how many documents it speaks
    remarks: list[str]


def config_of(proposal: Proposal) -> Iterator[str]:
    """The lines of the file."""
    fields = proposal.fields
    yield f"# Proposed by a look at {proposal.looked_at}."
    yield "# What a comment says of sessions is what their events show. Look through it before use."
    yield from (f"# {comment}" for comment in proposal.remarks)
    yield ""
    yield pair("database", proposal.database)
    yield from ("", "[collections]")
    yield pair("sessions", proposal.sessions)
    yield pair("events", proposal.events)
    yield from ("", "[fields.sessions]")
    yield pair("dates", fields.session_dates)
    yield from (session_line(name, it, fields) for name, it in fields.sessions.items())
    yield from ("", "[fields.events]")
    yield pair("dates", fields.event_dates)
    yield from (event_line(name, it, fields) for name, it in fields.events.items())
    proposed, told = limited(proposal.declared)
    names = names_of(it.path for it in (*proposed, *told))
    for one in proposed:
        yield from ("", *aggregate(one, names[one.path]))
    if told:
        yield from ("", "# Not proposed, as they may be set by something else, or are too many:")
        for one in told:
            yield from ("#", *(f"# {line}" for line in aggregate(one, names[one.path])))


def session_line(name: str, choice: Choice, fields: Fields) -> str:
    """Where sessions keep the field, or that they do not."""
    if choice.path is not None:
        return pair(name, choice.path, reason_of(choice.found))
    if is_kept_none(name, fields):
        return f"{name} = false".ljust(COMMENT_AT) + "# nothing looks like it"
    return untold(name)


def is_kept_none(name: str, fields: Fields) -> bool:
    """Whether sessions do well without the field. Of the count and the pages they have one."""
    if fields.sessions[name].path is not None or name == "session_id":
        return False
    return name not in OF_EMPTY or any(fields.sessions[it].path is not None for it in OF_EMPTY)


def untold(name: str) -> str:
    return f"# {pair(name, name, 'nothing looks like it: name the right one')}"


def event_line(name: str, choice: Choice, fields: Fields) -> str:
    """Where events keep the field; what no session keeps is not asked for."""
    if choice.path is not None:
        return pair(name, choice.path)
    needed = ONLY_FOR.get(name)
    if needed and is_kept_none(needed, fields):
        return f"# {name}: nothing looks like it, and sessions keep none"
    return untold(name)


def reason_of(found: Found | None) -> str:
    if found is None or not found.telling:
        return ""
    if not found.is_enough:
        return f"by its name: it is right in {share_of(found)} only"
    return f"right in {share_of(found)}"


def share_of(found: Found) -> str:
    return f"{found.agreed} of {number_of(found.telling, 'session')}"


def aggregate(one: Declared, name: str) -> Iterator[str]:
    trial = one.found.trial
    yield "[[aggregates]]".ljust(COMMENT_AT) + f"# right in {share_of(one.found)}"
    yield pair("field", one.path)
    if name != plain_name(one.path):
        yield pair("name", name)
    yield pair("is", trial.kind)
    yield from members(trial)


def names_of(paths: Iterable[str]) -> dict[str, str]:
    """What plans, codes and reports may call each field: by its path, as far as that can be.

    Those that need no name beside them come first.
    """
    names: dict[str, str] = {}
    taken = {*TAKEN}
    for path in sorted(paths, key=lambda it: NAME.fullmatch(plain_name(it)) is None):
        base = re.sub(r"[^A-Za-z0-9]", "_", path)
        base = f"its_{base}" if base.lower() in TAKEN else base
        others = (f"{base}_{number}" for number in count(2))
        names[path] = next(it for it in chain([base], others) if it.lower() not in taken)
        taken.add(names[path].lower())
    return names


def plain_name(path: str) -> str:
    """What a field is called where nothing else is said."""
    return path.replace(".", "_")


def members(trial: Trial) -> Iterator[str]:
    if trial.of and trial.kind != "span":  # which is one of the events' dates
        yield pair("of", trial.of)
    path, values = trial.where
    if path:
        plain = [text(it) for it in values]
        told = plain[0] if len(plain) == 1 else f"[{', '.join(plain)}]"
        yield f"where = {{ {key(path)} = {told} }}"
    if trial.unit:
        yield pair("unit", trial.unit)


def pair(name: str, value: str, comment: str = "") -> str:
    line = f"{name} = {text(value)}"
    return f"{line.ljust(COMMENT_AT - 2)}  # {comment}" if comment else line


def key(name: str) -> str:
    return name if BARE.fullmatch(name) else text(name)


def text(value: Any) -> str:
    """A value as TOML: the escapes of JSON are its own, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def file_of(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
