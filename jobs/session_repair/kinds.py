"""Kinds: what a setting may hold, how that is read from text or JSON and told again, its bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from session_repair.errors import Refused
from session_repair.secret import is_text

FURTHEST = timedelta(days=18_250)  # before now; an ObjectId knows no time before 1970
PERIOD = re.compile(r"(\d+)(ms|s|m|h|d)")
LAST_SUCCESS = "last-success"
SHARE = re.compile(r"(\d+(?:\.\d+)?)(%?)")
# Nothing that breaks a line, and no deeper than what asks for its type can be.
FIELD = r"(?!\$)[^.\x00-\x1f\x7f-\x9f\u2028\u2029]+"
FIELD_PATH = re.compile(rf"{FIELD}(\.{FIELD}){{0,49}}")
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}  # in milliseconds
JSON_TYPES = {str: "string", int: "integer", bool: "boolean", list: "array", dict: "object"}


@dataclass(frozen=True)
class Kind:
    """One kind of value, and its plain form: that of a config file, of JSON, of a run's document.

    ``read`` makes the value of its plain form, and raises ValueError; ``told`` goes the way back.
    ``check`` raises Refused on what the bounds cannot say of a value of the setting with this name.
    """

    plain: type = str
    metavar: str | None = None  # stands for it in --help
    bounds: Mapping[str, Any] = field(default_factory=dict)  # of the plain form, as JSON Schema
    read: Callable[[Any], Any] = lambda plain: plain
    told: Callable[[Any], Any] = lambda value: value
    check: Callable[[str, Any], object] = lambda name, value: None

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": JSON_TYPES[self.plain], **self.bounds}

    def require(self, name: str, value: Any) -> None:
        """Raise Refused where the value of the setting with this name is out of bounds."""
        known, least = self.bounds.get("enum"), self.bounds.get("minimum")
        most = self.bounds.get("maximum")
        if known is not None and value not in known:
            raise Refused(f"{name} {value!r} is unknown; write {' or '.join(known)}.")
        if least is not None and value < least:
            raise Refused(f"{name} {value} is too small; write {least} or more.")
        if most is not None and value > most:
            raise Refused(f"{name} {value} is too large; write {most} or less.")
        for text in value if isinstance(value, tuple) else (value,):
            require_utf8(name, text)
        self.check(name, value)


def require_utf8(name: str, value: Any) -> None:
    """Raise Refused where it is text that MongoDB, where each run's settings stand, cannot hold."""
    if not is_text(str(value)):
        raise Refused(f"{name} {value!r} is not UTF-8; write it in that.")


