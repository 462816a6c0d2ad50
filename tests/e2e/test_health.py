"""Health: what it answers about a real database, on the command line and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families
from pymongo.database import Database

from benchmarks.health_load import a_good_run, load, serving
from demo.member import free_port
from demo.server import EmbeddedMongod
from session_repair import __version__
from session_repair.health.model import json_schema
from tests.e2e.test_refusals import one_line
from tests.harness.commands import PATIENCE, ROOT, Command, Ended
from tests.harness.documents import JOURNAL, RUNS, Document
from tests.harness.holds import Hold, Hook, Point, held
from tests.harness.runs import last_run
from tests.harness.shop import Shop

VALID = Draft202012Validator(json_schema())
TOKEN = "T0K3N-é"
LATE = 2.0  # seconds within which every request has to be answered


def answer_of(ended: Ended) -> Document:
    """The one line of JSON, which is all that the command printed."""
    assert (ended.err, ended.out.count("\n")) == ("", 1)
    answer: Document = json.loads(ended.out)
    VALID.validate(answer)
    assert answer["verdict"] == ended.code
    return answer


@pytest.fixture
def health(db: Database[Document], command: Command) -> Callable[..., Document]:
    """The answer of health for the test's database."""
    return lambda *options, **more: answer_of(
        command("health", "--database", db.name, *options, **more)
    )


def counted(answer: Document) -> dict[str, int | None]:
    return {name: answer[name]["count"] for name in ("empty", "fixable", "orphan")}


def fill(db: Database[Document]) -> None:
    """One session to be repaired, one orphan."""
    shop = Shop(db)
    shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    shop.session("orphan")


def test_the_health_follows_the_runs(
    db: Database[Document], command: Command, health: Callable[..., Document]
) -> None:
    fill(db)
    answer = health()
    assert (answer["status"], answer["reason"], answer["verdict"]) == (
        "unknown",
        "no run has ended yet",
        1,
    )
    assert (answer["sessions"], answer["events"], answer["last_run"]) == (2, 2, None)

    assert command("fix", "--database", db.name, "--plan").code == 3
    answer = health()
    assert (answer["status"], answer["verdict"]) == ("degraded", 3)
    assert counted(answer) == {"empty": 2, "fixable": 1, "orphan": 1}

    assert command("fix", "--database", db.name, "--apply").code == 0
    answer = health()
    assert (answer["status"], answer["reason"], answer["verdict"]) == ("ok", None, 0)
    assert counted(answer) == {"empty": 1, "fixable": 0, "orphan": 1}
    assert all(0 <= answer[name]["age_seconds"] < 60 for name in ("empty", "fixable", "orphan"))
    last = answer["last_run"]
    run = db[RUNS].find_one({"state": "done"})
    assert run is not None
    assert (last["id"], last["verb"], last["verdict"]) == (run["_id"], "fix", 0)
    assert answer["lease"] == {"is_held": False, "holder": None}

    time.sleep(1)
    assert health("--max-age", "500ms")["status"] == "unknown"

    shop = Shop(db, first_id=100)
    shop.session("broken again")
    shop.events("broken again", {0: "/home"})
    assert command("fix", "--database", db.name, "--apply", "--max-changes", "0").code == 4
    answer = health()
    assert (answer["status"], answer["verdict"]) == ("degraded", 3)
    assert "1 of 3 sessions is in the plan, --max-changes 0 allows 0" in answer["reason"]
    assert answer["last_run"]["error"].startswith("BreakerTripped: 1 of 3 sessions")
    assert counted(answer) == {"empty": 2, "fixable": 1, "orphan": 1}  # by the plan that it kept


def more_runs(db: Database[Document], number: int, changes: Document) -> None:
    """Later runs like the last one, but for the changes."""
    (last,) = db[RUNS].find({"verb": "fix"}).sort("_id", -1).limit(1)
    for name, value in changes.items():
        *path, key = name.split(".")
        inner = last[path[0]] if path else last
        inner[key] = value
    db[RUNS].insert_many({**last, "_id": f"{last['_id']}-{at:03}"} for at in range(number))


