"""Init: what it proposes for collections as they are met, by a look that writes nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from demo.generate import generate
from demo.server import EmbeddedMongod
from session_repair.cli.commands import main
from session_repair.cli.layers import load_settings
from session_repair.settings import Settings
from tests.harness import wild
from tests.harness.commands import ROOT, Command, Ended, command_at
from tests.harness.documents import Db, Document, fingerprint, new_database
from tests.harness.runs import last_run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ALL_DEFAULTS = {
    "session_id": "session_id",
    "user_id": "user_id",
    "event_count": "event_count",
    "first_event_at": "first_event_at",
    "last_event_at": "last_event_at",
    "pages": "pages",
}
OF_EVENTS = {
    "session_id": "session_id",
    "user_id": "user_id",
    "timestamp": "timestamp",
    "page": "page",
}


@pytest.fixture
def init(mongo_uri: str) -> Callable[..., Ended]:
    """``init(*OPTIONS, on=DATABASE)`` in this process; it needs no Spark."""
    command = command_at(mongo_uri)
    return lambda *options, on: command("init", *options, on=on)


def test_for_the_data_of_the_demo_the_defaults_are_proposed(
    init: Callable[..., Ended], db: Db, tmp_path: Path, mongo_uri: str
) -> None:
    generate(db, 600)
    before = fingerprint(db)
    ended = init(on=db)
    assert (ended.code, ended.err) == (0, "")
    assert fingerprint(db) == before
    file = tmp_path / "proposed.toml"
    file.write_text(ended.out)
    settings = load_settings(mongo_uri, str(file), {})
    assert settings == replace(Settings(uri=mongo_uri), database=db.name)
    told = re.findall(r"^(\w+) = .* # right in (\d+) of \2 sessions$", ended.out, re.MULTILINE)
    assert [name for name, _ in told] == list(ALL_DEFAULTS)[1:]
    assert all(int(number) >= 40 for _, number in told)
    assert main(["config", "--show", "--config", str(file)]) == 0


REFERENCES: Document = {
    "collections": {"sessions": "visits", "events": "hits"},
    "fields": {
        "sessions": {
            "dates": "epoch_ms",
            "session_id": "_id",
            "user_id": "customerId",
            "event_count": "hits",
            "first_event_at": "startedAt",
            "last_event_at": "endedAt",
            "pages": "urls",
        },
        "events": {
            "dates": "epoch_ms",
            "session_id": "visit",
            "user_id": "customerId",
            "timestamp": "ts",
            "page": "url",
        },
    },
    "aggregates": [{"field": "clicks", "is": "count", "where": {"kind": "click"}}],
}
NESTED: Document = {
    "collections": {"sessions": "user_sessions", "events": "session_events"},
    "fields": {
        "sessions": {
            "dates": "epoch_s",
            "session_id": "uuid",
            "user_id": False,
            "event_count": "stats.count",
            "first_event_at": "stats.first",
            "last_event_at": "stats.last",
            "pages": "stats.pages",
        },
        "events": {
            "dates": "epoch_s",
            "session_id": "sessionId",
            "timestamp": "time",
            "page": "context.page.path",
        },
    },
    "aggregates": [
        {"field": "stats.landing", "is": "first", "of": "context.page.path"},
        {"field": "stats.exit", "is": "last", "of": "context.page.path"},
        {"field": "stats.duration", "is": "span", "unit": "s"},
    ],
}
SHOP: Document = {
    "collections": {"sessions": "sessions", "events": "events"},
    "fields": {
        "sessions": {"dates": "date", **ALL_DEFAULTS},
        "events": {"dates": "date", **OF_EVENTS},
    },
    "aggregates": [
        {"field": "purchases", "is": "count", "where": {"event_type": "purchase"}},
        {"field": "revenue", "is": "sum", "of": "properties.amount"},
        {"field": "events", "is": "distinct", "of": "_id"},
    ],
}


@pytest.mark.parametrize(
    ("make", "proposed"),
    [(wild.references, REFERENCES), (wild.nested, NESTED), (wild.shop, SHOP)],
)
def test_other_names_types_and_aggregates_are_told(
    init: Callable[..., Ended],
    db: Db,
    tmp_path: Path,
    mongo_uri: str,
    make: Callable[[Db], Any],
    proposed: Document,
) -> None:
    make(db)
    before = fingerprint(db)
    ended = init(on=db)
    assert (ended.code, ended.err) == (0, "")
    found = tomllib.loads(ended.out)
    assert found == {"database": db.name, **proposed}
    assert fingerprint(db) == before
    file = tmp_path / "proposed.toml"
    file.write_text(ended.out)
    settings = load_settings(mongo_uri, str(file), {})
    assert [it.path for it in settings.aggregates] == [it["field"] for it in found["aggregates"]]
    assert main(["config", "--show", "--config", str(file)]) == 0
    assert ended.out.count("# right in ") >= 4 + len(proposed["aggregates"])


@pytest.mark.needs("many_runs")
def test_what_is_proposed_repairs_the_empty_sessions_and_is_undone(
    command: Command, init: Callable[..., Ended], db: Db, tmp_path: Path
) -> None:
    visits = wild.shop(db)
    before = {it["session_id"]: it for it in db["sessions"].find()}
    how = ("--config", str(tmp_path / "shop.toml"), "--scope", "all")
    assert init("--file", how[1], on=db).code == 0
    assert command("fix", "--apply", *how, on=db).code == 0
    for nth, visit in enumerate(visits):
        [session] = db["sessions"].find({"session_id": f"s{nth:04}"})
        known = wild.figures(visit)
        should = {
            "event_count": known["count"],
            "pages": known["pages"],
            "first_event_at": known["first"],
            "last_event_at": known["last"],
            "events": known["events"],
        }
        assert {name: session[name] for name in should} == should
        assert session.get("purchases", 0) == known["purchases"]  # what is absent counts as 0
        assert session.get("revenue", 0) == pytest.approx(known["revenue"], abs=1e-9)
    assert command("verify", *how, on=db).code == 0
    assert command("undo", last_run(db)["_id"], "--apply", *how[:2], on=db).code == 0
    assert {it["session_id"]: it for it in db["sessions"].find()} == before


def test_the_page_about_it_shows_what_it_prints(init: Callable[..., Ended], db: Db) -> None:
    wild.nested(db)
    page = (ROOT / "docs" / "init.md").read_text(encoding="utf-8")
    _, shown, _ = re.split(r"^```(?:toml)?$", page[page.index("```toml") :], maxsplit=2, flags=re.M)
    assert shown.strip() == init(on=db).out.strip().replace(db.name, "shop")


def test_who_may_read_the_database_is_allowed_to(
    guarded_mongod: EmbeddedMongod, guarded_client: MongoClient[Document]
) -> None:
    """And nothing of the address stands in the file."""
    with new_database(guarded_client) as database:
        wild.shop(database)
        reads = {"role": "read", "db": database.name}
        guarded_client.admin.command("createUser", "reader", pwd="hush-hush", roles=[reads])
        uri = guarded_mongod.uri_for("reader", "hush-hush")
        ended = command_at(uri)("init", on=database)
    assert (ended.code, "hush" in ended.told) == (0, False)
    assert tomllib.loads(ended.out) == {"database": database.name, **SHOP}


def test_ids_without_an_index_are_found_by_a_scan_and_the_index_is_told(
    init: Callable[..., Ended], db: Db
) -> None:
    wild.shop(db)
    db["events"].drop_indexes()
    ended = init("--sessions", "20", on=db)
    assert tomllib.loads(ended.out) == {"database": db.name, **SHOP}
    assert "and 20 whole sessions." in ended.out
    for name in ("sessions", "events"):
        line = f'db.getSiblingDB("{db.name}").getCollection("{name}")'
        assert f'{line}.createIndex({{"session_id": 1}})' in ended.out


def test_what_is_in_flight_is_not_held_against_its_events(
    init: Callable[..., Ended], db: Db
) -> None:
    """Its events are counted one by one: until all are, any field would look wrong."""
    wild.shop(db)
    now = datetime.now(timezone.utc)
    for nth in range(60):
        key, dates = f"now{nth}", {"first_event_at": now, "last_event_at": now}
        db["sessions"].insert_one(
            {"session_id": key, "event_count": 9, "pages": ["/x"], "user_id": ObjectId(), **dates}
        )
        db["events"].insert_one(
            {"session_id": key, "page": f"/{nth}", "timestamp": now, "user_id": ObjectId()}
        )
    ended = init(on=db)
    assert tomllib.loads(ended.out) == {"database": db.name, **SHOP}
    assert len(re.findall(r"# right in (\d+) of \1 sessions$", ended.out, re.MULTILINE)) == 8


def test_what_cannot_be_told_is_a_comment(init: Callable[..., Ended], db: Db) -> None:
    """Nothing but ids: neither what is a date nor what is a count can be known."""
    db["sessions"].insert_many([{"sid": f"s{n}"} for n in range(30)])
    db["events"].insert_many([{"sid": f"s{n}", "x": 1} for n in range(30)])
    ended = init(on=db)
    assert ended.code == 0
    assert tomllib.loads(ended.out) == {
        "database": db.name,
        "collections": {"sessions": "sessions", "events": "events"},
        "fields": {
            "sessions": {
                "dates": "date",
                "session_id": "sid",
                "user_id": False,
                "first_event_at": False,
                "last_event_at": False,
            },
            "events": {"dates": "date", "session_id": "sid"},
        },
    }
    comments = [line for line in ended.out.splitlines() if line.startswith("# ")]
    for name in ("event_count", "pages", "timestamp", "page"):
        [line] = [it for it in comments if it.startswith(f"# {name} ")]
        assert "nothing looks like it" in line


def test_what_empty_sessions_hold_already_is_no_aggregate(
    init: Callable[..., Ended], db: Db
) -> None:
    """The device was known before any event, and is that of all of them."""
    wild.shop(db)
    for nth, session in enumerate(db["sessions"].find()):
        device = {"$set": {"device": f"d{nth % 4}"}}
        db["sessions"].update_one({"_id": session["_id"]}, device)
        db["events"].update_many({"session_id": session["session_id"]}, device)
    assert tomllib.loads(init(on=db).out) == {"database": db.name, **SHOP}
    db["sessions"].delete_many({"event_count": 0})
    ended = init(on=db)
    assert tomllib.loads(ended.out) == {"database": db.name, **SHOP}
    assert '# field = "device"\n# is = "single"\n# of = "device"\n' in ended.out


def test_a_file_is_written_once_and_nothing_else(
    init: Callable[..., Ended], db: Db, tmp_path: Path
) -> None:
    wild.shop(db)
    file = tmp_path / "shop.toml"
    printed = init(on=db).out
    ended = init("--file", str(file), on=db)
    assert (ended.code, ended.out, file.read_text()) == (0, "", printed)
    assert ended.err.endswith(f" verify --config {file}\n")
    file.write_text("mine")
    ended = init("--file", str(file), on=db)
    assert (ended.code, ended.out, file.read_text()) == (2, "", "mine")
    assert ended.err == f"init: --file {file}: File exists. Name one that can be made.\n"
    ended = init("--file", str(tmp_path / "no" / "shop.toml"), on=db)
    assert (ended.code, "No such file or directory" in ended.err) == (2, True)
    assert [it.name for it in tmp_path.iterdir()] == ["shop.toml"]


def test_a_database_without_such_collections_is_refused_with_those_that_are_there(
    init: Callable[..., Ended], db: Db
) -> None:
    db["invoices"].insert_one({"_id": ObjectId()})
    ended = init(on=db)
    assert (ended.code, ended.out) == (2, "")
    assert f"no two collections of {db.name!r} look like sessions and their events." in ended.err
    assert "It holds 'invoices'." in ended.err


def test_no_value_of_an_id_and_no_secret_is_printed(
    init: Callable[..., Ended], db: Db, mongo_uri: str
) -> None:
    wild.references(db)
    out = init(on=db).out
    assert mongo_uri not in out
    ids: list[Any] = [it["_id"] for it in db["visits"].find()]
    assert not any(str(it) in out for it in ids)


def test_ids_that_no_event_has_are_paired_by_name_and_told(
    init: Callable[..., Ended], db: Db
) -> None:
    """As where one side spells them otherwise."""
    wild.shop(db)
    db["events"].update_many({}, [{"$set": {"session_id": {"$toUpper": "$session_id"}}}])
    ended = init(on=db)
    found = tomllib.loads(ended.out)
    assert (ended.code, found["fields"]) == (0, SHOP["fields"])
    assert "aggregates" not in found
    told = "# No value of session_id of sessions was met in session_id of events: they are paired"
    assert told in ended.out
    assert "# No session at rest with events, 200 at most, was found: all is by names." in ended.out


def test_dates_of_sessions_that_are_kept_in_two_ways_are_told(
    init: Callable[..., Ended], db: Db
) -> None:
    wild.shop(db)
    to_ms = {"last_event_at": {"$toLong": "$last_event_at"}}
    db["sessions"].update_many({}, [{"$set": to_ms}])
    ended = init(on=db)
    found = tomllib.loads(ended.out)["fields"]["sessions"]
    assert (ended.code, found) == (0, SHOP["fields"]["sessions"])
    told = "only one can be read: first_event_at as date, last_event_at as epoch_ms."
    assert told in ended.out
