"""Settings: what one run was asked to do, what of that decides its plan, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from itertools import combinations
from typing import Any

from session_repair.errors import Refused
from session_repair.logs import FORMATS, TEXT
from session_repair.scope import EMPTY, SCOPES, require_corrected

LAST_SUCCESS = "last-success"
# Rows of a batch: in larger ones the writes of others wait for longer.
BATCH_SIZE = 250
STRATEGIES = AUTO, SCAN, LOOKUP = "auto", "scan", "lookup"
LONGEST = timedelta(days=18_250)  # before now; an ObjectId knows no time before 1970
DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
LIMIT = re.compile(r"(\d+(?:\.\d+)?)(%?)")
UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

SESSION_FIELDS = (
    "session_id",
    "user_id",
    "event_count",
    "first_event_at",
    "last_event_at",
    "pages",
)
EVENT_FIELDS = ("session_id", "user_id", "timestamp", "page")
COLLECTIONS = ("sessions", "events", "journal", "runs")
TLS_FILES = {"ca_file": "tlsCAFile", "certificate_key_file": "tlsCertificateKeyFile"}


def same_names(names: tuple[str, ...]) -> Mapping[str, str]:
    return {name: name for name in names}


@dataclass(frozen=True)
class Settings:
    """All that decides what a run does. ``uri`` is a secret and stays out of every repr."""

    uri: str = field(repr=False)
    database: str = "browsing"
    sessions: str = "sessions"
    events: str = "events"
    journal: str = "session_repair_journal"
    runs: str = "session_repair_runs"
    session_fields: Mapping[str, str] = field(default_factory=lambda: same_names(SESSION_FIELDS))
    event_fields: Mapping[str, str] = field(default_factory=lambda: same_names(EVENT_FIELDS))
    scope: str = EMPTY
    only: tuple[str, ...] = ()  # of the findings in the scope; all where it is empty
    allow: tuple[str, ...] = ()  # such as zero_events=5: a level that verify lets pass
    strategy: str = AUTO  # how the collections are read
    allow_shrink: bool = False
    session_ids: tuple[str, ...] = ()
    since: str | None = None  # a date, a duration before now, or LAST_SUCCESS
    until: datetime | None = None
    lookback: timedelta = timedelta(days=1)  # so late may an event of a seen window arrive
    settle: timedelta = timedelta(minutes=15)  # a live ingest may still be counting an event
    batch_size: int = BATCH_SIZE  # at most
    journal_ttl: timedelta = timedelta(days=30)
    plan_ttl: timedelta = timedelta(hours=24)
    confirm_delay: timedelta = timedelta(0)
    max_changes: str | None = None
    max_lag: timedelta | None = None  # 10 s, where the lag can be seen; if given it must be
    max_time: timedelta | None = None
    pause_file: str | None = None
    allow_absent: tuple[str, ...] = ()  # fields that no document has yet
    min_age: timedelta = timedelta(hours=24)
    max_delete: str = "5%"
    duplicates: bool = False  # delete empty copies, not orphans
    break_lease: bool = False
    server_selection_timeout: timedelta = timedelta(seconds=5)
    tls_ca_file: str | None = None  # PEM: the authorities that sign the server's certificate
    tls_certificate_key_file: str | None = None  # PEM: the certificate to show, and its key
    report: str | None = None
    json: str | None = None
    html: str | None = None
    metrics: str | None = None
    notify_file: str | None = None
    notify_state: str | None = None
    log_format: str = TEXT
    asked: tuple[str, ...] = ()  # those of ASKED that the command line gave

    @property
    def collections(self) -> tuple[str, ...]:
        """The names of all collections that a run reads or writes."""
        return tuple(getattr(self, name) for name in COLLECTIONS)

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise Refused(f"scope {self.scope!r} is unknown; write {' or '.join(SCOPES)}.")
        if self.strategy not in STRATEGIES:
            known = " or ".join(STRATEGIES)
            raise Refused(f"strategy {self.strategy!r} is unknown; write {known}.")
        if self.log_format not in FORMATS:
            known = " or ".join(FORMATS)
            raise Refused(f"log_format {self.log_format!r} is unknown; write {known}.")
        if self.since is not None and self.session_ids:
            raise Refused("--session-id names the sessions, --since finds them. Leave out one.")
        if self.batch_size < 1:
            raise Refused(f"batch_size {self.batch_size} is too small; write 1 or more.")
        for limit in (self.max_changes, self.max_delete):
            if limit is not None:
                limit_of(limit, 0)
        if self.journal_ttl < self.plan_ttl:
            raise Refused(
                f"journal_ttl {format_duration(self.journal_ttl)} is shorter than plan_ttl "
                f"{format_duration(self.plan_ttl)}: a plan could be applied whose journal is about "
                "to go, and never be undone. Write a longer journal_ttl."
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, timedelta) and value > LONGEST:
                raise Refused(
                    f"{item.name} {format_duration(value)} is too long; write at most "
                    f"{format_duration(LONGEST)}."
                )
        of_scope = (self.scope, self.allow_shrink)
        require_corrected("--only", self.only, *of_scope)
        require_corrected("--allow", [code for code, _ in levels_of(self.allow)], *of_scope)
        refuse_overlaps(self)


def refuse_overlaps(settings: Settings) -> None:
    """Raise Refused where what is written under one name would be written over another."""
    for one, other in combinations(COLLECTIONS, 2):
        if getattr(settings, one) == (name := getattr(settings, other)):
            raise Refused(
                f"{one} and {other} are both named {name!r}. Give each its own collection."
            )
    written = {"_id": "_id", **settings.session_fields}
    for (one, path), (other, known) in combinations(written.items(), 2):
        if one == "_id" and other == "session_id":
            continue  # an _id may be the session's name, which is never written
        if f"{known}.".startswith(f"{path}.") or f"{path}.".startswith(f"{known}."):
            raise Refused(
                f"under [fields.sessions] {one} is {path!r}, and {other} is {known!r}: what is "
                "written into one would change the other. Give each its own field."
            )


def describe(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without the secret: for the run document and the report."""
    described: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.name == "uri":
            continue
        if isinstance(value, timedelta):
            value = format_duration(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, tuple):
            value = list(value)
        described[item.name] = value
    return described