def test_runs_that_did_nothing_or_saw_a_part_do_not_hide_the_last_whole_one(
    db: Database[Document], health: Callable[..., Document]
) -> None:
    run = a_good_run(db, orphans=1)
    more_runs(db, 30, {"settings.session_ids": ["s1"]})
    more_runs(db, 30, {"verdict": 6, "state": "planning"})
    answer = health()
    assert (answer["status"], answer["reason"]) == ("ok", None)
    assert counted(answer) == {"empty": 1, "fixable": 0, "orphan": 1}
    assert answer["last_run"]["id"].startswith(run)
    assert (answer["last_run"]["state"], answer["last_run"]["verdict"]) == ("done", 0)


@pytest.mark.parametrize("name", ["sessions", "events"])
def test_runs_over_other_collections_say_nothing(
    db: Database[Document], health: Callable[..., Document], mongo_uri: str, name: str
) -> None:
    run = a_good_run(db)
    more_runs(db, 1, {f"settings.{name}": "others", "verdict": 75})
    assert (health()["status"], health()["last_run"]["id"]) == ("ok", run)
    with serving(mongo_uri, "--database", db.name) as port:
        assert f"Below is the report of run {run}, " in ask(port, "/").text


def test_the_runs_are_found_by_their_id(
    db: Database[Document], health: Callable[..., Document]
) -> None:
    a_good_run(db)
    with profile_of(db) as operations:
        health()
    sorted_finds = [it for it in operations if "sort" in it["command"]]
    assert [it["planSummary"] for it in sorted_finds] == ["IXSCAN { _id: 1 }"] * 2


def test_more_empty_sessions_than_the_last_run_knew_are_degraded(
    db: Database[Document], health: Callable[..., Document]
) -> None:
    a_good_run(db, orphans=1)
    fill(db)
    assert health()["status"] == "ok"
    answer = health("--deep")
    assert (answer["status"], answer["verdict"]) == ("degraded", 3)
    assert answer["reason"] == "2 sessions are empty now, 1 when they were last counted"


def test_a_run_without_a_state_breaks_neither_health_nor_runs(
    db: Database[Document], command: Command, health: Callable[..., Document]
) -> None:
    run = a_good_run(db)
    db[RUNS].update_one({"_id": run}, {"$unset": {"state": 1}})
    assert health()["last_run"]["state"] == "?"
    assert run in command("runs", "--database", db.name).out


def test_a_run_that_cannot_be_understood_is_unknown(
    db: Database[Document], health: Callable[..., Document], mongo_uri: str
) -> None:
    run = a_good_run(db)
    db[RUNS].update_one({"_id": run}, {"$unset": {"report.totals": 1}})
    answer = health()
    assert (answer["status"], answer["verdict"]) == ("unknown", 1)
    assert answer["reason"] == "KeyError: 'totals'"
    with serving(mongo_uri, "--database", db.name) as port:
        for path in ("/", "/api/health/sessions"):
            assert ask(port, path).status == 503
        assert ask(port).answer["reason"] == "KeyError: 'totals'"
        assert 'status="unknown"} 1.0' in ask(port, "/metrics").text


def test_an_undo_that_broke_off_is_unknown_until_it_is_finished(
    db: Database[Document],
    command: Command,
    health: Callable[..., Document],
    before_command: Callable[[Hook], None],
) -> None:
    shop = Shop(db)
    shop.session("a")
    shop.events("a", {0: "/home"})
    assert command("fix", "--apply", "--database", db.name).code == 0
    run = last_run(db)["_id"]
    assert health()["status"] == "ok"
    states: list[str] = []

    def look(database: str, sent: Mapping[str, Any]) -> None:
        if "commitTransaction" in sent or sent.get("find") == JOURNAL:
            states.extend(db[RUNS].distinct("state", {"_id": run}))

    before_command(look)
    undo = ("undo", run, "--apply", "--database", db.name)
    assert command(*undo).code == 0
    # Until its first batch is committed nothing is undone.
    assert list(dict.fromkeys(states)) == ["done", "undoing"]
    assert db[RUNS].distinct("state") == ["undone"]
    assert health()["status"] == "degraded"

    killed = {"state": "undoing", "verdict": 130, "error": "KeyboardInterrupt: "}
    for broken in ({"state": "undoing"}, killed):
        db[RUNS].update_one({"_id": run}, {"$set": broken})
        assert health()["status"] == "unknown"
        assert command(*undo).code == 0
        assert health()["status"] == "degraded"


