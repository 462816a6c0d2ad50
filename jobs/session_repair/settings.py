"""Settings: one table of what a run can be asked to do, and of what each of that means to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from session_repair.aggregates import (
    BASICS,
    SCHEMA,
    Aggregate,
    Shape,
    read_aggregates,
    told_aggregates,
)
from session_repair.dates import DATE, DATES
from session_repair.errors import Refused
from session_repair.fields import (
    EVENT_FIELDS,
    ONLY_FOR,
    SESSION_FIELDS,
    read_of_events,
    refuse_one_name,
    refuse_overlaps,
)
from session_repair.kinds import (
    CODES,
    DURATION,
    FILE,
    FOLDER,
    INSTANT,
    LIMIT,
    NAME,
    SAMPLE,
    SINCE,
    SIZE,
    SWITCH,
    Kind,
    format_duration,
    levels_of,
    names,
    one_of,
    paths,
    tables,
)
from session_repair.logs import FORMATS, TEXT
from session_repair.roles import GUARD, LATER, ONCE, PART, PLACE, PLAN, SOURCE, VIEW, Role
from session_repair.symptoms import EMPTY, SCOPES, require_corrected

# Rows of a batch: in larger ones the writes of others wait for longer.
BATCH_SIZE = 250
SAMPLES = 5  # of each finding
STRATEGIES = AUTO, SCAN, LOOKUP = "auto", "scan", "lookup"

TLS_FILES = {"ca_file": "tlsCAFile", "certificate_key_file": "tlsCertificateKeyFile"}


@dataclass(frozen=True)
class Setting:
    """A row of the table: what there is to know of a setting beside its name, type and default.

    What has a ``help`` has an option, which stands in a group of them or is one verb's own.
    """

    kind: Kind
    help: str = ""
    group: str = ""
    role: Role = Role(0)
    option: str = ""  # the name of its own otherwise
    key: str = ""  # in the config file, dotted; the name otherwise

    def typed(self, name: str) -> str:
        """The option of the setting with this name."""
        return self.option or f"--{name.replace('_', '-')}"


def setting(default: Any, kind: Kind, *row: Any, **more: Any) -> Any:
    """A field of Settings that has a row in the table; the default is in its plain form."""
    metadata = {"row": Setting(kind, *row, **more)}
    if kind.plain is dict:
        return field(default_factory=lambda: kind.read(default), metadata=metadata)
    return field(default=None if default is None else kind.read(default), metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All that decides what a run does. ``uri`` is a secret: it has no row, and is in no repr."""

    uri: str = field(repr=False)
    database: str = setting(
        "browsing", NAME, "Database of the two collections.", "connection", PLAN | PLACE
    )
    sessions: str = setting("sessions", NAME, key="collections.sessions", role=PLAN | PLACE | VIEW)
    events: str = setting("events", NAME, key="collections.events", role=PLAN | SOURCE | VIEW)
    journal: str = setting("session_repair_journal", NAME, key="collections.journal", role=PLACE)
    runs: str = setting("session_repair_runs", NAME, key="collections.runs")
    session_fields: Mapping[str, str] = setting(
        {}, paths(SESSION_FIELDS, BASICS), key="fields.sessions", role=PLAN | PLACE | VIEW
    )
    event_fields: Mapping[str, str] = setting(
        {}, paths(EVENT_FIELDS, ONLY_FOR), key="fields.events", role=PLAN | SOURCE | VIEW
    )
    aggregates: tuple[Aggregate, ...] = setting(
        (), tables(SCHEMA, read_aggregates, told_aggregates), role=PLAN | PLACE | VIEW | LATER
    )
    session_dates: str = setting(
        DATE, one_of(*DATES), key="fields.sessions.dates", role=PLAN | PLACE | VIEW | LATER
    )
    event_dates: str = setting(
        DATE, one_of(*DATES), key="fields.events.dates", role=PLAN | SOURCE | VIEW | LATER
    )
    scope: str = setting(
        EMPTY, one_of(*SCOPES), "Empty sessions, or all mismatches.", "scope", PLAN | VIEW
    )
    only: tuple[str, ...] = setting(  # all of the scope where it is empty
        (), CODES, "Of the scope only these findings.", role=PLAN | PART | ONCE
    )
    allow: tuple[str, ...] = setting(  # such as zero_events=5
        (),
        names("CODE=N|P%"),
        "So many of these findings are known, and no reason to exit with 3.",
        role=ONCE,
    )
    strategy: str = setting(AUTO, one_of(*STRATEGIES), "How to read (auto).", "reading", GUARD)
    allow_shrink: bool = setting(
        False, SWITCH, "Also lower counts and drop pages.", "scope", PLAN | VIEW
    )
    session_ids: tuple[str, ...] = setting(
        (), names("ID"), "Only this session.", "sessions", PLAN | PART | ONCE, option="--session-id"
    )
    since: str | None = setting(
        None,
        SINCE,
        "Only sessions that were active since then, each of them whole.",
        "window",
        PLAN | PART | ONCE,
    )
    until: datetime | None = setting(
        None, INSTANT, "Only sessions active before (UTC; now).", "window", PLAN | PART | ONCE
    )
    lookback: timedelta = setting(  # so late may an event of a seen window arrive
        "1d", DURATION, "How far before the last success to begin (1d).", "window", GUARD
    )
    settle: timedelta = setting(  # a live ingest may still be counting an event
        "15m", DURATION, "Leave sessions active that recently (15m).", "sessions", PLAN
    )
    batch_size: int = setting(BATCH_SIZE, SIZE, "Most sessions of a batch (250).", "writing")
    journal_ttl: timedelta = setting("30d", DURATION)
    plan_ttl: timedelta = setting("24h", DURATION, "Refuse a plan older than this (24h).")
    max_malformed: str = setting(
        "5%", LIMIT, "Stop when more of what is read is malformed (5%).", "reading", GUARD
    )
    confirm_delay: timedelta = setting("0s", DURATION, "Look twice, that long apart.", role=GUARD)
    max_changes: str | None = setting(
        None, LIMIT, "Stop when more sessions are to be changed.", role=GUARD
    )
    allow_ttl: bool = setting(
        False, SWITCH, "A TTL index may delete what is written or put back.", role=GUARD
    )
    max_lag: timedelta | None = setting(  # 10 s, where the lag can be seen; if given it must be
        None, DURATION, "Wait while replicas lag by more (10s).", "writing"
    )
    max_time: timedelta | None = setting(
        None, DURATION, "Stop between two batches after this.", "writing"
    )
    pause_file: str | None = setting(
        None, FILE, "Stop between two batches once it exists.", "writing"
    )
    allow_absent: tuple[str, ...] = setting(
        (), names("FIELD"), "No document has this field yet.", "reading", GUARD | ONCE
    )
    min_age: timedelta = setting("24h", DURATION, "Only sessions older than this (24h).", role=PLAN)
    max_delete: str = setting("5%", LIMIT, "Stop when more are to be deleted (5%).", role=GUARD)
    duplicates: bool = setting(
        False,
        SWITCH,
        "Not orphans: empty copies of sessions that stand in another document too.",
        role=PLAN | ONCE,
    )
    break_lease: bool = setting(False, SWITCH, "Take the lease of a dead run.", "writing", ONCE)
    server_selection_timeout: timedelta = setting("5s", DURATION)
    # PEM: the authorities that sign the server's certificate; the certificate to show, and its key
    tls_ca_file: str | None = setting(None, FILE, key="tls.ca_file")
    tls_certificate_key_file: str | None = setting(None, FILE, key="tls.certificate_key_file")
    samples: int = setting(SAMPLES, SAMPLE, "So many samples of each finding (5).", role=GUARD)
    report: str | None = setting(None, FOLDER, "Write findings as parquet (any Hadoop path).")
    json: str | None = setting(None, FILE, "Write the report as JSON; - for stdout.", "ending")
    html: str | None = setting(None, FILE, "Write the report as one HTML page.", "ending")
    metrics: str | None = setting(None, FILE, "Write figures for Prometheus (*.prom).", "ending")
    notify_file: str | None = setting(
        None, FILE, "File with that URL, which is a secret.", "notices"
    )
    notify_state: str | None = setting(
        None, FILE, "Where the last verdict is remembered.", "notices"
    )
    log_format: str = setting(
        TEXT, one_of(*FORMATS), "Of the lines on stderr (text).", "connection"
    )
    asked: tuple[str, ...] = setting((), names(), role=ONCE)  # of ASKED, by the command line
    named_by: tuple[str, ...] = setting((), names(), role=GUARD | ONCE)  # where a file names ids
    # Options of the command line that led to the database and its runs: --config night.toml
    reached_by: tuple[str, ...] = setting((), names(), role=ONCE)

    @property
    def collections(self) -> tuple[str, ...]:
        """The names of all collections that a run reads or writes."""
        return tuple(getattr(self, name) for name in COLLECTIONS)

    @property
    def shape(self) -> Shape:
        """What the sessions keep of their events."""
        kept = tuple(it for it in BASICS if it in self.session_fields)
        fields = self.session_fields, self.event_fields
        return Shape(kept, self.aggregates, self.session_dates, *fields)

    @property
    def written_fields(self) -> dict[str, str]:
        """Where the sessions keep the fields and what is declared, by the names of a plan."""
        return {**self.session_fields, **{it.name: it.path for it in self.aggregates}}

    def __post_init__(self) -> None:
        read = read_of_events(self.session_fields, self.event_fields)
        object.__setattr__(self, "event_fields", read)  # frozen for all others
        for name, row in SETTINGS.items():
            if (value := getattr(self, name)) is not None:
                row.kind.require(row.key or name, value)
        if self.since is not None and self.session_ids:
            raise Refused("--session-id names the sessions, --since finds them. Leave out one.")
        if self.journal_ttl < self.plan_ttl:
            raise Refused(
                f"journal_ttl {format_duration(self.journal_ttl)} is shorter than plan_ttl "
                f"{format_duration(self.plan_ttl)}: a plan could be applied whose journal is about "
                "to go, and never be undone. Write a longer journal_ttl."
            )
        of_scope = (self.scope, self.allow_shrink, self.shape)
        require_corrected("--only", self.only, *of_scope)
        require_corrected("--allow", [code for code, _ in levels_of(self.allow)], *of_scope)
        refuse_one_name({name: getattr(self, name) for name in COLLECTIONS})
        refuse_overlaps(self.session_fields, self.aggregates)


