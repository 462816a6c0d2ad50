"""Writes the certificates of a PEM bundle as a trust store that Java reads.

    python pem_to_jks.py ca-certificates.crt truststore.jks

Java reads no PEM bundle as a trust store, and keytool takes one certificate per start (half a
second each, 140 of them). A JKS store of certificates alone is simple enough to write here: a head,
one record per certificate, and a SHA-1 digest keyed by the store's password, which is no secret.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import struct
import sys
from pathlib import Path

PASSWORD = "changeit"  # Java's own default for trust stores
MAGIC, VERSION, TRUSTED_CERTIFICATE = 0xFEEDFEED, 2, 2
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


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


def main(bundle: str, target: str) -> int:
    text = Path(bundle).read_text(encoding="ascii", errors="replace")
    certificates = [ssl.PEM_cert_to_DER_cert(pem) for pem in PEM.findall(text)]
    if not certificates:
        return 1
    unfinished = Path(f"{target}.{os.getpid()}")
    unfinished.write_bytes(jks(certificates))
    unfinished.replace(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
