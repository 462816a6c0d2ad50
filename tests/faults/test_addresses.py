"""A network that falls silent while Spark reads."""

from __future__ import annotations

import time

from demo.generate import generate
from tests.e2e.test_addresses import Proxy, proxy, quick  # noqa: F401
from tests.harness.commands import Command
from tests.harness.documents import Db


def test_a_read_of_spark_that_falls_silent_ends(
    command: Command,
    quick: tuple[str, str],  # noqa: F811
    proxy: Proxy,  # noqa: F811
    db: Db,
) -> None:
    generate(db, 20_000)
    proxy.left = 6_000_000  # the two collections are three times as large
    began = time.monotonic()
    uri = f"{proxy.uri}&socketTimeoutMS=3000"
    ended = command("verify", "--database", db.name, *quick, uri=uri)
    assert ended.code == 75
    assert ended.complaints.startswith("verify: MongoDB was away while Spark worked: ")
    assert time.monotonic() - began < 60
