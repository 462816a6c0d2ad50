"""A real MongoDB for the demo and the tests: a replica set in a temporary folder."""

from __future__ import annotations

import base64
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar
from urllib.parse import quote_plus

from pymongo import MongoClient

from demo.member import POLL_SECONDS, START_SECONDS, Member
from demo.mongod import ServerStartError, mongod_binary

__all__ = ["EmbeddedMongod", "Member", "ReplicaSet", "ServerStartError", "mongod_binary"]

AnySet = TypeVar("AnySet", bound="ReplicaSet")
Found = TypeVar("Found")

SET_NAME = "rs0"
ROOT = "root"
OPLOG_MB = 512  # holds the demo's bulk load several times; the default asks for 5 % of the disk
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # SIGINT raises KeyboardInterrupt already


class ReplicaSet:
    """A replica set of `members` mongods, running inside the `with` block.

    With `auth` it has one root user, whose random password stands in `uri`. `parameters` are
    mongod's --setParameter. With `keep` the set outlives the block and this process, unless the
    block ends by an exception or a signal.
    """

    def __init__(
        self,
        members: int = 1,
        *,
        cache_gb: float = 0.5,
        auth: bool = False,
        keep: bool = False,
        parameters: Mapping[str, object] | None = None,
        election_timeout_ms: int = 3_000,  # the server's 10 s make each failover test slow
    ) -> None:
        self.keep = keep
        self.auth = auth
        self.root_password = secrets.token_hex(16) if auth else ""
        self.members: list[Member] = []
        self._wanted = members
        self._cache_gb = cache_gb
        self._parameters = dict(parameters or {})
        self._election_timeout_ms = election_timeout_ms
        self._folder: Path | None = None
        self._previous: dict[int, Any] = {}

    @property
    def folder(self) -> Path:
        """The temporary folder of all members."""
        if self._folder is None:
            raise RuntimeError("the server is used outside of its `with` block")
        return self._folder

    @property
    def uri(self) -> str:
        """The connection string; as root when the set asks for a password."""
        return self.uri_for(ROOT, self.root_password) if self.auth else self._uri("", "")

    def uri_for(self, user: str, password: str) -> str:
        """The connection string of another user, or with a wrong password."""
        return self._uri(f"{quote_plus(user)}:{quote_plus(password)}@", "&authSource=admin")

    def primary(self) -> Member:
        """The member that takes writes now; waits while the set elects one."""
        return self._wait_for(lambda: next(filter(_is_primary, self.members), None), "a primary")

    def secondaries(self) -> list[Member]:
        """The members that follow the primary now."""
        return [member for member in self.members if member.hello().get("secondary")]

    def how_to_stop(self) -> str:
        """The shell command that ends a kept set and removes its data."""
        pids = " ".join(str(member.pid) for member in self.members)
        return f"kill -9 {pids}; sleep 1; rm -rf {self.folder}"

    def __enter__(self: AnySet) -> AnySet:
        self._raise_on_stop_signals()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="session-repair-mongod-"))
            options = self._options()
            for number in range(self._wanted):
                folder = self.folder / f"member{number}"
                self.members.append(Member(folder, SET_NAME, options, outlives_parent=self.keep))
                self.members[-1].start()
            self._initiate()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.keep and kind is None:
            self._restore_signals()
        else:
            self._remove()

    def _options(self) -> list[str]:
        parameters = {"diagnosticDataCollectionEnabled": "false", **self._parameters}
        options = [
            *("--wiredTigerCacheSizeGB", str(self._cache_gb)),
            *("--oplogSize", str(OPLOG_MB)),
        ]
        for name, value in parameters.items():
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            options += ["--setParameter", f"{name}={shown}"]
        if self.auth:
            key = self.folder / "key"
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(secrets.token_bytes(48)))
            options += ["--keyFile", str(key)]
        return options

    def _initiate(self) -> None:
        """Makes one set of the members and waits until each is primary or secondary."""
        config = {
            "_id": SET_NAME,
            "members": [{"_id": n, "host": m.address} for n, m in enumerate(self.members)],
            "settings": {"electionTimeoutMillis": self._election_timeout_ms},
        }
        with self.members[0].client() as client:
            client.admin.command("replSetInitiate", config)
        with self.primary().client() as client:
            if self.auth:  # allowed without a login until the first user exists, from loopback
                client.admin.command("createUser", ROOT, pwd=self.root_password, roles=["root"])
        self._wait_for(self._all_are_ready, "every member to follow")

    def _all_are_ready(self) -> bool:
        states = [member.hello() for member in self.members]
        return all(state.get("isWritablePrimary") or state.get("secondary") for state in states)

    def _wait_for(self, look: Callable[[], Found | None], what: str) -> Found:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(POLL_SECONDS)
        logs = "\n".join(member.last_log_lines() for member in self.members)
        raise ServerStartError(f"waited {START_SECONDS:.0f} s for {what}:\n{logs}")

    def _uri(self, credentials: str, more: str) -> str:
        hosts = ",".join(member.address for member in self.members)
        return f"mongodb://{credentials}{hosts}/?replicaSet={SET_NAME}{more}"

    def _remove(self) -> None:
        """Ends every member at once: the data goes too, so nothing is worth a clean shutdown."""
        try:
            for member in self.members:
                member.kill()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
        finally:
            self._restore_signals()

    def _raise_on_stop_signals(self) -> None:
        """SIGTERM and SIGHUP leave the block by SystemExit, unless the program handles them."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._previous[number] = signal.signal(number, _exit_by_signal)

    def _restore_signals(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())


class EmbeddedMongod(ReplicaSet):
    """A single-node replica set: one mongod, with transactions."""

    def __init__(
        self,
        *,
        cache_gb: float = 0.5,
        auth: bool = False,
        keep: bool = False,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(1, cache_gb=cache_gb, auth=auth, keep=keep, parameters=parameters)

    @property
    def pid(self) -> int:
        """The process id of the mongod."""
        return self.members[0].pid

    @property
    def port(self) -> int:
        """The loopback port it listens on."""
        return self.members[0].port

    def client(self) -> MongoClient[dict[str, Any]]:
        """A pymongo connection whose dates are aware and in UTC."""
        return MongoClient(self.uri, tz_aware=True)


def _is_primary(member: Member) -> bool:
    return bool(member.hello().get("isWritablePrimary"))


def _exit_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
