"""A server behind TLS and passwords: certificates of a private authority, made by openssl."""

from __future__ import annotations

import base64
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient

from demo.member import Member
from tests.harness.documents import Document

ROOT, ROOT_PASSWORD = "root", secrets.token_hex(16)
ORGANISATION = "OU=jobs,O=shop"


def openssl(*words: str | Path) -> None:
    ended = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


class Authority:
    """Signs certificates; nobody knows it who is not told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pem, self._key = folder, folder / "ca.pem", folder / "ca.key"
        made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ours")
        openssl(*made, "-keyout", self._key, "-out", self.pem)

    def signed(self, name: str, host: str | None = None) -> Path:
        """A certificate for a client of this name, or for a host, and its key in one file."""
        key, asked, pem, more = (
            self.folder / f"{name}.{it}" for it in ("key", "csr", "pem", "ext")
        )
        subject = f"/CN={host}" if host else f"/O=shop/OU=jobs/CN={name}"
        more.write_text(f"subjectAltName=IP:{host}\n" if host else "keyUsage=digitalSignature\n")
        made = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject)
        openssl(*made, "-keyout", key, "-out", asked)
        signer = ("-CA", self.pem, "-CAkey", self._key, "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", asked, *signer, "-extfile", more, "-out", pem)
        pem.write_text(key.read_text() + pem.read_text())
        pem.chmod(0o600)
        return pem


@dataclass(frozen=True)
class GuardedByTls:
    """A primary with a key file that takes TLS alone, and knows nobody but its root."""

    member: Member
    authority: Authority
    root: MongoClient[Document]

    @property
    def root_uri(self) -> str:
        trust = f"tls=true&tlsCAFile={self.authority.pem}"
        shown = f"tlsCertificateKeyFile={self.authority.folder / 'root.pem'}"
        login = f"{ROOT}:{ROOT_PASSWORD}@"
        return f"mongodb://{login}{self.member.address}/?authSource=admin&{trust}&{shown}"

    def uri(self, login: str = "", *options: str) -> str:
        """An address that names no files."""
        more = "".join(f"&{it}" for it in options)
        return f"mongodb://{login}{self.member.address}/?replicaSet=rs0{more}"

    def add_client(self, name: str, *roles: str | Document) -> Path:
        """A user who shows a certificate in place of a password."""
        pem = self.authority.signed(name)
        user = f"CN={name},{ORGANISATION}"
        self.root["$external"].command("createUser", user, roles=list(roles))
        return pem


@contextmanager
def guarded_by_tls(folder: Path, *options: str) -> Iterator[GuardedByTls]:
    """It asks every client for a certificate, unless the options say otherwise."""
    authority = Authority(folder)
    key = folder / "keyfile"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64encode(secrets.token_bytes(48)))
    own = str(authority.signed("server", host="127.0.0.1"))
    member_options = [
        *("--tlsMode", "preferTLS", "--tlsCertificateKeyFile", own),
        *("--tlsCAFile", str(authority.pem), "--keyFile", str(key)),
        *("--setParameter", "authenticationMechanisms=SCRAM-SHA-256,MONGODB-X509"),
        *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"),
        *options,
    ]
    member = Member(folder, "rs0", member_options, outlives_parent=False)
    try:
        member.start()
        with member.client() as first:
            config = {"_id": "rs0", "members": [{"_id": 0, "host": member.address}]}
            first.admin.command("replSetInitiate", config)
            while not member.hello().get("isWritablePrimary"):
                time.sleep(0.1)
            # Allowed without a login until the first user exists, from loopback.
            first.admin.command("createUser", ROOT, pwd=ROOT_PASSWORD, roles=["root"])
        shown = str(authority.signed(ROOT))
        with member.client(
            username=ROOT,
            password=ROOT_PASSWORD,
            tls=True,
            tlsCAFile=str(authority.pem),
            tlsCertificateKeyFile=shown,
        ) as root:
            root.admin.command("setParameter", 1, tlsMode="requireTLS")
            yield GuardedByTls(member, authority, root)
    finally:
        member.kill()
