"""What a user can get wrong: one line on stderr, the exit code of the table, nothing written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from demo.member import free_port
from demo.server import EmbeddedMongod
from tests.harness.commands import Command, Ended
from tests.harness.documents import Document, fingerprint
from tests.harness.shop import ANN, Shop, minute

VERBS = [("verify",), ("fix",), ("fix", "--apply")]
WRITING = [
    ("fix", "--apply"),
    ("fix", "--plan"),
    ("delete-orphans", "--apply"),
    ("apply", "r1"),
    ("resume", "r1"),
    ("undo", "r1", "--apply"),
]
READER, PASSWORD = "reader", "p@ss/w%rd: ü?"


def one_line(ended: Ended, code: int) -> str:
    """The complaint, which is all that the command printed."""
    assert (ended.code, ended.out) == (code, "")
    assert ended.complaints.count("\n") == 1, ended.err
    assert ended.complaints.endswith("\n")
    assert "Traceback" not in ended.complaints
    return ended.complaints


@pytest.mark.parametrize("verb", VERBS)
def test_no_address_is_refused(command: Command, verb: tuple[str, ...]) -> None:
    assert one_line(command(*verb, uri=None), 2) == (
        f"{verb[0]}: MONGODB_URI is not set. Export it, write it to a file and pass --uri-file, "
        "or try ./spark-submit.sh demo.\n"
    )


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://",
        "mongodb://ann:top:secret@localhost",
        "mongodb://ann:top@secret@localhost",
        "mongodb://localhost:port",
        "mongodb://localhost:99999",
        "mongodb://localhost/?replicaSet",
        "mongodb://[::1",
    ],
)
def test_a_malformed_address_is_refused(command: Command, uri: str) -> None:
    told = one_line(command("verify", uri=uri), 2)
    assert told.startswith("verify: ")
    assert "secret" not in told


def test_an_address_without_a_scheme_is_refused_even_if_the_server_answers(
    command: Command, mongod: EmbeddedMongod
) -> None:
    told = one_line(command("verify", uri=f"127.0.0.1:{mongod.port}"), 2)
    assert told.startswith("verify: the connection string is not usable: ")


def test_a_server_that_does_not_answer_is_unreachable_within_the_timeout(
    command: Command,
) -> None:
    """That of the settings, five seconds, and not the driver's own of thirty."""
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    uri = f"mongodb://ann:secret@{address}/?authSource=admin"
    told = one_line(command("fix", "--apply", uri=uri), 75)
    assert 4.5 < time.monotonic() - began < 29
    assert told.startswith(f"fix: MongoDB cannot be reached: {address}")
    assert "secret" not in told