SETTINGS: dict[str, Setting] = {
    item.name: item.metadata["row"] for item in fields(Settings) if item.metadata
}


def named(role: Role) -> tuple[str, ...]:
    """The settings that have one of the roles, in the order of the table."""
    return tuple(name for name, row in SETTINGS.items() if row.role & role)


SEMANTIC, PLACES, SAME, PARTIAL = map(named, (PLAN, PLACE, VIEW, PART))
ASKED, DATA = named(PLAN | GUARD), named(PLACE | SOURCE)
OF_WINDOW = tuple(name for name, row in SETTINGS.items() if row.group == "window")
COLLECTIONS = tuple(name for name, row in SETTINGS.items() if row.key.startswith("collections."))


def describe(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, without the secret: for the run document and the report."""
    values = {name: getattr(settings, name) for name in SETTINGS}
    told = {name: row.kind.told for name, row in SETTINGS.items()}
    return {name: None if it is None else told[name](it) for name, it in values.items()}


def revived(described: Mapping[str, Any]) -> dict[str, Any]:
    """Described settings as keyword arguments of Settings again; None stays what it says."""
    return {
        name: None if value is None else SETTINGS[name].kind.read(value)
        for name, value in described.items()
    }


def semantics(settings: Settings) -> dict[str, Any]:
    """The described settings that decide which plan is made."""
    described, before = describe(settings), as_before()
    return {it: described[it] for it in SEMANTIC if it not in before or described[it] != before[it]}


def as_made(described: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run describes, and those of a later version as it then had them."""
    return {**as_before(), **described}


def as_before() -> dict[str, Any]:
    """The described settings that a run may not name, as it then had them."""
    defaults = describe(Settings(uri=""))
    return {name: defaults[name] for name in named(LATER)}