def test_a_held_lease_is_shown_with_its_holder(
    db: Database[Document], health: Callable[..., Document]
) -> None:
    soon = datetime.now(timezone.utc) + timedelta(minutes=1)
    db[RUNS].insert_one({"_id": "lease", "holder": "r1", "token": 1, "expires_at": soon})
    assert health()["lease"] == {"is_held": True, "holder": "r1"}


@contextmanager
def profile_of(db: Database[Document]) -> Iterator[list[Document]]:
    """Every operation of the job's that the server ran on the database within the block."""
    operations: list[Document] = []
    db.command("profile", 2)
    try:
        yield operations
    finally:
        db.command("profile", 0)
        operations += db["system.profile"].find({"appName": "session-repair"})
        db.drop_collection("system.profile")


def plans_on_data(db: Database[Document], operations: list[Document]) -> list[str]:
    data = (f"{db.name}.sessions", f"{db.name}.events")
    return [it.get("planSummary", "") for it in operations if it["ns"] in data]


def test_only_with_deep_is_a_collection_scanned(
    db: Database[Document], health: Callable[..., Document]
) -> None:
    fill(db)
    with profile_of(db) as operations:
        assert health()["empty"]["count"] is None
    assert plans_on_data(db, operations) == ["RECORD_STORE_FAST_COUNT"] * 2
    assert not [it for it in operations if "COLLSCAN" in it.get("planSummary", "")]

    with profile_of(db) as operations:
        assert health("--deep")["empty"] == {"count": 2, "age_seconds": 0, "note": None}
    assert "COLLSCAN" in plans_on_data(db, operations)


def test_a_deep_count_beyond_its_time_is_null_and_says_so(
    db: Database[Document], health: Callable[..., Document], hold: Hold
) -> None:
    fill(db)
    hold.at(db, Point("aggregate"))
    empty = health("--deep", "--time-limit", "200ms")["empty"]
    note = "not counted within --time-limit 200ms"
    assert empty == {"count": None, "age_seconds": None, "note": note}


def impatient(folder: Path) -> tuple[str, str]:
    """A config that waits half a second for a server."""
    file = folder / "c.toml"
    file.write_text('server_selection_timeout = "500ms"\n')
    return "--config", str(file)


def test_without_mongodb_it_is_unknown_and_75(command: Command, tmp_path: Path) -> None:
    uri = f"mongodb://ann:hush@127.0.0.1:{free_port()}"
    ended = command("health", *impatient(tmp_path), uri=uri)
    answer = answer_of(ended)
    assert (answer["status"], ended.code, answer["lease"]) == ("unknown", 75, None)
    assert "hush" not in ended.out


def test_a_server_that_hangs_is_unknown_and_75(
    db: Database[Document], health: Callable[..., Document], tmp_path: Path, hold: Hold
) -> None:
    hold.at(db, Point("find"))
    assert health(*impatient(tmp_path))["verdict"] == 75


def test_a_wrong_password_is_unknown_and_2(
    command: Command, guarded_mongod: EmbeddedMongod
) -> None:
    answer = answer_of(command("health", uri=guarded_mongod.uri_for("root", "wrong")))
    assert (answer["status"], answer["verdict"]) == ("unknown", 2)


def test_the_schema_needs_no_database(command: Command) -> None:
    ended = command("health", "--schema", uri=None)
    assert (ended.code, json.loads(ended.out)) == (0, json_schema())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--deep", "--serve", "0"), "exclude each other"),
        (("--serve", "0", "--host", "0.0.0.0"), "SESSION_REPAIR_TOKEN"),
        (("--serve", "0", "--host", "db.example"), "SESSION_REPAIR_TOKEN"),
        (("--serve", "65536"), "65536"),
        (("--serve", "0", "--token-file", "/no/such"), "--token-file /no/such"),
        (("--max-age", "soon"), "'soon'"),
    ],
)
def test_what_cannot_be_served_is_refused(
    command: Command, options: tuple[str, ...], named: str
) -> None:
    assert named in one_line(command("health", *options), 2)