# What decides which plan is made: a plan is only applied under the settings that it was made with.
SEMANTIC = (
    "database",
    "sessions",
    "events",
    "session_fields",
    "event_fields",
    "scope",
    "only",
    "allow_shrink",
    "session_ids",
    "since",
    "until",
    "settle",
    "min_age",
    "duplicates",
)


# What else a run that is planned anew takes from its command line: above all what may stop it.
ASKED = (*SEMANTIC, "allow_absent", "max_changes", "max_delete", "confirm_delay", "strategy")

# What says where a run's data is: all that its undoing depends on.
PLACES = ("database", "sessions", "journal", "session_fields")


def semantics(settings: Settings) -> dict[str, Any]:
    """The described settings that decide which plan is made."""
    described = describe(settings)
    # Plans of versions that had no such setting keep their digest.
    return {name: described[name] for name in SEMANTIC if name != "only" or described[name]}


def limit_of(limit: str, total: int) -> int:
    """The number that a limit such as ``500`` or ``5%`` of the total allows."""
    match = LIMIT.fullmatch(limit.strip())
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


def parse_duration(text: str) -> timedelta:
    """A duration such as ``90s``, ``15m``, ``24h`` or ``30d``. Raises ValueError on others."""
    match = DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 90s, 15m, 24h or 30d")
    try:
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None


def instant_of(text: str) -> datetime:
    """An instant such as ``2025-10-20`` or ``2025-10-20T15:00``, in UTC. Raises ValueError."""
    try:
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
        if instant.tzinfo is None:
            return instant.replace(tzinfo=timezone.utc)
        return instant.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date; write 2025-10-20 or 2025-10-20T15:00") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads back as the same duration."""
    milliseconds = duration // timedelta(milliseconds=1)
    if milliseconds == 0:
        return "0s"
    for unit, name in reversed(UNITS.items()):
        size = timedelta(**{name: 1}) // timedelta(milliseconds=1)
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    raise AssertionError("a duration is a whole number of milliseconds")


def revived(described: Mapping[str, Any]) -> dict[str, Any]:
    """Described settings as keyword arguments of Settings again."""
    kinds = {item.name: item.type for item in fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in described.items():
        if value is None:
            pass  # it says that the setting had no value, whatever it has now
        elif "timedelta" in kinds[name]:
            value = parse_duration(value)
        elif "datetime" in kinds[name]:
            value = datetime.fromisoformat(value)
        elif "tuple" in kinds[name]:
            value = tuple(value)
        values[name] = value
    return values
