"""The connection: names that do not resolve, TLS that fails, a network that swallows all."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from demo.member import Member
from demo.server import EmbeddedMongod
from session_repair.mongo.connection import spark_uri
from session_repair.settings import Settings
from tests.e2e.test_refusals import one_line
from tests.harness.commands import Command
from tests.harness.documents import Db, Document
from tests.harness.holds import Hook
from tests.harness.shop import Shop

QUICK = 'server_selection_timeout = "1s"\n'


@pytest.fixture
def quick(tmp_path: Path) -> tuple[str, str]:
    """The option that names a config file whose time to find a server is one second."""
    (tmp_path / "quick.toml").write_text(QUICK)
    return "--config", f"{tmp_path}/quick.toml"


# Names


@pytest.mark.parametrize("verb", ["verify", "runs"])
@pytest.mark.parametrize("name", ["shop.no-such.invalid", "localhost"])
def test_a_srv_name_that_cannot_be_resolved_is_worth_another_try(
    command: Command, verb: str, name: str
) -> None:
    told = one_line(command(verb, uri=f"mongodb+srv://ann:hush@{name}/"), 75)
    assert told.startswith(f"{verb}: the mongodb+srv name cannot be resolved: ")
    assert f"_mongodb._tcp.{name}" in told
    assert "hush" not in told


def test_the_database_of_the_address_is_used_unless_another_is_named(
    db: Db, mongod: EmbeddedMongod, command: Command, tmp_path: Path
) -> None:
    def used(path: str, *options: str) -> str:
        uri = f"mongodb://127.0.0.1:{mongod.port}/{path}?directConnection=true"
        database: str = json.loads(command("health", *options, uri=uri).out)["database"]
        return database

    assert used(db.name) == db.name
    assert used(db.name, "--database", "test_other") == "test_other"
    assert used("") == "browsing"
    (tmp_path / "c.toml").write_text('database = "test_of_the_file"\n')
    assert used(db.name, "--config", f"{tmp_path}/c.toml") == "test_of_the_file"


# TLS


def certificate(folder: Path, name: str) -> Path:
    """A certificate that signed itself, for this host name, and its key in one file."""
    key, pem = folder / f"{name}.key", folder / f"{name}.pem"
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run([*made, "-keyout", key, "-out", pem], check=True, capture_output=True)
    pem.write_text(key.read_text() + pem.read_text())
    return pem


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """That of the server, which is not for 127.0.0.1, and a stranger's."""
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name) for name in ("shop.example", "stranger.example")}


@pytest.fixture(scope="module")
def tls_member(
    tmp_path_factory: pytest.TempPathFactory, certificates: dict[str, Path]
) -> Iterator[Member]:
    """A primary that speaks TLS and accepts connections without it."""
    pem = str(certificates["shop.example"])
    options = ["--tlsMode", "preferTLS", "--tlsCertificateKeyFile", pem]
    options += ["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"]
    member = Member(tmp_path_factory.mktemp("tls"), "rs0", options, outlives_parent=False)
    try:
        member.start()
        with member.client() as client:
            config = {"_id": "rs0", "members": [{"_id": 0, "host": member.address}]}
            client.admin.command("replSetInitiate", config)
        while not member.hello().get("isWritablePrimary"):
            time.sleep(0.1)
        yield member
    finally:
        member.kill()


ADVICE = (
    "Check that the server speaks TLS, that tlsCAFile names the authority that signed its "
    "certificate, and that the certificate is for the host in the connection string.\n"
)