def test_a_host_that_does_not_exist_is_unreachable(command: Command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('server_selection_timeout = "500ms"\n')
    uri = "mongodb://no-such-host.invalid:27017"
    told = one_line(command("verify", "--config", f"{tmp_path}/c.toml", uri=uri), 75)
    assert told.startswith("verify: MongoDB cannot be reached: no-such-host.invalid:27017")


@pytest.fixture(scope="module")
def guarded_db(guarded_client: MongoClient[Document]) -> Iterator[Database[Document]]:
    """One empty session that can be repaired, and a user who may only read."""
    db = guarded_client["guarded"]
    shop = Shop(db)
    shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    db.client["admin"].command(
        "createUser", READER, pwd=PASSWORD, roles=[{"role": "read", "db": db.name}]
    )
    yield db
    db.client["admin"].command("dropUser", READER)
    db.client.drop_database(db)


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_password_is_refused(
    command: Command, guarded_mongod: EmbeddedMongod, verb: tuple[str, ...]
) -> None:
    uri = guarded_mongod.uri_for("root", "wrong-secret")
    assert one_line(command(*verb, uri=uri), 2) == (
        f"{verb[0]}: MongoDB refused the user or the password. Check MONGODB_URI.\n"
    )


def test_no_login_where_one_is_asked_for_is_refused(
    command: Command, guarded_mongod: EmbeddedMongod
) -> None:
    uri = f"mongodb://127.0.0.1:{guarded_mongod.port}/?replicaSet=rs0"
    assert one_line(command("verify", uri=uri), 2).startswith("verify: MongoDB denies a right: ")


def test_a_user_who_may_only_read_cannot_apply(
    command: Command, guarded_mongod: EmbeddedMongod, guarded_db: Database[Document]
) -> None:
    before = fingerprint(guarded_db)
    uri = guarded_mongod.uri_for(READER, PASSWORD)
    assert one_line(command("fix", "--database", "guarded", "--apply", uri=uri), 2) == (
        "fix: user 'reader' lacks the right to "
        "createIndex, insert, remove, update on guarded.session_repair_journal; "
        "insert, update on guarded.session_repair_runs; update on guarded.sessions. "
        "Grant it: docs/rights.md has the roles. Nothing was read or written.\n"
    )
    assert fingerprint(guarded_db) == before


def test_a_user_who_may_only_read_can_verify(
    command: Command, guarded_mongod: EmbeddedMongod, guarded_db: Database[Document]
) -> None:
    before = fingerprint(guarded_db)
    uri = guarded_mongod.uri_for(READER, PASSWORD)
    ended = command("verify", "--database", "guarded", uri=uri)
    assert (ended.code, ended.complaints) == (3, "")
    assert ended.figure("Total sessions") == 1
    fix = "./spark-submit.sh fix --apply --database guarded"
    assert f"⚠️  1 session can be repaired from its events: {fix}\n" in ended.out
    assert fingerprint(guarded_db) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("verify", "--no-such-option"), "--no-such-option"),
        (("verify", "--apply"), "--apply"),
        (("fix", "extra"), "extra"),
        (("fix", "--scope", "some"), "'some'"),
        (("fix", "--settle", "soon"), "'soon'"),
        (("fix", "--since", "yesterday"), "'yesterday'"),
        (("fix", "--database"), "--database"),
        (("verify", "--config", "/no/such.toml"), "/no/such.toml"),
        (("verify", "--uri-file", "/no/such/file"), "/no/such/file"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    command: Command, arguments: tuple[str, ...], named: str
) -> None:
    told = one_line(command(*arguments), 2)
    assert told.startswith(f"{arguments[0]}: ")
    assert named in told


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("databse = 'x'", "'databse'"),
        ("batch_size = 'many'", "batch_size"),
        ("batch_size = 0", "batch_size"),
        ("scope = 'some'", "scope"),
        ("settle = 15", "settle"),
        ("uri = 'mongodb://localhost'", "'uri'"),
        ("database = ", "TOML"),
        ("collections = 'sessions'", "collections"),
        ("[collections]\nsessoins = 'x'", "'sessoins'"),
        ("[fields.sessions]\npage = 'x'", "'page'"),
        ("[fields.sessions]\npages = 5", "pages"),
        ("[fields]\nsessions = 'x'", "sessions"),
    ],
)
def test_a_config_file_that_is_not_understood_is_refused(
    command: Command, tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    told = one_line(command("verify", "--config", f"{tmp_path}/c.toml"), 2)
    assert told.startswith("verify: ")
    assert named in told.replace(str(tmp_path), "")


@pytest.mark.parametrize("name", ["no database", "a/b", "", "x" * 64])
def test_a_database_name_that_cannot_be_is_refused(command: Command, name: str) -> None:
    assert one_line(command("verify", "--database", name), 2).startswith("verify: ")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("missing", ["sessions", "events"])
def test_a_missing_collection_is_refused_by_name(
    db: Database[Document], command: Command, verb: tuple[str, ...], missing: str
) -> None:
    there = "events" if missing == "sessions" else "sessions"
    db.create_collection(there)
    before = fingerprint(db)
    assert one_line(command(*verb, "--database", db.name), 2) == (
        f"{verb[0]}: there is no collection '{missing}' in database '{db.name}'. "
        f"It holds '{there}'. Name the right ones with --database or in the config file.\n"
    )
    assert fingerprint(db) == before


def test_of_many_collections_the_likest_are_named_first(
    db: Database[Document], command: Command
) -> None:
    for name in ["Session", "sesions", *(f"other{n:02}" for n in range(12))]:
        db.create_collection(name)
    others = "'Session', 'sesions', " + ", ".join(f"'other{n:02}'" for n in range(8))
    assert one_line(command("verify", on=db), 2) == (
        f"verify: there is no collection 'sessions' in database '{db.name}'. It holds {others} "
        "and 4 more. Name the right ones with --database or in the config file.\n"
    )


def test_a_wrong_database_is_told_those_that_are_there(
    db: Database[Document], command: Command
) -> None:
    db.create_collection("sessions")
    told = one_line(command("verify", "--database", f"{db.name}x"), 2)
    assert f"in database '{db.name}x'. This database is empty; there are '{db.name}'" in told
    assert "'admin'" not in told
    assert "'local'" not in told
    empty = command("runs", "--database", f"{db.name}x")
    assert (empty.code, empty.err.count("\n")) == (0, 1)
    assert empty.err.startswith(
        f"Database '{db.name}x' holds no run. This database is empty; there are '{db.name}'"
    )
    held = f"Database '{db.name}' holds no run. It holds 'sessions'.\n"
    assert command("runs", on=db).err == held


@pytest.fixture
def scans_forbidden(mongo_client: MongoClient[Document]) -> Iterator[None]:
    mongo_client.admin.command("setParameter", 1, notablescan=True)
    yield
    mongo_client.admin.command("setParameter", 1, notablescan=False)


@pytest.mark.usefixtures("scans_forbidden")
@pytest.mark.parametrize(
    "verb", [("verify",), ("fix", "--strategy", "scan"), ("fix", "--apply"), ("delete-orphans",)]
)
def test_a_server_that_allows_no_scan_is_told_so(
    db: Database[Document], command: Command, verb: tuple[str, ...]
) -> None:
    shop = Shop(db)
    shop.session("empty")
    shop.events("empty", {0: "/home"})
    before = fingerprint(db)
    assert one_line(command(*verb, on=db), 2) == (
        f"{verb[0]}: this MongoDB runs with notablescan, so it reads no collection as a whole, as "
        "a repair has to. Set that parameter to false while it runs.\n"
    )
    assert fingerprint(db) == before


BYTES = os.fsdecode(b"a\xff\xfe")  # as Python hands on what a shell gave it


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("runs", "--database", BYTES), "--database"),
        (("runs", f"--database={BYTES}"), "--database"),
        (("undo", BYTES), "word 2"),
        (("verify", "--session-id", BYTES), "--session-id"),
        (("fix", "--notify", BYTES, "--apply"), "--notify"),
    ],
)
def test_bytes_that_are_no_text_are_refused(
    command: Command, words: tuple[str, ...], where: str
) -> None:
    told = f"{where} is not text in UTF-8. Write it again, in a terminal for UTF-8.\n"
    assert one_line(command(*words), 2).removeprefix(f"{words[0]}: ") == told


