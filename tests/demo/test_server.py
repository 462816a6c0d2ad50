"""The embedded server: it starts, asks for passwords, survives its members, and goes away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from demo import member as member_module
from demo.mongod import PACKAGES, environment_of, missing_library, mongod_binary
from demo.server import EmbeddedMongod, Member, ReplicaSet, ServerStartError
from tests.harness.commands import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import signal, sys, time
from demo.server import EmbeddedMongod
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
with EmbeddedMongod(keep="keep" in sys.argv) as server:
    print(server.port, server.how_to_stop(), sep="|", flush=True)
    time.sleep(0 if "keep" in sys.argv else 60)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that servers of this test put their data in."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def locked() -> Iterator[EmbeddedMongod]:
    """A server that asks for a password."""
    with EmbeddedMongod(auth=True) as server:
        yield server


def test_the_server_is_primary_of_a_set_and_runs_transactions(mongod: EmbeddedMongod) -> None:
    with mongod.client() as client, client.start_session() as session:
        with session.start_transaction():
            client["test_server"]["t"].insert_one({"_id": 1}, session=session)
        assert client["test_server"]["t"].count_documents({}) == 1
        client.drop_database("test_server")


def test_the_process_and_its_folder_are_gone_after_the_block(temporary: Path) -> None:
    with EmbeddedMongod() as server:
        port, pid = server.port, server.pid
        assert server.folder.parent == temporary
    assert not is_listening(port)
    assert not Path(f"/proc/{pid}").exists()
    assert list(temporary.iterdir()) == []


def test_they_are_gone_after_an_exception_even_with_keep(temporary: Path) -> None:
    ports = []

    def fail() -> None:
        with EmbeddedMongod(keep=True) as server:
            ports.append(server.port)
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert not is_listening(ports[0])
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_removes_server_and_data(tmp_path: Path, number: signal.Signals) -> None:
    with holder(tmp_path) as process:
        port, _ = announced(process)
        process.send_signal(number)
        assert process.wait(PATIENCE) != 0
    assert not is_listening(port)
    assert list(tmp_path.iterdir()) == []


def test_the_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        port, _ = announced(process)
        assert is_listening(port)
        process.kill()
    assert comes_true(lambda: not is_listening(port))


def test_a_kept_server_outlives_its_parent_until_it_is_stopped_as_told(tmp_path: Path) -> None:
    with holder(tmp_path, "keep") as process:
        port, how_to_stop = announced(process)
        assert process.wait(PATIENCE) == 0
    assert count(f"mongodb://127.0.0.1:{port}/?directConnection=true") == 0
    subprocess.run(how_to_stop, shell=True, check=True)
    assert comes_true(lambda: not is_listening(port))
    assert list(tmp_path.iterdir()) == []


def test_with_auth_the_uri_opens_and_nothing_else_does(locked: EmbeddedMongod) -> None:
    assert count(locked.uri) == 0
    with pytest.raises(OperationFailure, match="Authentication failed"):
        count(locked.uri_for("root", "wrong"))
    with pytest.raises(OperationFailure, match="requires authentication"):
        count(f"mongodb://{locked.members[0].address}/")


def test_with_auth_a_user_may_be_limited_to_reading(locked: EmbeddedMongod) -> None:
    with locked.client() as root:
        root["admin"].command("createUser", "eve", pwd="p@ss/w", roles=["readAnyDatabase"])
    assert count(locked.uri_for("eve", "p@ss/w")) == 0
    with (
        connected(locked.uri_for("eve", "p@ss/w")) as client,
        pytest.raises(OperationFailure, match="not authorized"),
    ):
        client["x"]["y"].insert_one({})


@pytest.mark.needs("replica_set")
def test_three_members_elect_another_primary_and_take_the_old_one_back() -> None:
    with ReplicaSet(members=3, cache_gb=0.25) as servers:
        with connected(servers.uri) as client:
            client["x"]["y"].insert_one({"_id": 1})
        old = servers.primary()
        old.kill()
        assert servers.primary() is not old
        old.restart()
        assert comes_true(lambda: len(servers.secondaries()) == 2)
        assert count(servers.uri) == 1


def test_a_paused_member_answers_again_after_resume(temporary: Path) -> None:
    with EmbeddedMongod() as server:
        only = server.members[0]
        only.pause()
        assert only.hello() == {}
        only.resume()
        assert only.hello()["isWritablePrimary"]


def test_a_paused_member_can_be_stopped(temporary: Path) -> None:
    with EmbeddedMongod() as server:
        server.members[0].pause()
        server.members[0].stop()
        assert not is_listening(server.port)


def test_a_stopped_server_keeps_its_data_over_a_restart(temporary: Path) -> None:
    with EmbeddedMongod() as server:
        with server.client() as client:
            client["x"]["y"].insert_one({"_id": 1})
        server.members[0].stop()
        server.members[0].restart()
        server.primary()
        assert count(server.uri) == 1


def test_a_server_that_cannot_start_shows_its_own_words(temporary: Path) -> None:
    with pytest.raises(ServerStartError, match="noSuchParameter"):
        EmbeddedMongod(parameters={"noSuchParameter": 1}).__enter__()
    assert list(temporary.iterdir()) == []


def test_a_library_that_the_machine_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the loader itself, of a mongod that asks for another one."""
    for library, other in (("liblzma.so.5", "liblzmx.so.5"), ("libcurl.so.4", "libcurx.so.4")):
        mongod = tmp_path / other
        linked = mongod_binary().read_bytes()
        mongod.write_bytes(linked.replace(library.encode() + b"\0", other.encode() + b"\0"))
        mongod.chmod(0o755)
        assert missing_library(mongod, os.environ) == other
        with pytest.raises(
            ServerStartError, match=rf"needs the library {other}, which .*\. Install"
        ):
            environment_of(mongod)
        monkeypatch.setitem(PACKAGES, other, PACKAGES[library])
        with pytest.raises(ServerStartError, match=rf", apt install {PACKAGES[library]}$"):
            environment_of(mongod)
    assert missing_library(mongod_binary(), os.environ) is None
    path = "LD_LIBRARY_PATH"  # needs nothing more here
    assert environment_of(mongod_binary()).get(path) == os.environ.get(path)


def test_a_port_taken_by_a_stranger_costs_one_attempt(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        ports = iter([taken, member_module.free_port()])
        monkeypatch.setattr(member_module, "free_port", lambda: next(ports))
        only = Member(temporary / "member", "rs0", [], outlives_parent=False)
        only.start()
        assert only.port != taken
        only.kill()


def connected(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri)


def count(uri: str) -> int:
    with connected(uri) as client:
        return client["x"]["y"].count_documents({})


def holder(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another Python that holds a server, whose data goes into the folder."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def announced(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The port of its server and the command that would stop it."""
    assert process.stdout is not None
    port, _, how_to_stop = process.stdout.readline().partition("|")
    return int(port), how_to_stop


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def comes_true(fact: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.05)
    return fact()
