"""What the end-to-end tests share: the job's commands watched, a server with passwords, mongosh."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pymongo import MongoClient

from demo.server import EmbeddedMongod
from tests.e2e.shell import Mongosh, install_mongosh
from tests.harness.documents import Document
from tests.harness.holds import ONLOOKER, Hook


@pytest.fixture
def before_command() -> Iterator[Callable[[Hook], None]]:
    """Sets the function that sees each command of pymongo's just before it is sent."""

    def look(hook: Hook) -> None:
        ONLOOKER.hook = hook

    yield look
    ONLOOKER.hook = None


@pytest.fixture(scope="session")
def guarded_mongod() -> Iterator[EmbeddedMongod]:
    """A server that asks for a password."""
    with EmbeddedMongod(auth=True) as server:
        yield server


@pytest.fixture(scope="session")
def guarded_client(guarded_mongod: EmbeddedMongod) -> Iterator[MongoClient[Document]]:
    """Its root."""
    with guarded_mongod.client() as client:
        yield client


@pytest.fixture(scope="session")
def mongosh(tmp_path_factory: pytest.TempPathFactory) -> Mongosh:
    """The real shell; where it cannot be installed, the tests fail."""
    return install_mongosh(tmp_path_factory.mktemp("mongosh"))