def test_an_address_or_a_file_that_is_no_text_is_refused(command: Command, tmp_path: Path) -> None:
    told = one_line(command("runs", uri=f"mongodb://u:{BYTES}@h/"), 2)
    assert told == "runs: MONGODB_URI is not text in UTF-8. Export it again.\n"
    file = tmp_path / "c.toml"
    file.write_bytes(b'database = "\xff"')
    told = one_line(command("runs", "--config", str(file)), 2)
    assert told == f"runs: --config {file} is not TOML: it is not text in UTF-8.\n"


@pytest.mark.parametrize("verb", [("verify",), ("runs",), ("health",)])
def test_a_wrong_option_of_the_address_is_refused(
    mongo_uri: str, command: Command, verb: tuple[str, ...]
) -> None:
    ended = command(*verb, uri=f"{mongo_uri}&retryWrits=true")
    assert "the unknown option retryWrits. Did you mean retrywrites?" in ended.told
    assert (ended.code, ended.told.count("\n")) == (2, 1)


@pytest.mark.parametrize("verb", WRITING)
def test_a_wrong_name_of_a_database_makes_none(
    mongo_client: MongoClient[Document], command: Command, verb: tuple[str, ...]
) -> None:
    before = mongo_client.list_database_names()
    told = one_line(command(*verb, "--database", "no_such_shop"), 2)
    assert told.startswith(f"{verb[0]}: there is no ")
    assert mongo_client.list_database_names() == before


def test_empty_collections_are_clean(db: Database[Document], command: Command) -> None:
    db.create_collection("sessions")
    db.create_collection("events")
    ended = command("verify", "--database", db.name)
    assert (ended.code, ended.complaints) == (0, "")
    assert ended.figure("Total sessions") == ended.figure("Total events") == 0


@pytest.mark.parametrize("verb", [("fix",), ("fix", "--apply")])
def test_without_any_event_nothing_is_planned(
    db: Database[Document], command: Command, verb: tuple[str, ...]
) -> None:
    Shop(db).session("empty")
    db.create_collection("events")
    before = fingerprint(db)
    assert one_line(command(*verb, "--database", db.name), 4).startswith(
        "fix: collection 'events' has no event at all. Nothing was written."
    )
    assert fingerprint(db) == before


def test_a_json_file_that_cannot_be_written_is_refused_by_name(
    db: Database[Document], command: Command
) -> None:
    db.create_collection("sessions")
    db.create_collection("events")
    ended = command("verify", "--database", db.name, "--json", "/no/such/folder/report.json")
    assert (ended.code, ended.complaints.count("\n")) == (2, 1)
    assert "/no/such/folder/report.json" in ended.complaints


def test_the_address_may_stand_in_a_file_and_the_names_in_another(
    db: Database[Document], mongo_uri: str, command: Command, tmp_path: Path
) -> None:
    shop = Shop(db)
    made = shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    db["sessions"].rename("visits")
    db["visits"].update_one({}, {"$rename": {"pages": "seen.pages", "event_count": "seen.count"}})
    (tmp_path / "uri").write_text(f"{mongo_uri}\n")
    (tmp_path / "c.toml").write_text(
        f'database = "{db.name}"\ncollections.sessions = "visits"\n'
        'fields.sessions = {pages = "seen.pages", event_count = "seen.count"}\n'
    )
    options = ("--uri-file", f"{tmp_path}/uri", "--config", f"{tmp_path}/c.toml")
    ended = command("fix", "--apply", *options, uri=None)
    assert (ended.code, ended.complaints) == (0, "")
    assert db["visits"].find_one() == {
        "_id": made["_id"],
        "session_id": "broken",
        "first_event_at": minute(0),
        "last_event_at": minute(1),
        "user_id": ANN,
        "seen": {"pages": ["/home", "/cart"], "count": 2},
    }


def test_an_address_that_comes_through_a_pipe_is_read_once(
    db: Database[Document], command: Command, mongo_uri: str
) -> None:
    reading, writing = os.pipe()
    os.write(writing, mongo_uri.encode())
    os.close(writing)
    pipe = f"/dev/fd/{reading}"
    told = one_line(command("verify", "--database", db.name, "--uri-file", pipe, uri=None), 2)
    os.close(reading)
    assert told.startswith(f"verify: there is no collection 'sessions' in database {db.name!r}. ")
