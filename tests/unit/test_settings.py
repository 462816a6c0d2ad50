"""Settings: defaults, then the config file, then the command line; what is not understood is
refused by its name, and the connection string appears nowhere."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


from session_repair.aggregates import Aggregate
from session_repair.cli import layers
from session_repair.cli.layers import load_settings, read_uri
from session_repair.errors import Refused
from session_repair.home import COMMAND, DEFAULT_CONFIG
from session_repair.kinds import format_duration, limit_of, parse_duration, show_duration
from session_repair.repair.preflight import require_time_to_confirm
from session_repair.settings import Settings, describe, revived, semantics
from session_repair.typed import on_the_same

URI = "mongodb://repair:hush@db.example:27017"

DURATIONS = [
    ("0s", timedelta(0)),
    ("250ms", timedelta(milliseconds=250)),
    ("90s", timedelta(seconds=90)),
    ("15m", timedelta(minutes=15)),
    ("24h", timedelta(hours=24)),
    ("30d", timedelta(days=30)),
]


@pytest.mark.parametrize(("text", "duration"), DURATIONS)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert parse_duration(f" {text} ") == duration


@pytest.mark.parametrize(
    "text", ["", "15", "m", "1.5h", "-1m", "1h30m", "15 m", "15M", "1w", "1e9d"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 90s, 15m, 24h or 30d"):
        parse_duration(text)


def test_a_duration_beyond_what_can_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="'99999999999d' is too long a duration"):
        parse_duration("99999999999d")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(seconds=60), "1m"),
        (timedelta(seconds=61), "61s"),
        (timedelta(hours=24), "1d"),
        (timedelta(hours=25), "25h"),
    ],
)
def test_a_duration_is_written_in_the_largest_whole_unit(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=-1), "0s"),
        (timedelta(milliseconds=500), "500ms"),
        (timedelta(seconds=10, milliseconds=400), "10s 400ms"),
        (timedelta(hours=25), "1d 1h"),
        (timedelta(days=1, minutes=3), "1d"),
        (timedelta(hours=2, minutes=3, seconds=4, microseconds=5), "2h 3m"),
    ],
)
def test_a_duration_is_shown_in_its_two_greatest_units(duration: timedelta, shown: str) -> None:
    assert show_duration(duration) == shown


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [("500", 500), ("0", 0), ("5%", 10), ("100%", 200), ("0.5%", 1), (" 7 ", 7)],
)
def test_a_limit_is_a_number_or_a_share_of_the_total(limit: str, allowed: int) -> None:
    assert limit_of(limit, 200) == allowed


def test_a_share_of_few_sessions_allows_one() -> None:
    assert [limit_of("5%", total) for total in (1, 19, 40)] == [1, 1, 2]
    assert limit_of("0%", 40) == 0


@pytest.mark.parametrize("limit", ["", "%", "-1", "many", "5 %", "1e3"])
def test_what_is_no_limit_is_refused(limit: str) -> None:
    with pytest.raises(Refused, match="is no limit; write a number such as 500"):
        limit_of(limit, 200)


def config(folder: Path, text: str) -> str:
    file = folder / "repair.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_an_option_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = config(tmp_path, 'database = "shop"\nsettle = "1h"\n')
    made = load_settings(URI, file, {"settle": timedelta(minutes=2), "database": None})
    assert (made.uri, made.database, made.settle) == (URI, "shop", timedelta(minutes=2))
    assert (made.scope, made.batch_size) == ("empty", 250)


def test_an_option_may_be_false_or_empty_and_still_wins(tmp_path: Path) -> None:
    file = config(tmp_path, "allow_shrink = true\n")
    assert load_settings(URI, file, {}).allow_shrink is True
    assert load_settings(URI, file, {"allow_shrink": False}).allow_shrink is False


def test_a_field_mapping_changes_only_the_fields_that_it_names(tmp_path: Path) -> None:
    file = config(tmp_path, '[fields.events]\npage = "meta.page"\n[collections]\nruns = "r"\n')
    made = load_settings(URI, file, {})
    assert made.event_fields == {
        "session_id": "session_id",
        "user_id": "user_id",
        "timestamp": "timestamp",
        "page": "meta.page",
    }
    assert made.session_fields["pages"] == "pages"
    assert (made.runs, made.journal) == ("r", "session_repair_journal")


REFUSED = {
    'colour = "red"': "unknown key 'colour' in it",
    'uri = "mongodb://hush"': "unknown key 'uri' in it",
    'since = "2025-10-01"': "unknown key 'since' in it",
    'session_ids = ["a"]': "unknown key 'session_ids' in it",
    "break_lease = true": "unknown key 'break_lease' in it",
    'session_fields = "x"': "unknown key 'session_fields' in it",
    '[collections]\nusers = "u"': "unknown key 'users' in collections",
    '[colections]\nsessions = "s"': (
        "unknown table [colections]; known are collections, fields, tls. Did you mean collections?"
    ),
    '[colour]\nis = "red"': "unknown table [colour]; known are collections, fields, tls.",
    '[field.sessions]\npages = "p"': "[field]; known are collections, fields, tls. Did you mean",
    '[fields.session]\npages = "p"': "known are sessions, events. Did you mean sessions?",
    '[fields.events]\npag = "p"': "user_id, timestamp, page, dates. Did you mean page?",
    'setle = "1m"': "Did you mean settle?",
    '[tls]\nsettle = "1m"': "known are ca_file, certificate_key_file. It belongs above all tables.",
    'ca_file = "x"': "It belongs under [tls].",
    "[settle]": "settle = {} is not of type str",
    '[collections]\nsettle = "1m"': "unknown key 'settle' in collections",
    '[fields.users]\nname = "n"': "unknown key 'users' in fields",
    '[fields.events]\npages = "p"': "unknown key 'pages' in fields.events",
    '[fields.sessions]\npage = "p"': "unknown key 'page' in fields.sessions",
    "[fields.sessions]\npages = 5": "sessions.pages = 5 is no field name",
    '[fields.sessions]\npages = ""': "sessions.pages = '' is no field name",
    "collections = 5": "collections = 5 is no table; write [collections]",
    'fields = "x"': "fields = 'x' is no table; write [fields]",
    'fields.events = "x"': "fields.events = 'x' is no table; write [fields.events]",
    "settle = 15": "settle = 15 is not of type str",
    'settle = "soon"': "settle: 'soon' is not a duration",
    'max_time = "soon"': "max_time: 'soon' is not a duration",
    "database = 5": "database = 5 is not of type str",
    "report = 5": "report = 5 is not of type str",
    'batch_size = "5"': "batch_size = '5' is not of type int",
    "batch_size = true": "batch_size = True is not of type int",
    "allow_shrink = 1": "allow_shrink = 1 is not of type bool",
    "database =": "is not TOML",
    "database = 1\ndatabase = 2": "is not TOML",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=REFUSED)
def test_what_a_config_file_must_not_say_is_refused_by_name(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = config(tmp_path, text)
    with pytest.raises(Refused) as refusal:
        load_settings(URI, file, {})
    message = str(refusal.value)
    assert message.startswith(f"--config {file}")
    assert reason in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("scope", "everything", "scope 'everything' is unknown; write empty or all"),
        ("batch_size", 0, "batch_size 0 is too small"),
        ("samples", 101, "samples 101 is too large; write 100 or less"),
        ("max_changes", "many", "'many' is no limit"),
        ("max_delete", "5 %", "'5 %' is no limit"),
    ],
)
def test_a_value_out_of_bounds_is_refused_wherever_it_comes_from(
    tmp_path: Path, name: str, value: Any, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        load_settings(URI, None, {name: value})
    written = value if isinstance(value, int) else f'"{value}"'
    with pytest.raises(Refused, match=reason):
        load_settings(URI, config(tmp_path, f"{name} = {written}\n"), {})


@pytest.mark.parametrize("name", ["settle", "min_age", "lookback", "max_time", "journal_ttl"])
def test_a_duration_that_reaches_back_before_all_time_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match=f"{name} 18251d is too long; write at most 18250d"):
        load_settings(URI, None, {name: timedelta(days=18_251)})
    with pytest.raises(Refused, match=f"{name} 999999999d is too long; write at most 18250d"):
        load_settings(URI, config(tmp_path, f'{name} = "999999999d"\n'), {})
    more = {"since": "last-success"} if name == "lookback" else {}
    longest = load_settings(URI, None, {name: timedelta(days=18_250), **more})
    assert getattr(longest, name) == timedelta(days=18_250)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("journal_ttl", "23h", "journal_ttl 23h is shorter than plan_ttl 1d"),
        ("plan_ttl", "31d", "journal_ttl 30d is shorter than plan_ttl 31d"),
    ],
)
def test_a_plan_that_could_outlive_its_journal_is_refused(
    tmp_path: Path, name: str, value: str, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        load_settings(URI, None, {name: parse_duration(value)})
    with pytest.raises(Refused, match=reason):
        load_settings(URI, config(tmp_path, f'{name} = "{value}"\n'), {})
    equal = {"journal_ttl": timedelta(days=2), "plan_ttl": timedelta(days=2)}
    assert load_settings(URI, None, equal).plan_ttl == timedelta(days=2)


def test_a_file_names_session_ids_beside_those_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_bytes("\ufeffs1\r\n\n  \n a b \ns1\n商品\u2028\nlast".encode())
    made = load_settings(URI, None, {"session_ids": ("s0", "last"), "session_ids_from": str(file)})
    assert made.session_ids == ("s0", "last", "s1", " a b ", "商品\u2028")
    words = ["--session-id", "s0", "--session-id", "last", "--session-ids-from", str(file)]
    assert on_the_same("fix", settings=describe(made)) == shlex.join([COMMAND, "fix", *words])
    assert load_settings(URI, None, {"session_ids_from": str(file)}).asked[0] == "session_ids"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, ": No such file or directory. Name a readable file."),
        (b"", " names no session. Write an id on each line."),
        (b"\n \r\n", " names no session. Write an id on each line."),
        (b"s1\n\xff\n", " is not text in UTF-8. Write it again."),
        ("s1\n".encode("utf-16-le"), " is not text in UTF-8. Write it again."),
        (
            b"s\n" * 10_001,
            " names 10001 sessions, more than 10000. Split it, or leave it out: to look at all "
            "is quicker.",
        ),
        (b"x" * (2 * 1024 * 1024 + 1), " is larger than 2 MB. Split it."),
    ],
)
def test_a_file_that_names_no_session_ids_is_refused(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "ids"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Refused) as refused:
        load_settings(URI, None, {"session_ids_from": str(file)})
    assert str(refused.value) == f"--session-ids-from {file}{why}"


def test_a_lookback_without_last_success_is_refused() -> None:
    for more in ({}, {"since": "7d"}):
        with pytest.raises(Refused, match="--lookback is how far before --since last-success"):
            load_settings(URI, None, {"lookback": timedelta(days=7), **more})
    both = {"lookback": timedelta(days=7), "since": "last-success"}
    assert load_settings(URI, None, both).lookback == timedelta(days=7)


def test_a_second_look_beyond_the_time_limit_is_refused() -> None:
    limits = {"confirm_delay": timedelta(hours=1), "max_time": timedelta(minutes=10)}
    made = load_settings(URI, None, limits)  # its plan being made, a run may have less time
    with pytest.raises(Refused, match="confirm_delay 1h leaves nothing of max_time 10m"):
        require_time_to_confirm(made)


def test_a_collection_named_outside_its_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"events is the name of a collection; write \[collections\]"):
        load_settings(URI, config(tmp_path, 'events = "clicks"\n'), {})


OVERLAPPING = {
    '[collections]\njournal = "sessions"': "sessions and journal are both named 'sessions'",
    '[collections]\nruns = "events"': "events and runs are both named 'events'",
    '[fields.sessions]\nevent_count = "pages"': "event_count is 'pages', and pages is 'pages'",
    '[fields.sessions]\npages = "m"\nuser_id = "m.user"': "user_id is 'm.user', and pages is 'm'",
    '[fields.sessions]\nuser_id = "_id"': "user_id is '_id'",
    '[fields.sessions]\npages = "_id.pages"': "pages is '_id.pages'",
    '[fields.sessions]\npages = "meta..pages"': "'meta..pages' is no field name",
    '[fields.events]\npage = "$page"': "'$page' is no field name",
    '[fields.events]\npage = "a\\u0000b"': r"page = 'a\x00b' is no field name",
    '[fields.sessions]\npages = "a\\nb"': r"pages = 'a\nb' is no field name",
    '[[aggregates]]\nfield = "a\\u2028b"\nis = "count"': r"field = 'a\u2028b', which is no",
    '[[aggregates]]\nfield = "n"\nis = "sum"\nof = "a\\u0000"': r"is of 'a\x00', which is no field",
    '[[aggregates]]\nfield = "n"\nis = "count"\nwhere = { "a\\u0085" = 1 }': r"names 'a\x85'",
    '[[aggregates]]\nfield = "n"\nis = "count"\nwhere = { a = 9223372036854775808 }': (
        "has where a = 9223372036854775808; write a value, or a list: text, true, false, or a "
        "number that is finite, a whole one of at most 64 bits."
    ),
    '[[aggregates]]\nfield = "n"\nis = "count"\nwhere = { a = [1, nan] }': "where a = [1, nan]",
    '[[aggregates]]\nfield = "n"\nis = "count"\nwhere = { a = -inf }': "where a = -inf",
    '[[aggregates]]\nfield = "pages.n"\nis = "count"': "pages is 'pages', and the aggregate",
    '[[aggregates]]\nfield = "_id"\nis = "count"\nname = "n"': "_id is '_id', and the aggregate n",
    '[[aggregates]]\nis = "count"': "number 1 has no field; write field = …",
    '[[aggregates]]\nfield = "n"': "number 1 has no is; write is = …",
    '[[aggregates]]\nfield = "n"\nis = "mean"': "that of 'n' is 'mean', which is unknown",
    '[[aggregates]]\nfield = "n"\nis = "sum"': "that of 'n' needs of = a field",
    '[[aggregates]]\nfield = "n"\nis = "count"\nof = "x"': "leave out of",
    '[[aggregates]]\nfield = "n"\nis = "count"\nunit = "s"': "a span is in ms or s",
    '[[aggregates]]\nfield = "user"\nis = "count"': "write a name of its own",
    '[[aggregates]]\nfield = "a.b"\nis = "count"\n[[aggregates]]\nfield = "a_b"\nis = "count"': (
        "two are named 'a_b'"
    ),
    '[[aggregates]]\nfield = "n"\nis = "count"\nwhere = { a = {} }': "write a value, or a list",
    '[[aggregates]]\nfield = "n"\nis = "count"\nfor = "x"': "has the unknown key 'for'",
    "".join(f'[[aggregates]]\nfield = "n{n}"\nis = "count"\n' for n in range(13)): "at most 12",
    "[fields.sessions]\npages = false\nevent_count = false": "both event_count and pages are false",
    "[fields.sessions]\nsession_id = false": "session_id = False is no field name",
    "[fields.events]\nuser_id = false": "user_id is false, and the sessions keep user_id",
}


@pytest.mark.parametrize(("text", "reason"), OVERLAPPING.items(), ids=OVERLAPPING)
def test_names_that_would_be_written_over_each_other_are_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(Refused) as refusal:
        load_settings(URI, config(tmp_path, text), {})
    assert reason in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_the_greatest_and_the_deepest_are_taken(tmp_path: Path) -> None:
    deepest = ".".join(["a"] * 50)
    where = "{ a = [-9223372036854775808, 9223372036854775807, 1e308, true] }"
    text = f'[[aggregates]]\nfield = "{deepest}"\nname = "n"\nis = "count"\nwhere = {where}\n'
    [made] = load_settings(URI, config(tmp_path, text), {}).aggregates
    assert (made.path, made.where) == (deepest, {"a": (-(2**63), 2**63 - 1, 1e308, True)})
    with pytest.raises(Refused, match=r"events\.page = '[a.]+' is no field name"):
        load_settings(URI, config(tmp_path, f'[fields.events]\npage = "a.{deepest}"'), {})


def test_names_that_only_begin_alike_are_taken(tmp_path: Path) -> None:
    names = 'session_id = "_id"\npages = "page"\nevent_count = "pages"\nuser_id = "m.u"'
    made = load_settings(URI, config(tmp_path, f"[fields.sessions]\n{names}\n"), {})
    assert made.session_fields["pages"] == "page"


def test_a_config_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"absent\.toml: No such file"):
        load_settings(URI, str(tmp_path / "absent.toml"), {})
    with pytest.raises(Refused, match="Is a directory"):
        load_settings(URI, str(tmp_path), {})
    (tmp_path / "bytes.toml").write_bytes(b'database = "\xff"')
    with pytest.raises(Refused, match=r"bytes\.toml is not TOML"):
        load_settings(URI, str(tmp_path / "bytes.toml"), {})


NO_ZERO_EVENT = (
    "--only Zero_Event: there is no such finding. Corrected are empty_pages, zero_events, "
    "count_mismatch, pages_missing, first_event_mismatch, last_event_mismatch, user_mismatch, "
    "pages_extra."
)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"only": ("orphans",)},
            "--only orphans: there is no such finding. Corrected are empty_pages, zero_events, ",
        ),
        ({"only": ("Zero_Event",)}, f"{NO_ZERO_EVENT} Did you mean zero_events?"),
        (
            {"only": ("user_mismatch",)},
            "--only user_mismatch: --scope empty corrects sessions for empty_pages, zero_events, "
            "and for no other finding. Pass --scope all.",
        ),
        (
            {"only": ("pages_extra",)},
            "--only pages_extra: --scope empty corrects sessions for empty_pages, zero_events, "
            "and for no other finding. Pass --scope all --allow-shrink.",
        ),
        (
            {"only": ("total_mismatch",), "aggregates": (Aggregate("total", "total", "count"),)},
            "--only total_mismatch: --scope empty corrects sessions for empty_pages, zero_events, "
            "and for no other finding. Pass --scope all.",
        ),
        (
            {"only": ("pages_extra",), "scope": "all"},
            "--only pages_extra: --scope all corrects sessions for empty_pages, zero_events, "
            "count_mismatch, pages_missing, first_event_mismatch, last_event_mismatch, "
            "user_mismatch, and for no other finding. Pass --scope all --allow-shrink.",
        ),
        ({"only": ("zero_events", "zero_events")}, "--only names zero_events twice. Leave out one"),
        (
            {"allow": ("orphan_session=5",), "scope": "all", "allow_shrink": True},
            "--allow orphan_session: --scope all --allow-shrink corrects sessions for empty_pages, "
            "zero_events, count_mismatch, pages_missing, first_event_mismatch, "
            "last_event_mismatch, user_mismatch, pages_extra, and for no other finding.",
        ),
        ({"allow": ("zero_events=5", "zero_events=6")}, "--allow names zero_events twice"),
        ({"allow": ("zero_events",)}, "--allow zero_events names no level; write zero_events=5, "),
        ({"allow": ("zero_events=few",)}, "'few' is no limit"),
    ],
)
def test_findings_for_which_nothing_is_corrected_are_refused(
    options: dict[str, Any], reason: str
) -> None:
    end = "$" if reason[-1] in ".?" else ""
    with pytest.raises(Refused, match=f"^{re.escape(reason)}{end}"):
        load_settings(URI, None, options)


def test_only_decides_a_plan() -> None:
    only = Settings(uri=URI, scope="all", only=("user_mismatch",))
    assert semantics(only) == {**semantics(replace(only, only=())), "only": ["user_mismatch"]}
    shrunk = Settings(uri=URI, scope="all", allow_shrink=True, only=("pages_extra",))
    assert shrunk.only == ("pages_extra",)


def test_what_decides_a_plan_has_the_digest_that_it_had() -> None:
    sealed = json.dumps(semantics(Settings(uri=URI)), sort_keys=True)
    digest = "9d66891789982759c491a42dd305908b0bcc23a85bdb4bb757fddcca8ecb3f7c"
    assert hashlib.sha256(sealed.encode()).hexdigest() == digest


def test_the_config_file_that_is_delivered_holds_exactly_the_defaults() -> None:
    assert load_settings(URI, None, {}) == Settings(uri=URI)
    delivered = tomllib.loads(DEFAULT_CONFIG.read_text(encoding="utf-8"))
    for owner in ("session", "event"):
        mapping = delivered["fields"][f"{owner}s"]
        assert mapping.pop("dates") == "date"
        assert mapping == getattr(Settings(uri=URI), f"{owner}_fields")
    named = {*delivered, *delivered["collections"]} - {"collections", "fields"}
    with_default = {item.name for item in fields(Settings) if item.default is not None}
    # A database in the file would win over the one that the connection string names.
    in_a_file = {*layers.IN_A_FILE[""].values(), *layers.IN_A_FILE["collections"].values()}
    assert named == (with_default & in_a_file) - {"database", "aggregates"}


def test_without_the_delivered_file_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "DEFAULT_CONFIG", tmp_path / "absent.toml")
    assert load_settings(URI, None, {}) == Settings(uri=URI)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("mongodb://h", "browsing"),
        ("mongodb://h/", "browsing"),
        ("mongodb://h/?replicaSet=a/b", "browsing"),
        ("mongodb://h/shop", "shop"),
        ("mongodb+srv://ann:p%2Fw%40@h.example/shop?w=1", "shop"),
        ("mongodb://ann:p/w@h:1,i:2/shop", "shop"),
        ("mongodb://h/shop%5F2.sessions", "shop_2"),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/shop", "shop"),
    ],
)
def test_the_path_of_the_connection_string_names_the_database(
    address: str, named: str, tmp_path: Path
) -> None:
    assert load_settings(address, None, {}).database == named
    file = config(tmp_path, 'database = "of_the_file"')
    assert load_settings(address, file, {}).database == "of_the_file"
    assert load_settings(address, file, {"database": "given"}).database == "given"


def test_the_connection_string_is_in_no_repr_and_no_description() -> None:
    made = Settings(uri=URI)
    assert "hush" not in f"{made!r} {made} {describe(made)}"
    assert "uri" not in describe(made)


def test_described_settings_are_plain_and_come_back_as_they_were(tmp_path: Path) -> None:
    file = config(tmp_path, 'settle = "90s"\n[fields.events]\npage = "p"\n')
    options: dict[str, Any] = {
        "until": datetime.fromisoformat("2025-10-01T00:00:00+00:00"),
        "session_ids": ("a", "b"),
        "max_time": timedelta(hours=1),
    }
    made = load_settings(URI, file, options)
    described = describe(made)
    assert described["settle"] == "90s"
    assert described["until"] == "2025-10-01T00:00:00+00:00"
    assert described["session_ids"] == ["a", "b"]
    plain = (str, int, bool, list, dict, type(None))
    assert {type(value) for value in described.values()} <= set(plain)
    assert Settings(uri=URI, **revived(described)) == made
    other = replace(made, session_ids=(), since="7d", max_changes="5%", report="hdfs:///r")
    assert replace(other, **revived(described)) == made


def test_the_connection_string_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", f" {URI}\n")
    assert read_uri(None) == URI


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_a_connection_string_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    if value is not None:
        monkeypatch.setenv("MONGODB_URI", value)
    with pytest.raises(Refused, match=r"^MONGODB_URI is not set\. Export it"):
        read_uri(None)


def test_a_uri_file_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://elsewhere")
    file = tmp_path / "uri"
    file.write_text(URI + "\n", encoding="utf-8")
    assert read_uri(str(file)) == URI


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff", "is not text")]
)
def test_a_uri_file_without_a_connection_string_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "uri"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Refused, match=rf"^--uri-file {file}.*{reason}"):
        read_uri(str(file))
