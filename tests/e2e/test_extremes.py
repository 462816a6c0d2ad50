"""Extremes: very large values and sessions, other names, collections of odd kinds, time zones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, ObjectId
from pymongo.database import Database

from demo.server import EmbeddedMongod
from tests.e2e.anything import INSTANTS, odd_id
from tests.harness.commands import Command, spark_submit
from tests.harness.documents import RUNS, Document, fingerprint, stored_bytes
from tests.harness.shop import ANN, MORNING, Shop, made_at, minute
from tests.oracle import EXACT, foresee, key_of

pytestmark = pytest.mark.needs("many_runs")

MB = 1024 * 1024
UNREADABLE = "a value that Python cannot read"


def exact(db: Database[Document], name: str) -> list[Document]:
    return list(db.get_collection(name, EXACT).find().sort("_id"))


def test_no_row_is_lost_where_ids_of_many_types_fill_several_partitions(
    db: Database[Document], command: Command
) -> None:
    """Bounds of one type hide documents of another: the connector loses those without an error."""
    filler = "x" * 40_000  # 4,000 of these fill more than two partitions of 64 MB
    numbers = range(4_000)
    db["sessions"].insert_many(
        {"_id": odd_id(n), "session_id": f"s{n}", "pages": [], "filler": filler} for n in numbers
    )
    fields = {"timestamp": MORNING, "user_id": ANN}
    db["events"].insert_many(
        {"_id": odd_id(n), "session_id": f"s{n}", "page": f"/{n}", **fields} for n in numbers
    )
    foreseen = foresee(db)
    dates = ("--allow-absent", "first_event_at", "--allow-absent", "last_event_at")
    absent = (*dates, "--allow-absent", "event_count", "--allow-absent", "user_id")
    assert command("fix", "--database", db.name, "--apply", *absent).code == 0
    left = {key_of(it["_id"]): bson.encode(it) for it in exact(db, "sessions")}
    assert left == foreseen.documents
    assert {it["pages"][0] for it in exact(db, "sessions")} == {f"/{n}" for n in range(4_000)}


ODD = ("--max-malformed", "100%")


def test_ids_that_python_cannot_hold_stop_no_verb(
    db: Database[Document], command: Command, tmp_path: Path
) -> None:
    shop = Shop(db)
    far = DatetimeMS(300_000_000_000_000)  # the year 11476
    short = Binary(b"abcd", 4)  # a UUID of four bytes
    ids: list[Any] = [far, short, {"of": short}, 1]
    for key, count in zip(ids, (0, 0, 1.5, "many"), strict=True):
        shop.session(f"session {ids.index(key)}", _id=key, event_count=count)
        shop.events(f"session {ids.index(key)}", {0: "/home"}, _id=key)
    file = tmp_path / "report.json"
    assert command("verify", "--json", str(file), on=db).code == 3
    odd = json.loads(file.read_text())["malformed"]
    assert [(it["type"], it["documents"], it["samples"]) for it in odd] == [
        ("double", 1, [UNREADABLE]),
        ("string", 1, [{"$numberInt": "1"}]),
    ]
    assert command("fix", "--apply", *ODD, on=db).code == 0
    *_, run = db[RUNS].find().sort("_id")
    rows = command("runs", run["_id"], "--rows", on=db)
    assert rows.code == 0, rows.told
    listed = [json.loads(line) for line in rows.out.splitlines()]
    assert {it["session_id"]: (it["_id"], it["outcome"]) for it in listed} == {
        "session 0": ({"$date": {"$numberLong": "300000000000000"}}, "applied"),
        "session 1": (UNREADABLE, "applied"),
    }
    done = db["sessions"].find({"event_count": 1, "pages": ["/home"]}, {"_id": 0, "session_id": 1})
    assert sorted(it["session_id"] for it in done) == ["session 0", "session 1"]
    assert command("delete-orphans", *ODD, on=db).code == 0
    config = tmp_path / "names.toml"
    config.write_text('[fields.sessions]\npages = "pags"')
    refused = command("fix", "--config", str(config), on=db)
    assert (refused.code, "'pags' (alike: 'pages')" in refused.err) == (4, True), refused.told


def test_texts_of_a_megabyte_survive(db: Database[Document], command: Command) -> None:
    shop = Shop(db)
    long = {
        name: f"{name} " + '\u00e4"\\\n{}' * (MB // 8) for name in ("id", "page", "user", "key")
    }
    session = shop.session(long["id"], _id=long["key"], user_id=None)
    shop.events(long["id"], {0: long["page"], 1: "/home"}, user_id=long["user"])
    for number in range(8):  # their samples have to fit into the document of the run
        shop.session(f"{number} {long['id']}", event_count="7")
    told = command("verify", "--database", db.name)
    assert told.code == 3
    assert len(told.out) < 50_000
    assert command("fix", "--database", db.name, "--apply", *ODD).code == 0
    assert db["sessions"].find_one({"_id": long["key"]}) == {
        **session,
        "event_count": 2,
        "pages": [long["page"], "/home"],
        "last_event_at": minute(1),
        "user_id": long["user"],
    }


def test_session_id_sees_the_events_that_spell_it_as_an_object_id(
    db: Database[Document], command: Command
) -> None:
    shop = Shop(db)
    name, other = "68f0000000000000000000aa", "68f0000000000000000000bb"
    for session_id in (name, other):
        shop.session(session_id)
        shop.events(ObjectId(session_id), {1: "/cart"})
    shop.events(name, {0: "/home"})
    before = stored_bytes(db)
    ids = ("--session-id", name, "--session-id", other)
    ended = command("verify", *ids, on=db)
    assert (ended.code, ended.complaints) == (3, "")
    told = f"   2 sessions: some events spell their ids as objectId, which joins nothing: {name}, "
    assert f"{told}{other}\n" in ended.out
    fixed = command("fix", *ids, "--apply", on=db)
    assert (fixed.code, fixed.complaints, "✅ All" in fixed.out) == (0, "", False)
    assert "⚠️  What --session-id names is not all right, and is left alone\n" in fixed.out
    assert f"{told}{other}\n" in fixed.out
    [changed] = [key for key, raw in stored_bytes(db).items() if raw != before[key]]
    session = db["sessions"].find_one({"_id": changed})
    assert session is not None
    assert (session["session_id"], session["pages"]) == (name, ["/home"])


NAMES = """
[collections]
sessions = "web.sessions-2025"
events = "web.events-2025 (raw)"
journal = "repair.journal-1"
runs = "repair.runs-1"

