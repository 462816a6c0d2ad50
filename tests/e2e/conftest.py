"""What the end-to-end tests share: commands run in this process, and a server with passwords."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from delete_orphan_sessions import main as delete_main
from demo.server import EmbeddedMongod
from fix_empty_sessions import main as fix_main
from session_repair.cli.commands import main
from tests.e2e.shell import Mongosh, install_mongosh
from tests.e2e.world import Command, Document, Ended, Hook
from verify_sessions import main as verify_main

# The others are verbs of the package.
MAINS = {"verify": verify_main, "fix": fix_main, "delete-orphans": delete_main}


class Onlooker(monitoring.CommandListener):
    """Lets a test act at the moment the job sends a command to MongoDB; changes no command."""

    def __init__(self) -> None:
        self.hook: Hook | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.hook is not None:
            self.hook(event.database_name, event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


ONLOOKER = Onlooker()
monitoring.register(ONLOOKER)  # for every client made from now on; pymongo cannot take it back


@pytest.fixture
def before_command() -> Iterator[Callable[[Hook], None]]:
    """Sets the function that sees each command of pymongo's just before it is sent."""

    def look(hook: Hook) -> None:
        ONLOOKER.hook = hook

    yield look
    ONLOOKER.hook = None


@pytest.fixture(scope="module")
def module_db(mongo_client: MongoClient[Document]) -> Iterator[Database[Document]]:
    """A database for the tests of one file that look at the same runs."""
    database = mongo_client[f"test_{uuid.uuid4().hex[:12]}"]
    yield database
    mongo_client.drop_database(database.name)


@pytest.fixture(scope="session")
def command(mongo_uri: str) -> Command:
    """Runs a verb in this process, with MONGODB_URI set to ``uri``, or unset where that is None."""

    def run(verb: str, *options: str, uri: str | None = mongo_uri) -> Ended:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MONGODB_URI", raising=False)
            if uri is not None:
                patch.setenv("MONGODB_URI", uri)
            with redirect_stdout(out), redirect_stderr(err):
                code = MAINS[verb](list(options)) if verb in MAINS else main([verb, *options])
        return Ended(code, text_of(out), text_of(err))

    return run


def text_of(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


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
