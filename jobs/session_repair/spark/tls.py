"""TLS of Spark's JVMs: the PEM files of the settings, handed to Java by Java's own classes.

Java's driver takes no files from a connection string: it asks the JVM what to trust and which
certificate to show. In the driver's JVM that is set by objects; executors are told by their
options, and read a key store that travels to them as a file of the job.
"""

from __future__ import annotations

import atexit
import base64
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext

from session_repair.errors import Refused
from session_repair.settings import Settings

CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
KEY = re.compile(b"-----BEGIN PRIVATE KEY-----(.+?)-----END PRIVATE KEY-----", re.DOTALL)
ALGORITHMS = ("RSA", "EC", "EdDSA")  # PKCS 8 names its own, but Java wants to be told

STORE = "session-repair-tls.p12"  # where executors look for it: their working folder
PASSWORD = "changeit"  # Java wants one; it stands in command lines, and protects nothing
EXECUTOR_OPTIONS, FILES = "spark.executor.extraJavaOptions", "spark.files"
LOCAL = re.compile(r"local(\[.*\])?")  # one JVM is all there is
TRUST, SHOW = "javax.net.ssl.trustStore", "javax.net.ssl.keyStore"


@dataclass(frozen=True)
class Pem:
    """What the files hold: authorities; the client's certificate with its chain, and its key."""

    authorities: bytes
    chain: bytes
    key: bytes = field(repr=False)  # PKCS 8


def read_pem(settings: Settings) -> Pem | None:
    """Those of the settings, or None where they name none.

    Raises Refused on a file that cannot be read, or that holds no key as Java reads it.
    """
    if settings.tls_ca_file is None and settings.tls_certificate_key_file is None:
        return None
    authorities, shown, key = b"", b"", b""
    if settings.tls_ca_file is not None:
        authorities = certificates(read("ca_file", settings.tls_ca_file))
    if (name := settings.tls_certificate_key_file) is not None:
        content = read("certificate_key_file", name)
        found = KEY.search(content)
        if found is None:
            raise Refused(
                f"tls.certificate_key_file {name} holds no key that Java reads. Convert it, for "
                f"example with: openssl pkcs8 -topk8 -nodes -in {name}, and put the certificate "
                "beside it."
            )
        shown, key = certificates(content), base64.b64decode(found[1])
    return Pem(authorities, shown, key)


def read(setting: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Refused(f"tls.{setting} {name}: {error.strerror}. Name a readable file.") from None


def certificates(content: bytes) -> bytes:
    """The certificates of a PEM file without what stands between them."""
    return b"\n".join(CERTIFICATE.findall(content))


class JavaTls:
    """The PEM files as one key store in the driver's JVM."""

    def __init__(self, pem: Pem, gateway: Any) -> None:
        self.gateway, self.jvm = gateway, gateway.jvm
        self.has_key = bool(pem.key)
        self.password = self.array(self.jvm.char, PASSWORD)
        self.store = self.jvm.java.security.KeyStore.getInstance("PKCS12")
        self.store.load(None, None)
        # The JVM's own stay: a report may go to a store with a certificate that all know.
        for number, it in enumerate([*self.known(), *self.parsed(pem.authorities)]):
            self.store.setCertificateEntry(f"authority-{number}", it)
        if pem.key:
            chain = self.array(self.jvm.java.security.cert.Certificate, self.parsed(pem.chain))
            self.store.setKeyEntry("client", self.private_key(pem.key), self.password, chain)

    def array(self, kind: Any, items: Iterable[Any]) -> Any:
        items = list(items)
        made = self.gateway.new_array(kind, len(items))
        for number, item in enumerate(items):
            made[number] = item
        return made

    def trust_managers(self, store: Any) -> Any:
        factory = self.jvm.javax.net.ssl.TrustManagerFactory
        made = factory.getInstance(factory.getDefaultAlgorithm())
        made.init(store)
        return made.getTrustManagers()

    def known(self) -> list[Any]:
        """The certificates of the authorities that the JVM trusts by itself."""
        return list(self.trust_managers(None)[0].getAcceptedIssuers())

    def parsed(self, pem: bytes) -> list[Any]:
        if not pem:
            return []
        factory = self.jvm.java.security.cert.CertificateFactory.getInstance("X.509")
        return list(factory.generateCertificates(self.jvm.java.io.ByteArrayInputStream(pem)))

    def private_key(self, pkcs8: bytes) -> Any:
        spec = self.jvm.java.security.spec.PKCS8EncodedKeySpec(pkcs8)
        for name in ALGORITHMS:
            try:
                return self.jvm.java.security.KeyFactory.getInstance(name).generatePrivate(spec)
            except Py4JJavaError:
                continue
        raise Refused("tls.certificate_key_file holds a key of a kind that this Java lacks.")

    def use_here(self) -> None:
        """Make the store what each later TLS connection of this JVM rests on."""
        factory = self.jvm.javax.net.ssl.KeyManagerFactory
        keys = factory.getInstance(factory.getDefaultAlgorithm())
        keys.init(self.store, self.password)
        context = self.jvm.javax.net.ssl.SSLContext.getInstance("TLS")
        context.init(keys.getKeyManagers(), self.trust_managers(self.store), None)
        self.jvm.javax.net.ssl.SSLContext.setDefault(context)

    def for_executors(self) -> dict[str, str]:
        """Spark's settings that bring the store to executors; none where the user's name another.

        The file of it goes with this process.
        """
        conf = SparkConf()
        options, files = (conf.get(name, "") or "" for name in (EXECUTOR_OPTIONS, FILES))
        is_local = LOCAL.fullmatch(conf.get("spark.master", "local") or "")
        if is_local or TRUST in options or SHOW in options:
            return {}
        roles = (TRUST, SHOW) if self.has_key else (TRUST,)
        ours = " ".join(f"-D{it}={STORE} -D{it}Password={PASSWORD}" for it in roles)
        return {
            EXECUTOR_OPTIONS: f"{options} {ours}".strip(),
            FILES: f"{files},{self.saved()}".strip(","),
        }

    def saved(self) -> Path:
        """The store as a file in a folder that nobody else may enter."""
        folder = tempfile.mkdtemp(prefix="session-repair-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        file = Path(folder, STORE)
        out = self.jvm.java.io.FileOutputStream(str(file))
        try:
            self.store.store(out, self.password)
        finally:
            out.close()
        return file


def use_tls(pem: Pem) -> dict[str, str]:
    """Make the PEM files what TLS rests on in the driver's JVM.

    Returns the settings of a new session by which executors take them too; those of a session that
    is there already run, and are told nothing.
    """
    is_new = SparkContext._active_spark_context is None
    SparkContext._ensure_initialized()
    tls = JavaTls(pem, SparkContext._gateway)
    tls.use_here()
    return tls.for_executors() if is_new else {}