def test_without_its_libraries_serving_is_refused_by_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "session_repair.health.server", raising=False)
    told = one_line(command("health", "--serve", "0"), 2)
    assert told == (
        "health: --serve needs the Python package uvicorn. Install session-repair[health].\n"
    )


# --- over HTTP ---


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    text: str
    took: float

    @property
    def answer(self) -> Document:
        answer: Document = json.loads(self.text)
        VALID.validate(answer)
        return answer


def ask(
    port: int, path: str = "/api/health/sessions", method: str = "GET", **headers: str
) -> Response:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    began = time.monotonic()
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    named = {name.lower(): value for name, value in response.getheaders()}
    return Response(response.status, named, text, time.monotonic() - began)


def until(status: int, port: int, seconds: float) -> Response:
    """The first response with the status; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        response = ask(port)
        assert response.took < LATE
        if response.status == status:
            return response
        assert time.monotonic() < deadline, response.text
        time.sleep(0.05)


@pytest.fixture(scope="module")
def fixed_db(module_db: Database[Document]) -> Database[Document]:
    """A database that is in order since a moment ago, but for an orphan."""
    a_good_run(module_db, orphans=1)
    return module_db


@pytest.fixture(scope="module")
def port(fixed_db: Database[Document], mongo_uri: str) -> Iterator[int]:
    """A server that answers for it."""
    with serving(mongo_uri, "--database", fixed_db.name) as port:
        yield port


def test_ok_is_200_with_the_answer_and_never_cached_by_others(
    port: int, fixed_db: Database[Document]
) -> None:
    response = ask(port)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert (response.answer["status"], response.answer["database"]) == ("ok", fixed_db.name)
    assert counted(response.answer) == {"empty": 1, "fixable": 0, "orphan": 1}


def test_the_metrics_are_those_of_the_answer(port: int) -> None:
    response = ask(port, "/metrics")
    assert (response.status, response.headers["cache-control"]) == (200, "no-store")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {
        (sample.name, sample.labels.get("kind") or sample.labels.get("status", "")): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert values["session_repair_health_status", "ok"] == 1
    assert values["session_repair_health_sessions", "orphan"] == 1
    assert values["session_repair_health_last_run_verdict", ""] == 0


def test_the_page_is_the_report_of_the_last_run(port: int, fixed_db: Database[Document]) -> None:
    run = fixed_db[RUNS].find_one({"state": "done"})
    assert run is not None
    response = ask(port, "/")
    assert (response.status, response.headers["cache-control"]) == (200, "no-store")
    assert response.headers["content-type"].startswith("text/html")
    assert run["_id"] in response.text


def test_many_pages_at_once_keep_no_health_waiting(
    fixed_db: Database[Document], mongo_uri: str
) -> None:
    with (
        serving(mongo_uri, "--database", fixed_db.name, "--cache", "0s") as port,
        ThreadPoolExecutor(40) as pool,
    ):
        pages = [pool.submit(ask, port, "/") for _ in range(40)]
        while not all(page.done() for page in pages):
            assert ask(port).took < LATE / 2
    assert {page.result().status for page in pages} == {200}
    assert max(page.result().took for page in pages) < 2 * LATE


def test_the_page_follows_its_run(db: Database[Document], mongo_uri: str) -> None:
    run = a_good_run(db)
    with serving(mongo_uri, "--database", db.name, "--cache", "0s") as port:
        page = ask(port, "/").text
        told = '<p class="badge">Health: ok</p><p>Health at '
        assert page.index("<body") < page.index(told) < page.index("<h1")
        assert page.endswith(f"<footer>session-repair {__version__}</footer>\n</body>\n</html>")
        assert f"The last run, {run}, is fix, done, exit 0." in page
        db[RUNS].update_one(
            {"_id": run}, {"$set": {"state": "undone", "undo": {"counts": {"restored": 1}}}}
        )
        assert "That run was undone" in ask(port, "/").text


def test_only_the_page_depends_on_the_whole_report(db: Database[Document], mongo_uri: str) -> None:
    a_good_run(db)
    db[RUNS].update_one({"verb": "fix"}, {"$set": {"report.new": 1, "report.totals.new": 1}})
    with serving(mongo_uri, "--database", db.name, "--cache", "0s") as port:
        assert ask(port, "/").status == 200
        broken = {"$unset": {"report.corrections": 1}, "$currentDate": {"updated_at": True}}
        db[RUNS].update_one({"verb": "fix"}, broken)
        assert (ask(port).status, ask(port, "/metrics").status) == (200, 200)
        page = ask(port, "/")
        assert (page.status, "cannot be shown" in page.text) == (503, True)


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/api/health", "/../etc/passwd"])
def test_an_unknown_path_is_404(port: int, path: str) -> None:
    assert ask(port, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/api/health/sessions"])
def test_another_method_is_405(port: int, path: str, method: str) -> None:
    assert ask(port, path, method).status == 405


def test_before_any_run_it_is_503_and_the_page_says_so(
    db: Database[Document], mongo_uri: str
) -> None:
    with serving(mongo_uri, "--database", db.name) as port:
        response = ask(port)
        assert (response.status, response.answer["reason"]) == (503, "no run has ended yet")
        page = ask(port, "/")
        assert (page.status, "No run exists yet." in page.text) == (200, True)
        assert "<h1>Health: unknown</h1>\n<p>No run exists yet.</p>\n" in page.text
        assert f"session-repair {__version__}" in page.text


def test_degraded_is_503(db: Database[Document], mongo_uri: str) -> None:
    a_good_run(db)
    db[RUNS].update_one({"verb": "fix"}, {"$set": {"report.totals.planned": 5}})
    with serving(mongo_uri, "--database", db.name) as port:
        response = ask(port)
    assert (response.status, response.answer["status"]) == (503, "degraded")


def test_without_the_token_nobody_is_let_in(
    fixed_db: Database[Document], mongo_uri: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    given = ("--host", "0.0.0.0", "--token-file", f"{tmp_path}/token")
    with serving(mongo_uri, "--database", fixed_db.name, *given) as port:
        for path in ("/", "/metrics", "/api/health/sessions", "/nothing"):
            for header in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
                value = header.encode().decode("latin-1")
                response = ask(port, path, **({"Authorization": value} if header else {}))
                assert response.status == 401
                assert response.headers["www-authenticate"] == "Bearer"
                assert "status" not in response.text
        value = f"Bearer {TOKEN}".encode().decode("latin-1")
        assert ask(port, Authorization=value).status == 200


def test_a_port_in_use_is_refused_in_one_line(port: int, command: Command) -> None:
    told = one_line(command("health", "--serve", str(port)), 2)
    assert told == (
        f"health: cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "Choose another port, or --host.\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_ends_it_cleanly_and_at_once(mongo_uri: str, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "session_repair", "health", "--serve", "0"],
        env={**os.environ, "MONGODB_URI": mongo_uri, "PYTHONPATH": f"{ROOT}:{ROOT}/jobs"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    open_one = HTTPConnection("127.0.0.1", int(first.partition("/api")[0].rpartition(":")[2]))
    open_one.request("GET", "/nothing")
    open_one.getresponse().read()
    process.send_signal(number)
    _, rest = process.communicate(timeout=PATIENCE)  # for ever, if it waited for the open one
    open_one.close()
    assert (process.returncode, rest) == (0, "")


SIGNALLED = """
import os, sys
from session_repair.cli.commands import main
from session_repair.health import server

