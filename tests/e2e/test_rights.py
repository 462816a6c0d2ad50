"""The roles of docs/rights.md: each verb works with its own, and is refused with any right less."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from demo.server import EmbeddedMongod
from session_repair.mongo.rights import TO_READ, lacking_rights
from session_repair.settings import Settings
from tests.e2e.shell import Mongosh
from tests.e2e.test_refusals import one_line
from tests.harness.commands import ROOT, Command
from tests.harness.documents import RUNS, SESSIONS, Db, Document, data_of, stored_bytes
from tests.harness.holds import Hook
from tests.harness.runs import LONG_AGO, last_run
from tests.harness.shop import Shop

RIGHTS = (ROOT / "docs" / "rights.md").read_text(encoding="utf-8")
COMMANDS = [it for it in re.findall(r"```js\n(.+?)```", RIGHTS, re.DOTALL) if "createRole" in it]
VERIFY, FIX, DELETE, HEALTH = (
    f"sessionRepair{name}" for name in ("Verify", "Fix", "Delete", "Health")
)
PASSWORD = "hush"
LAG_SEEN = ("--max-lag", "10s")
# Each verb, as docs/rights.md says, and the role that is for it.
VERBS: dict[tuple[str, ...], str] = {
    ("verify",): VERIFY,
    ("fix",): VERIFY,
    ("delete-orphans",): VERIFY,
    ("fix", "--plan", *LAG_SEEN): FIX,
    ("fix", "--apply", *LAG_SEEN): FIX,
    ("delete-orphans", "--apply", *LAG_SEEN): DELETE,
    ("health",): HEALTH,
}
# Time-series collections have a resource of their own kind; it is no right to read.
BUCKETS: Document = {"resource": {"db": "shop", "system_buckets": "x"}, "actions": ["find"]}


@pytest.fixture(scope="module")
def roles(
    guarded_mongod: EmbeddedMongod, guarded_client: MongoClient[Document], mongosh: Mongosh
) -> Iterator[dict[str, list[Document]]]:
    """All privileges by role, made by the very commands of the page."""
    admin = guarded_client.admin
    mongosh.evaluate(guarded_mongod.uri, "admin", ";".join([*COMMANDS, "return 1"]))
    made = admin.command("rolesInfo", 1, showPrivileges=True)["roles"]
    yield {role["role"]: role["inheritedPrivileges"] for role in made}
    for role in made:
        admin.command("dropRole", role["role"])


Login = Callable[..., str]
NUMBERS = count()


def user_of(uri: str) -> str:
    return str(re.findall(r"//(\w+):", uri)[0])


@pytest.fixture
def login(guarded_mongod: EmbeddedMongod, guarded_client: MongoClient[Document]) -> Iterator[Login]:
    """The address of a new user with these roles, or with one of these privileges.

    No name comes twice: connections that Spark keeps were of the user who had it before.
    """
    admin = guarded_client.admin
    users: list[str] = []

    def made(*roles: str, privileges: list[Document] | None = None) -> str:
        user = f"user{next(NUMBERS)}"
        users.append(user)
        if privileges is not None:
            roles = (f"role{len(users)}",)
            admin.command("createRole", roles[0], privileges=[*privileges, BUCKETS], roles=[])
        admin.command("createUser", user, pwd=PASSWORD, roles=list(roles))
        return guarded_mongod.uri_for(user, PASSWORD)

    yield made
    for user in users:
        admin.command("dropUser", user)
    for role in admin.command("rolesInfo", 1)["roles"]:
        if role["role"].startswith("role"):
            admin.command("dropRole", role["role"])


@pytest.fixture
def shop(guarded_client: MongoClient[Document]) -> Iterator[Db]:
    """One session that can be repaired, and an old orphan."""
    db = guarded_client["shop"]
    made = Shop(db)
    made.session("broken")
    made.events("broken", {0: "/home", 1: "/cart"})
    long_ago = datetime.now(timezone.utc) - timedelta(days=30)
    made.session("orphan", _id=made.id_at(long_ago), first_event_at=None, last_event_at=None)
    yield db
    guarded_client.drop_database(db)


def test_the_page_has_a_role_for_every_verb(roles: dict[str, list[Document]]) -> None:
    assert roles.keys() == {VERIFY, FIX, DELETE, HEALTH}


@pytest.mark.needs("many_runs")
@pytest.mark.usefixtures("roles")
def test_each_verb_works_with_its_role_alone(shop: Db, command: Command, login: Login) -> None:
    """With a TTL index by whose filter the server is asked what the sessions would be."""
    uris = {role: login(role) for role in (VERIFY, FIX, DELETE, HEALTH)}
    rule, age = {"event_count": {"$gt": 0}}, 2_000_000_000
    shop[SESSIONS].create_index("made", partialFilterExpression=rule, expireAfterSeconds=age)
    before = stored_bytes(shop)

    def run(role: str, *words: str) -> int:
        ended = command(*words, on=shop, uri=uris[role])
        assert ended.complaints == "", ended.complaints
        return ended.code

    assert run(VERIFY, "verify") == 3
    assert run(FIX, "fix", "--apply", *LAG_SEEN) == 0
    assert shop[SESSIONS].count_documents({"pages": ["/home", "/cart"], "event_count": 2}) == 1
    assert run(FIX, "verify", "--run", last_run(shop)["_id"]) == 0
    assert run(FIX, "undo", last_run(shop)["_id"], "--apply") == 0
    assert stored_bytes(shop) == before
    assert run(HEALTH, "runs") == 0
    assert run(HEALTH, "health") == 3
    assert run(DELETE, "delete-orphans", "--apply", "--max-delete", "1", *LAG_SEEN) == 0
    assert shop[SESSIONS].distinct("session_id") == ["broken"]
    assert run(DELETE, "undo", last_run(shop)["_id"], "--apply") == 0
    assert stored_bytes(shop) == before


@pytest.mark.usefixtures("roles")
def test_its_role_is_enough_to_end_what_a_dead_holder_of_the_lease_left_open(
    shop: Db, command: Command, login: Login
) -> None:
    uri = login(FIX)
    assert command("fix", "--plan", on=shop, uri=uri).code == 3
    with MongoClient[Document](uri) as client, client.start_session() as dead:
        dead.start_transaction()
        note = {"$set": {"note": "never to be"}}
        client["shop"][SESSIONS].update_one({"session_id": "broken"}, note, session=dead)
        left = {"session": dead.session_id["id"], "expires_at": LONG_AGO}
        shop[RUNS].update_one({"_id": "lease"}, {"$set": left})
        ended = command("apply", last_run(shop)["_id"], on=shop, uri=uri)
        assert ended.code == 0, ended.told
        with pytest.raises(OperationFailure, match="has been aborted"):
            dead.commit_transaction()
    assert shop[SESSIONS].count_documents({"pages": ["/home", "/cart"], "note": None}) == 1


def without(privileges: list[Document], number: int, action: str) -> list[Document]:
    """The privileges but for one action of one of them."""
    less = [dict(it) for it in privileges]
    less[number]["actions"] = [it for it in less[number]["actions"] if it != action]
    return [it for it in less if it["actions"]]


def name_of(resource: Document) -> str:
    if resource.get("cluster"):
        return "the cluster"
    return f"shop.{resource['collection']}" if resource["collection"] else "database shop"


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_each_right_less_is_named_before_anything_is_started(
    shop: Db,
    command: Command,
    login: Login,
    roles: dict[str, list[Document]],
    before_command: Callable[[Hook], None],
    verb: tuple[str, ...],
) -> None:
    sent: set[str] = set()

    def note(_: str, asked: Mapping[str, Any]) -> None:
        if asked.get("$db") == "shop" or "connectionStatus" in asked:
            sent.add(next(iter(asked)))

    before, privileges = data_of(shop), roles[VERBS[verb]]
    rights = [(i, action) for i, it in enumerate(privileges) for action in it["actions"]]
    assert len(rights) >= 3
    for number, action in rights:
        uri = login(privileges=without(privileges, number, action))
        lacking = f"{action} on {name_of(privileges[number]['resource'])}"
        told = (
            f"user '{user_of(uri)}' lacks the right to {lacking}. "
            "Grant it: docs/rights.md has the roles. Nothing was read or written."
        )
        before_command(note)
        ended = command(*verb, on=shop, uri=uri)
        before_command(lambda *_: None)
        if verb == ("health",):
            answer = json.loads(ended.out)
            assert (ended.code, answer["status"], answer["reason"]) == (2, "unknown", told)
        else:
            assert one_line(ended, 2) == f"{verb[0]}: {told}\n"
    # A start of Spark begins with the estimated number of documents, a run with its document.
    assert sent == {"connectionStatus"}
    assert data_of(shop) == before
    assert "session_repair_runs" not in shop.list_collection_names()


def test_several_rights_less_are_all_named(shop: Db, command: Command, login: Login) -> None:
    uri = login(privileges=[])
    assert one_line(command("fix", "--apply", on=shop, uri=uri), 2) == (
        f"fix: user '{user_of(uri)}' lacks the right to listCollections on database shop; "
        "createIndex, find, insert, remove, update on shop.session_repair_journal; "
        "find, insert, update on shop.session_repair_runs; "
        "collStats, find, listIndexes, update on shop.sessions; "
        "collStats, find, listIndexes on shop.events. "
        "Grant it: docs/rights.md has the roles. Nothing was read or written.\n"
    )


@pytest.mark.parametrize(
    ("option", "lacking"),
    [
        (("--since", "last-success"), "find on shop.session_repair_runs"),
        (
            ("--run", "r1"),
            "find on shop.session_repair_journal; find on shop.session_repair_runs",
        ),
    ],
)
def test_what_reads_the_past_needs_the_right_to(
    shop: Db,
    command: Command,
    login: Login,
    roles: dict[str, list[Document]],
    option: tuple[str, str],
    lacking: str,
) -> None:
    assert roles.keys() >= {VERIFY}
    uri = login(VERIFY)
    assert one_line(command("verify", *option, on=shop, uri=uri), 2) == (
        f"verify: user '{user_of(uri)}' lacks the right to {lacking}. "
        "Grant it: docs/rights.md has the roles. Nothing was read or written.\n"
    )


def test_a_lag_that_may_not_be_seen_is_told_and_one_that_is_asked_for_is_refused(
    shop: Db, command: Command, login: Login, roles: dict[str, list[Document]]
) -> None:
    blind = [it for it in roles[FIX] if not it["resource"].get("cluster")]
    uri = login(privileges=blind)
    lacking = "the right to replSetGetStatus, replSetGetConfig on the cluster"
    reading = command("verify", on=shop, uri=f"{uri}&readPreference=secondaryPreferred")
    assert one_line(reading, 2) == (
        "verify: the connection string allows reads from a secondary. Replication lag cannot be "
        f"seen: the user lacks {lacking}. Read from the primary.\n"
    )
    ended = command("fix", "--apply", on=shop, uri=uri)
    assert (ended.code, ended.complaints) == (
        0,
        f"  Replication lag cannot be seen: the user lacks {lacking}. "
        "Batches wait for a majority, and for no other replica.\n",
    )
    undo = ("undo", last_run(shop)["_id"], "--apply")
    refused = one_line(command(*undo, *LAG_SEEN, on=shop, uri=uri), 2)
    assert " lacks the right to replSetGetConfig, replSetGetStatus on the cluster. " in refused
    assert command(*undo, on=shop, uri=uri).code == 0


# The privileges that a server may name, and what they cover.
ALL: Document = {"db": "", "collection": ""}
HERE: Document = {"db": "browsing", "collection": ""}
NEEDED = ["listCollections on database browsing"] + [
    f"collStats, find, listIndexes on browsing.{name}" for name in ("sessions", "events")
]


@pytest.mark.parametrize(
    ("resource", "lacking"),
    [
        ({"anyResource": True}, []),
        (ALL, []),
        (HERE, []),
        ({"db": "other", "collection": ""}, NEEDED),
        ({"db": "", "collection": "sessions"}, [NEEDED[0], NEEDED[2]]),
        ({"db": "browsing", "collection": "events"}, NEEDED[:2]),
        ({"db": "browsing", "system_buckets": ""}, NEEDED),
        ({"db": "browsing", "system_buckets": "sessions"}, NEEDED),
        ({"system_buckets": ""}, NEEDED),
        ({"cluster": True}, NEEDED),
    ],
)
def test_what_a_privilege_covers(resource: Document, lacking: list[str]) -> None:
    settings = Settings(uri="mongodb://h/")
    for actions in (["find", "listIndexes", "collStats", "listCollections"], ["anyAction"]):
        held = [{"resource": resource, "actions": actions}]
        assert lacking_rights(held, settings, TO_READ) == lacking