def parse_duration(text: str) -> timedelta:
    """A duration such as ``90s``, ``15m``, ``24h`` or ``30d``. Raises ValueError on others."""
    match = PERIOD.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 90s, 15m, 24h or 30d")
    try:
        return timedelta(milliseconds=int(match[1]) * UNITS[match[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads back as the same duration."""
    milliseconds = duration // timedelta(milliseconds=1)
    whole = (unit for unit in reversed(UNITS) if milliseconds % UNITS[unit] == 0)
    unit = next(whole) if milliseconds else "s"
    return f"{milliseconds // UNITS[unit]}{unit}"


def show_duration(duration: timedelta) -> str:
    """The duration in its two greatest units, for people: 1d 3h, 12m 5s, 500ms."""
    left, parts = max(duration, timedelta(0)) // timedelta(milliseconds=1), []
    for unit in reversed(UNITS):
        number, left = divmod(left, UNITS[unit])
        parts.append((number, unit))
    first = next((at for at, (number, _) in enumerate(parts) if number), None)
    shown = [] if first is None else [it for it in parts[first : first + 2] if it[0]]
    return " ".join(f"{number}{unit}" for number, unit in shown) or "0s"


def require_not_too_long(name: str, duration: timedelta) -> None:
    if duration > FURTHEST:
        given, most = format_duration(duration), format_duration(FURTHEST)
        raise Refused(f"{name} {given} is too long; write at most {most}.")


def instant_of(text: str) -> datetime:
    """An instant such as ``2025-10-20`` or ``2025-10-20T15:00``, in UTC. Raises ValueError."""
    try:
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
        if instant.tzinfo is None:
            return instant.replace(tzinfo=timezone.utc)
        return instant.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date; write 2025-10-20 or 2025-10-20T15:00") from None


def checked_since(text: str) -> str:
    """The text, if ``--since`` can be that. Raises ValueError."""
    if text != LAST_SUCCESS and not PERIOD.fullmatch(text):
        try:
            instant_of(text)
        except ValueError as error:
            raise ValueError(f"{error}, a duration such as 7d, or {LAST_SUCCESS}") from None
    return text


def limit_of(limit: str, total: int) -> int:
    """The number that a limit such as ``500`` or ``5%`` of the total allows."""
    match = SHARE.fullmatch(limit.strip())
    if match is None:
        raise Refused(f"{limit!r} is no limit; write a number such as 500, or a share such as 5%.")
    number = float(match[1])
    if not match[2]:
        return int(number)
    return max(1, int(number * total / 100)) if number else 0  # of few sessions one is allowed


def levels_of(allowed: Iterable[str]) -> list[tuple[str, str]]:
    """The code and the limit of each level, such as ``zero_events=5`` or ``zero_events=1%``."""
    levels = []
    for level in allowed:
        code, is_given, limit = level.partition("=")
        if not is_given:
            raise Refused(f"--allow {level} names no level; write {level}=5, or {level}=1%.")
        limit_of(limit, 0)
        levels.append((code, limit))
    return levels


def codes_of(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(code.strip() for text in texts for code in text.split(","))


def one_of(*choices: str) -> Kind:
    return Kind(bounds={"enum": list(choices)})


def names(metavar: str | None = None) -> Kind:
    """Several texts: an option that may be repeated."""
    return Kind(list, metavar, read=tuple, told=list)


def paths(fields: Iterable[str], unkept: Iterable[str] = ()) -> Kind:
    """Where in the documents each of the fields stands; under its own name if nothing is said.

    Those that may be ``unkept`` stand nowhere where the plain form says false.
    """
    path = {"type": "string", "pattern": f"^{FIELD_PATH.pattern}$"}
    path_or_none = {"anyOf": [path, {"const": False}]}
    of_each = {name: path_or_none if name in unkept else path for name in fields}
    bounds = {"properties": of_each, "additionalProperties": False}
    same: dict[str, Any] = {name: name for name in fields}

    def read(named: Mapping[str, Any]) -> dict[str, str]:
        return {name: path for name, path in {**same, **named}.items() if path}

    def told(value: Mapping[str, str]) -> dict[str, Any]:
        return {name: value.get(name, False) for name in same}

    return Kind(dict, bounds=bounds, read=read, told=told)


def tables(schema: Mapping[str, Any], read: Callable[..., Any], told: Callable[..., Any]) -> Kind:
    """Several tables of a config file, each of this schema."""
    return Kind(list, bounds={"items": schema}, read=read, told=told)


NAME, FILE, FOLDER = Kind(metavar="NAME"), Kind(metavar="FILE"), Kind(metavar="DIR")
SWITCH, SIZE = Kind(bool), Kind(int, bounds={"minimum": 1})
DURATION = Kind(
    metavar="DURATION",
    bounds={"pattern": f"^{PERIOD.pattern}$"},
    read=parse_duration,
    told=format_duration,
    check=require_not_too_long,
)
SAMPLE = Kind(int, "N", {"minimum": 0, "maximum": 100})  # a report has to fit into a document
SINCE = Kind(metavar=f"DATE|AGE|{LAST_SUCCESS}", read=checked_since)
INSTANT = Kind(metavar="INSTANT", read=instant_of, told=datetime.isoformat)
LIMIT = Kind(
    metavar="N|P%",
    bounds={"pattern": f"^{SHARE.pattern}$"},
    check=lambda _name, limit: limit_of(limit, 0),
)
CODES = Kind(list, "CODE,…", read=codes_of, told=list)