@pytest.mark.parametrize(
    ("authority", "reason"),
    [
        (None, "certificate verify failed: self-signed certificate"),
        ("stranger.example", "certificate verify failed: self-signed certificate"),
        ("shop.example", "certificate verify failed: IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_trusted_says_what_to_check(
    command: Command,
    quick: tuple[str, str],
    tls_member: Member,
    certificates: dict[str, Path],
    authority: str | None,
    reason: str,
) -> None:
    ca = "" if authority is None else f"&tlsCAFile={certificates[authority]}"
    uri = f"mongodb://ann:hush@{tls_member.address}/?tls=true{ca}"
    told = one_line(command("verify", *quick, uri=uri), 75)
    assert told.startswith(f"verify: MongoDB cannot be reached: {tls_member.address}: ")
    assert reason in told
    assert told.endswith(f". {ADVICE}")


def test_tls_to_a_server_without_it_says_what_to_check(
    command: Command, quick: tuple[str, str], mongod: EmbeddedMongod
) -> None:
    uri = f"mongodb://127.0.0.1:{mongod.port}/?tls=true"
    assert one_line(command("verify", *quick, uri=uri), 75).endswith(f". {ADVICE}")


@contextmanager
def over_tls(member: Member, certificates: dict[str, Path]) -> Iterator[MongoClient[Document]]:
    authority = str(certificates["shop.example"])
    with member.client(tls=True, tlsCAFile=authority, tlsAllowInvalidHostnames=True) as client:
        yield client


def test_no_tls_to_a_server_that_wants_it_says_what_to_check(
    command: Command, quick: tuple[str, str], tls_member: Member, certificates: dict[str, Path]
) -> None:
    with over_tls(tls_member, certificates) as client:
        client.admin.command("setParameter", 1, tlsMode="requireTLS")  # there is no way back
    told = one_line(command("verify", *quick, uri=f"mongodb://{tls_member.address}/"), 75)
    assert told.endswith(": connection closed. If the server wants TLS, write tls=true.\n")


@pytest.mark.parametrize("option", ["tlsCAFile", "tlsCertificateKeyFile"])
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), ("no certificate", "")]
)
def test_a_tls_file_that_cannot_be_used_is_refused(
    command: Command, tmp_path: Path, option: str, content: str | None, reason: str
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    uri = f"mongodb://ann:hush@localhost/?tls=true&{option}={file}"
    told = one_line(command("verify", uri=uri), 2)
    assert reason in told
    assert told.endswith("Check tlsCAFile, tlsCertificateKeyFile and [tls].\n")
    assert "hush" not in told


def test_spark_says_what_to_check_too_and_takes_the_authority_of_the_address(
    command: Command, tls_member: Member, certificates: dict[str, Path]
) -> None:
    uri = f"mongodb://{tls_member.address}/?replicaSet=rs0&tls=true"
    with over_tls(tls_member, certificates) as client:
        shop = Shop(client["browsing"])
        shop.session("broken")
        shop.events("broken", {0: "/home", 1: "/cart"})
    without = command("verify", uri=f"{uri}&tlsInsecure=true")
    assert without.code == 75
    assert without.complaints.startswith("verify: Spark's connection to MongoDB failed in TLS: ")
    assert "PKIX path building failed" in without.complaints
    assert without.complaints.endswith(". Name the authority in tls.ca_file; see docs/tls.md.\n")
    trust = f"tlsCAFile={certificates['shop.example']}&tlsAllowInvalidHostnames=true"
    ended = command("verify", uri=f"{uri}&{trust}")
    assert (ended.code, ended.complaints) == (3, "")
    assert ended.figure("Total events") == 2


# A network that swallows all


class Proxy:
    """Hands on what comes for a server, until it is told to swallow it without a word."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.left: float = math.inf  # bytes that it still hands on
        self.is_silent = threading.Event()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.open: list[socket.socket] = [self.door]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def uri(self) -> str:
        host, port = self.door.getsockname()
        return f"mongodb://{host}:{port}/?directConnection=true&heartbeatFrequencyMS=500"

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.door.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                self.open += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.left -= len(data)
                if self.left > 0 and not self.is_silent.is_set():
                    target.sendall(data)

    def close(self) -> None:
        for it in self.open:
            with suppress(OSError):
                it.shutdown(socket.SHUT_RDWR)
            it.close()


@pytest.fixture
def proxy(mongod: EmbeddedMongod) -> Iterator[Proxy]:
    it = Proxy(mongod.port)
    yield it
    it.close()


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(
    command: Command, quick: tuple[str, str], proxy: Proxy
) -> None:
    proxy.is_silent.set()
    began = time.monotonic()
    told = one_line(command("verify", *quick, uri=proxy.uri), 75)
    assert time.monotonic() - began < 29  # the driver's own patience is thirty seconds
    assert told.startswith("verify: MongoDB cannot be reached: ")


def test_a_connection_that_falls_silent_is_given_up(
    command: Command,
    quick: tuple[str, str],
    proxy: Proxy,
    before_command: Callable[[Hook], None],
) -> None:
    def swallow(_: str, sent: Mapping[str, Any]) -> None:
        if "find" in sent:
            proxy.is_silent.set()  # for good

    before_command(swallow)
    ended = command("runs", "--database", "test_nothing", *quick, uri=proxy.uri)
    assert one_line(ended, 75).startswith("runs: ")


def test_spark_is_told_how_long_a_silence_may_last() -> None:
    told = [
        re.findall(r"socketTimeoutMS=\w+", spark_uri(Settings(uri=f"mongodb://h/{query}")), re.I)
        for query in ("", "?w=1", "?sockettimeoutms=3000")
    ]
    assert told == [
        ["socketTimeoutMS=600000"],
        ["socketTimeoutMS=600000"],
        ["sockettimeoutms=3000"],
    ]