[fields.sessions]
session_id = "sid"
user_id = "who.user"
event_count = "stats.of-events.n"
pages = "stats.pages"
first_event_at = "from"
last_event_at = "to"

[fields.events]
session_id = "meta.session"
user_id = "meta.user"
timestamp = "meta.at"
page = "meta.page"
"""


def test_other_names_and_nested_ones(
    db: Database[Document], command: Command, tmp_path: Path
) -> None:
    (tmp_path / "names.toml").write_text(NAMES)
    names = ("--config", f"{tmp_path}/names.toml", "--allow-absent", "who.user")
    where = ("--database", db.name, *names)
    sessions, events = db["web.sessions-2025"], db["web.events-2025 (raw)"]
    stats = {"kept": 1, "of-events": {"n": 0, "also": [1]}, "pages": []}
    made = [
        {"_id": made_at(MORNING, 1), "sid": "a.b", "stats": stats, "from": MORNING, "who": None},
        {"_id": made_at(MORNING, 2), "sid": "$none", "stats": 5, "to": None},
        {"_id": made_at(MORNING, 3), "sid": "array", "stats": [{"pages": []}]},
    ]
    sessions.insert_many(made)
    for number, page in enumerate(["/home", "/cart", "/home"]):
        meta = {"user": ANN, "at": minute(number), "page": page}
        for name in ("a.b", "$none", "array"):
            events.insert_one(
                {"_id": made_at(MORNING, 10 + events.estimated_document_count())}
                | {"meta": {"session": name, **meta}}
            )
    events.insert_one({"_id": made_at(MORNING, 99), "meta": [{"session": "a.b", "page": "/no"}]})

    told = command("verify", *where, "--max-malformed", "100%")
    assert told.code == 3
    malformed = [line.strip() for line in told.out.splitlines() if " is inside " in line]
    sessions_odd = [
        f"1 of web.sessions-2025: {field} is inside {kind}, as in {made_at(MORNING, number)}"
        for field in ("stats.of-events.n", "stats.pages")
        for kind, number in (("array", 3), ("int", 2))
    ]
    assert malformed == sessions_odd + [
        f"1 of web.events-2025 (raw): {field} is inside array, as in {made_at(MORNING, 99)}"
        for field in ("meta.at", "meta.page", "meta.session", "meta.user")
    ]
    before = stored_bytes(db, "web.sessions-2025")
    fixed = command("fix", *where, "--apply", "--max-malformed", "100%")
    assert (fixed.code, fixed.complaints) == (0, "")
    after = {it["_id"]: it for it in sessions.find()}
    repaired = {
        "_id": made[0]["_id"],
        "sid": "a.b",
        "stats": {"kept": 1, "of-events": {"n": 3, "also": [1]}, "pages": ["/home", "/cart"]},
        "from": MORNING,
        "who": {"user": ANN},
        "to": minute(2),
    }
    assert after[made[0]["_id"]] == repaired
    for left_alone in made[1:]:
        raw = stored_bytes(db, "web.sessions-2025")[left_alone["_id"]]
        assert raw == before[left_alone["_id"]]
    assert set(db.list_collection_names()) == {
        "web.sessions-2025",
        "web.events-2025 (raw)",
        "repair.journal-1",
        "repair.runs-1",
    }


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("view", {"viewOn": "real", "pipeline": []}),
        ("timeseries", {"timeseries": {"timeField": "timestamp"}}),
    ],
)
@pytest.mark.parametrize("name", ["sessions", "events"])
def test_views_and_time_series_are_refused_in_a_line(
    db: Database[Document], command: Command, kind: str, options: Document, name: str
) -> None:
    for it in {"sessions", "events", "real"} - {name}:
        db.create_collection(it)
    db.create_collection(name, **options)
    before = fingerprint(db)
    for verb in (("verify",), ("fix",)):
        ended = command(*verb, "--database", db.name)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            f"{verb[0]}: {db.name}.{name} is a {kind}, whose rows cannot be counted and split by "
            "_id. Name the collection behind it.\n"
        )
    assert fingerprint(db) == before


def test_capped_events_are_read_and_capped_sessions_are_only_verified(
    db: Database[Document], command: Command
) -> None:
    db.create_collection("events", capped=True, size=MB)
    shop = Shop(db)
    session = shop.session("one")
    shop.events("one", {0: "/home", 1: "/cart"})
    assert command("fix", "--database", db.name, "--apply").code == 0
    filled = db["sessions"].find_one({"_id": session["_id"]})
    assert filled is not None
    assert filled["pages"] == ["/home", "/cart"]

    db.drop_collection("sessions")
    db.create_collection("sessions", capped=True, size=MB)
    shop.session("one")
    before = stored_bytes(db)
    assert command("verify", "--database", db.name).code == 3
    for verb in (("fix", "--apply"), ("fix", "--plan")):
        ended = command(*verb, "--database", db.name)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            f"fix: {db.name}.sessions is a capped collection, whose documents cannot grow. Copy it "
            "into another one to repair it; verify works on it.\n"
        )
    assert stored_bytes(db) == before
    assert db[RUNS].count_documents({"verb": {"$exists": True}}) == 1


def instants_shop(db: Database[Document]) -> None:
    """A session for every two of the instants, empty or a millisecond off, with two events."""
    numbers = iter(range(1, 10**6))
    for first in INSTANTS:
        for last in INSTANTS:
            if first >= last:
                continue
            name = f"{first:%Y-%m-%dT%H:%M:%S.%f}/{last:%Y-%m-%dT%H:%M:%S.%f}"
            session = {"_id": made_at(MORNING, next(numbers)), "session_id": name}
            off = {
                "first_event_at": first,
                "last_event_at": first,
                "event_count": 2,
                "pages": ["/"],
            }
            db["sessions"].insert_one({**session, **(off if last > MORNING else {})})
            for moment in (last, first):
                event = {"_id": made_at(MORNING, next(numbers)), "session_id": name}
                db["events"].insert_one({**event, "timestamp": moment, "page": "/", "user_id": ANN})


@pytest.mark.needs("spark_process")
def test_the_time_zones_of_the_machine_the_jvm_and_the_server_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = ("Asia/Ho_Chi_Minh", "America/New_York")
    documents: list[dict[bytes, bytes]] = []
    reports: list[Any] = []
    for machine, jvm in (zones, zones[::-1]):
        monkeypatch.setenv("TZ", machine)
        file = tmp_path / f"{len(reports)}.json"
        with EmbeddedMongod() as server, server.client() as client:
            db = client["browsing"]
            instants_shop(db)
            foreseen = foresee(db)
            options = ("--conf", f"spark.driver.extraJavaOptions=-Duser.timezone={jvm}")
            ended = spark_submit(
                *(*options, "fix", "--apply", "--scope", "all", "--allow-absent", "user_id"),
                *("--json", str(file), "--report", str(tmp_path / "report")),
                uri=server.uri,
            )
            assert ended.code == 0, ended.err
            left = {key_of(it["_id"]): bson.encode(it) for it in exact(db, "sessions")}
        assert left == foreseen.documents
        documents.append(left)
        report = json.loads(file.read_text())
        reports.append([report[part] for part in ("totals", "symptoms", "corrections")])
    assert documents[0] == documents[1]
    assert reports[0] == reports[1]
    assert "0001-01-01T00:00:00.000Z" in json.dumps(reports[0])
