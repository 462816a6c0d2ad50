"""The system's certificates as a trust store that Java reads.

A Java that does not come from the system has a trust store of its own, which knows no certificate
that was added to the system. Java reads no PEM bundle as one, and keytool takes one certificate per
start (half a second each, 140 of them). A JKS store of certificates alone is simple enough to write
here: a head, one record per certificate, and a SHA-1 digest keyed by the store's password, which is
no secret.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path

from session_repair.errors import Refused
from session_repair.launch.java import Java

PASSWORD = "changeit"  # Java's own default for trust stores
MAGIC, VERSION, TRUSTED_CERTIFICATE = 0xFEEDFEED, 2, 2
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS")


def bundle_for(environment: Mapping[str, str], java: Java) -> Path | None:
    """The PEM file whose certificates Java has to be told; None where there is no need."""
    given = environment.get("SSL_CERT_FILE")
    if any("javax.net.ssl.trustStore=" in environment.get(name, "") for name in JAVA_OPTIONS):
        return None
    if not given and (java.home / "lib" / "security" / "cacerts").is_symlink():
        return None
    candidates = map(Path, [*([given] if given else []), *BUNDLES])
    return next((it for it in candidates if os.access(it, os.R_OK)), None)


def trust_store(bundle: Path, cache: Path) -> Path:
    """The store of a bundle, made if it is missing. Raises Refused where it has no certificate."""
    content = bundle.read_bytes()
    store = cache / f"truststore-{hashlib.sha256(content).hexdigest()[:16]}.jks"
    if not store.is_file():
        pems = PEM.findall(content.decode("ascii", errors="replace"))
        try:
            certificates = [ssl.PEM_cert_to_DER_cert(pem) for pem in pems]
        except ValueError:
            certificates = []
        if not certificates:
            raise Refused(
                f"{bundle} holds no certificate that can be read. Point SSL_CERT_FILE to a PEM "
                "bundle, or unset it."
            )
        unfinished = Path(f"{store}.{os.getpid()}")
        unfinished.write_bytes(jks(certificates))
        unfinished.replace(store)
    return store


def _utf(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def jks(certificates: list[bytes]) -> bytes:
    """A JKS trust store of these DER certificates, under the aliases `ca-0`, `ca-1`, …"""
    store = struct.pack(">III", MAGIC, VERSION, len(certificates))
    for number, der in enumerate(certificates):
        created = struct.pack(">q", 0)
        store += struct.pack(">I", TRUSTED_CERTIFICATE) + _utf(f"ca-{number}") + created
        store += _utf("X.509") + struct.pack(">I", len(der)) + der
    # The words are part of the format.
    key = PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    return store + hashlib.sha1(key + store, usedforsecurity=False).digest()