def notice(line, told=server.notice):
    told(line)
    os.kill(os.getpid(), int(sys.argv[1]))

server.notice = notice
sys.exit(main(["health", "--serve", "0"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_right_after_the_line_ends_it(mongo_uri: str, number: signal.Signals) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(int(number))],
        env={**os.environ, "MONGODB_URI": mongo_uri, "PYTHONPATH": f"{ROOT}:{ROOT}/jobs"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (0, 1)
    assert ended.stderr.startswith("Serving ")


def test_many_who_ask_at_once_cost_one_look(fixed_db: Database[Document], mongo_uri: str) -> None:
    with (
        serving(mongo_uri, "--database", fixed_db.name) as port,
        held(fixed_db, Point("find"), seconds=0.2),
        profile_of(fixed_db) as operations,
    ):
        replies = asyncio.run(load(port, seconds=1, rate=100, began=time.monotonic()))
    assert {reply.status for reply in replies} == {200}
    assert max(reply.took for reply in replies) < LATE
    looks = [it for it in operations if it["ns"] == f"{fixed_db.name}.sessions"]
    assert len(looks) == 1


def test_an_answer_is_kept_for_the_time_asked_for(db: Database[Document], mongo_uri: str) -> None:
    with serving(mongo_uri, "--database", db.name, "--cache", "1s") as port:
        assert ask(port).answer["sessions"] == 0
        db["sessions"].insert_one({})
        assert ask(port).answer["sessions"] == 0
        time.sleep(1.1)
        assert ask(port).answer["sessions"] == 1


@pytest.fixture(scope="module")
def own_mongod() -> Iterator[EmbeddedMongod]:
    """A server that may be stopped; one good run stands in it."""
    with EmbeddedMongod() as server:
        with server.client() as client:
            a_good_run(client["browsing"])
        yield server


def test_mongodb_may_go_and_come_back_and_no_stale_answer_is_ok(
    own_mongod: EmbeddedMongod,
) -> None:
    member = own_mongod.members[0]
    with serving(own_mongod.uri, "--cache", "1h") as port:
        assert ask(port).status == 200
        member.kill()
        time.sleep(0.2)  # the client notices the broken connection
        for path in ("/api/health/sessions", "/api/health/sessions", "/"):
            response = ask(port, path)
            assert (response.status, response.took < LATE) == (503, True)
        assert ask(port).answer["verdict"] == 75
        away = ask(port, "/metrics")
        assert 'session_repair_health_status{database="browsing",status="unknown"} 1.0' in away.text
        member.restart()
        until(200, port, seconds=20)

        member.pause()
        try:
            until(503, port, seconds=3)
            assert ask(port).took < 0.5
        finally:
            member.resume()
        until(200, port, seconds=10)


def test_it_starts_without_mongodb_and_finds_it_later(
    own_mongod: EmbeddedMongod,
) -> None:
    own_mongod.members[0].kill()
    with serving(own_mongod.uri) as port:
        response = ask(port)
        assert (response.status, response.took < LATE) == (503, True)
        own_mongod.members[0].restart()
        until(200, port, seconds=20)


def test_a_mongodb_that_hangs_is_503_in_time(fixed_db: Database[Document], mongo_uri: str) -> None:
    with (
        serving(mongo_uri, "--database", fixed_db.name, "--cache", "0s") as port,
        held(fixed_db, Point("find"), seconds=5),
    ):
        replies = asyncio.run(load(port, seconds=2, rate=50, began=time.monotonic()))
    assert {reply.status for reply in replies} == {503}
    assert max(reply.took for reply in replies) < LATE


def test_the_password_and_the_token_are_in_no_command_line_and_no_output(
    guarded_mongod: EmbeddedMongod,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "session_repair", "health", "--serve", "0"],
        env={
            **os.environ,
            "MONGODB_URI": guarded_mongod.uri,
            "SESSION_REPAIR_TOKEN": TOKEN,
            "PYTHONPATH": f"{ROOT}:{ROOT}/jobs",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    port = int(first.partition("/api")[0].rpartition(":")[2])
    value = f"Bearer {TOKEN}".encode().decode("latin-1")
    answers = [ask(port, path, Authorization=value).text for path in ("/", "/api/health/sessions")]
    command_line = Path(f"/proc/{process.pid}/cmdline").read_text()
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert "unknown" in answers[1]
    for text in (first, out, err, command_line, *answers):
        assert TOKEN not in text
        assert guarded_mongod.root_password not in text
