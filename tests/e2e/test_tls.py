"""TLS of a private authority, passwords and X.509: PEM files alone, for both drivers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from session_repair.cli.layers import load_settings
from session_repair.mongo.connection import spark_uri
from session_repair.settings import Settings
from tests.e2e.shell import Mongosh
from tests.e2e.test_refusals import one_line
from tests.e2e.test_rights import COMMANDS, DELETE, FIX, HEALTH, VERIFY
from tests.harness.commands import Command
from tests.harness.documents import SESSIONS, Db, stored_bytes
from tests.harness.runs import last_run
from tests.harness.shop import Shop
from tests.harness.tls import GuardedByTls, guarded_by_tls, openssl

PASSWORD = "hush"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mongosh: Mongosh) -> Iterator[GuardedByTls]:
    """With the roles of docs/rights.md, and for each of them two users.

    One has a password, the other a certificate.
    """
    folder = tmp_path_factory.mktemp("tls")
    with guarded_by_tls(folder, "--tlsAllowConnectionsWithoutCertificates") as made:
        mongosh.evaluate(made.root_uri, "admin", ";".join([*COMMANDS, "return 1"]))
        for role in (VERIFY, FIX, DELETE, HEALTH):
            made.root.admin.command("createUser", role, pwd=PASSWORD, roles=[role])
            made.add_client(role, {"role": role, "db": "admin"})
        yield made


@pytest.fixture
def shop(server: GuardedByTls) -> Iterator[Db]:
    """One session that can be repaired, and an old orphan."""
    db = server.root["shop"]
    made = Shop(db)
    made.session("broken")
    made.events("broken", {0: "/home", 1: "/cart"})
    long_ago = datetime.now(timezone.utc) - timedelta(days=30)
    made.session("orphan", _id=made.id_at(long_ago), first_event_at=None, last_event_at=None)
    yield db
    server.root.drop_database(db)


def config_of(folder: Path, **files: Path) -> str:
    """A config file with nothing but these PEM files."""
    lines = [f'{name} = "{file}"' for name, file in files.items()]
    file = folder / f"{'-'.join(files)}.toml"
    file.write_text("\n".join(["[tls]", *lines, ""]))
    return str(file)


@pytest.mark.needs("many_runs")
def test_each_verb_works_with_its_role_a_password_and_an_authority_in_pem(
    server: GuardedByTls, shop: Db, command: Command, tmp_path: Path
) -> None:
    config = config_of(tmp_path, ca_file=server.authority.pem)
    before = stored_bytes(shop)
    pause = tmp_path / "pause"
    pause.touch()

    def run(role: str, *words: str) -> int:
        uri = server.uri(f"{role}:{PASSWORD}@", "authSource=admin")
        ended = command(*words, "--config", config, on=shop, uri=uri)
        assert ended.code == 5 or ended.complaints == "", ended.complaints
        return ended.code

    def undo(role: str) -> None:
        assert run(role, "undo", last_run(shop)["_id"], "--apply") == 0
        assert stored_bytes(shop) == before

    assert run(VERIFY, "verify") == 3
    assert run(VERIFY, "fix") == 3
    assert run(VERIFY, "delete-orphans", "--max-delete", "1") == 0
    assert run(FIX, "fix", "--plan") == 3
    assert run(FIX, "apply", last_run(shop)["_id"]) == 0
    assert shop[SESSIONS].count_documents({"pages": ["/home", "/cart"], "event_count": 2}) == 1
    undo(FIX)
    assert run(FIX, "fix", "--apply", "--pause-file", str(pause)) == 5
    assert run(FIX, "resume", last_run(shop)["_id"]) == 0
    assert shop[SESSIONS].count_documents({"pages": ["/home", "/cart"], "event_count": 2}) == 1
    assert run(HEALTH, "runs") == run(HEALTH, "runs", last_run(shop)["_id"]) == 0
    assert run(HEALTH, "health") == 0
    undo(FIX)
    assert run(DELETE, "delete-orphans", "--apply", "--max-delete", "1") == 0
    assert shop[SESSIONS].distinct("session_id") == ["broken"]
    undo(DELETE)


@pytest.mark.needs("many_runs")
def test_a_certificate_in_place_of_a_password_does_for_both_drivers(
    server: GuardedByTls, shop: Db, command: Command, tmp_path: Path
) -> None:
    uri = server.uri("", "authMechanism=MONGODB-X509")

    def files(role: str) -> dict[str, Path]:
        shown = server.authority.folder / f"{role}.pem"
        return {"ca_file": server.authority.pem, "certificate_key_file": shown}

    config = ("--config", config_of(tmp_path, **files(FIX)))
    ended = command("fix", "--apply", *config, on=shop, uri=uri)
    assert (ended.code, ended.complaints) == (0, "")
    assert shop[SESSIONS].count_documents({"pages": ["/home", "/cart"], "event_count": 2}) == 1
    assert command("runs", *config, on=shop, uri=uri).code == 0
    # It is who the certificate says, and may no more than its role.
    told = one_line(command("delete-orphans", "--apply", *config, on=shop, uri=uri), 2)
    assert f"user 'CN={FIX},OU=jobs,O=shop' lacks the right to insert, remove on shop.ses" in told
    # The files may be named in the connection string as well.
    ca, shown = files(VERIFY).values()
    named = (f"tlsCAFile={ca}", f"tlsCertificateKeyFile={shown}")
    in_uri = server.uri("", "authMechanism=MONGODB-X509", *named)
    ended = command("verify", on=shop, uri=in_uri)
    assert (ended.code, ended.complaints) == (0, "")


def test_a_key_that_java_does_not_read_is_refused_with_what_to_do(
    server: GuardedByTls, shop: Db, command: Command, tmp_path: Path
) -> None:
    pem, old = server.authority.folder / f"{VERIFY}.pem", tmp_path / "old.pem"
    openssl("rsa", "-traditional", "-in", pem, "-out", old)
    old.write_text(old.read_text() + pem.read_text().partition("-----END PRIVATE KEY-----")[2])
    config = config_of(tmp_path, ca_file=server.authority.pem, certificate_key_file=old)
    uri = server.uri("", "authMechanism=MONGODB-X509")
    told = one_line(command("verify", "--config", config, on=shop, uri=uri), 2)
    assert told == (
        f"verify: tls.certificate_key_file {old} holds no key that Java reads. Convert it, for "
        f"example with: openssl pkcs8 -topk8 -nodes -in {old}, and put the certificate beside it.\n"
    )


def test_an_unknown_certificate_is_refused(
    server: GuardedByTls, shop: Db, command: Command, tmp_path: Path
) -> None:
    stranger = server.authority.signed("stranger")
    config = config_of(tmp_path, ca_file=server.authority.pem, certificate_key_file=stranger)
    uri = server.uri("", "authMechanism=MONGODB-X509")
    told = one_line(command("verify", "--config", config, on=shop, uri=uri), 2)
    assert told == (
        "verify: MongoDB knows no user for the certificate: Could not find user "
        '"CN=stranger,OU=jobs,O=shop" for db "$external". docs/tls.md says how to make one.\n'
    )


# Settings


def test_the_config_file_wins_over_the_connection_string(tmp_path: Path) -> None:
    uri = "mongodb://h/?tlscafile=/etc/a%20b.pem&tlsCertificateKeyFile=c.pem"
    settings = load_settings(uri, config_of(tmp_path, ca_file=Path("/etc/mine.pem")), {})
    assert settings.tls_ca_file == "/etc/mine.pem"
    assert settings.tls_certificate_key_file == "c.pem"
    for address in (uri, uri.replace("&", ";")):
        assert load_settings(address, None, {}).tls_ca_file == "/etc/a b.pem"


def test_java_is_sent_no_names_of_files_and_no_password_of_one() -> None:
    query = "ssl=false&tlsCAFile=ca.pem&tlsCertificateKeyFilePassword=hush&retryWrites=true"
    told = spark_uri(Settings(uri=f"mongodb://h/?{query}", tls_ca_file="ca.pem"))
    pairs = sorted(told.partition("?")[2].split("&"))
    assert [it for it in pairs if it.lower().startswith(("ssl", "tls"))] == ["tls=true"]
    assert "retryWrites=true" in pairs
    plain = spark_uri(Settings(uri="mongodb://h/?tls=true&w=1"))
    assert "tls=true" in plain.partition("?")[2].split("&")


TLS_MEANT = (
    "unknown key 'cafile' in tls; known are ca_file, certificate_key_file. Did you mean ca_file?"
)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('cafile = "x"', TLS_MEANT),
        ("ca_file = 1", "tls.ca_file = 1 is not of type str."),
    ],
)
def test_a_table_that_is_not_understood_is_refused(
    command: Command, tmp_path: Path, table: str, told: str
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"[tls]\n{table}\n")
    ended = command("runs", "--config", str(file), uri="mongodb://h/")
    assert one_line(ended, 2) == f"runs: --config {file}: {told}\n"
