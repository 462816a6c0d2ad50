"""One mongod process: found, started, killed, frozen, restarted."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from demo.mongod import ServerStartError, environment_of, mongod_binary

ADDRESS_IN_USE = 48  # mongod's exit code when another process took the port first
PORT_ATTEMPTS = 5
START_SECONDS = 60.0  # under 2 s on an idle machine; a busy one gets its time
STOP_SECONDS = 30.0  # a clean shutdown writes a checkpoint
POLL_SECONDS = 0.05


class Member:
    """One mongod of a replica set on a loopback port, with its own folder and log.

    Without the name of a set it stands alone.
    """

    def __init__(
        self, folder: Path, set_name: str, options: list[str], outlives_parent: bool
    ) -> None:
        self.folder = folder
        self.log = folder / "mongod.log"
        self.port = 0
        self._data = folder / "data"
        self._data.mkdir(parents=True, exist_ok=True)  # of an earlier start, when it was kept
        self._set_name = set_name
        self._options = options
        self._outlives_parent = outlives_parent
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port, as the replica set's configuration names it."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running mongod."""
        return self._running().pid

    def start(self) -> None:
        """Starts mongod on a free port; another one is tried when a stranger took it first."""
        for _ in range(PORT_ATTEMPTS):
            self.port = free_port()
            if self._launch() != ADDRESS_IN_USE:
                return
        raise ServerStartError(f"mongod found no free port in {PORT_ATTEMPTS} attempts")

    def restart(self) -> None:
        """Starts the stopped or killed mongod again: same port, same data."""
        if self._launch() == ADDRESS_IN_USE:
            raise ServerStartError(f"port {self.port} was taken while mongod was down")

    def kill(self) -> None:
        """SIGKILL: the member is gone at once, as after a power cut. Harmless when it is down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM: a clean shutdown, waited for."""
        process = self._running()
        process.send_signal(signal.SIGCONT)  # a frozen process would never see the next one
        process.terminate()
        process.wait(STOP_SECONDS)
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: the member holds its connections and answers nothing until `resume`."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: the end of `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this mongod is not running")
        return self._process

    def _launch(self) -> int | None:
        """None when mongod answers, ADDRESS_IN_USE when it lost its port; else raises."""
        if self._process is not None:
            raise RuntimeError("this mongod is running already")
        mongod = mongod_binary()
        command = [
            *([] if self._outlives_parent else dies_with_parent()),
            str(mongod),
            *(["--replSet", self._set_name] if self._set_name else []),
            *("--dbpath", str(self._data)),
            *("--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket"),
            *("--logpath", str(self.log), "--logappend"),
            *self._options,
        ]
        with (self.folder / "mongod.out").open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=environment_of(mongod),
                start_new_session=True,  # Ctrl-C is for the parent, which then stops this one
            )
        try:
            return self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> int | None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            code = process.poll()
            if code is not None:
                self._process = None
                if code == ADDRESS_IN_USE:
                    return ADDRESS_IN_USE
                raise ServerStartError(
                    f"mongod ended with exit code {code}:\n{self.last_log_lines()}"
                )
            if self.hello():
                return None
            time.sleep(POLL_SECONDS)
        raise ServerStartError(
            f"mongod gave no answer within {START_SECONDS:.0f} s:\n{self.last_log_lines()}"
        )

    def hello(self) -> Mapping[str, object]:
        """What the member says of itself; empty when it does not answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
            with self.client(serverSelectionTimeoutMS=2_000) as client:
                answer: Mapping[str, object] = client.admin.command("hello")
                return answer
        except (OSError, PyMongoError):
            return {}

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A connection to this member alone, whatever its state in the set."""
        return MongoClient("127.0.0.1", self.port, directConnection=True, tz_aware=True, **options)

    def last_log_lines(self, count: int = 15) -> str:
        """The end of what mongod wrote, its log and its bare output together."""
        files = [self.log, self.folder / "mongod.out"]
        text = "\n".join(file.read_text(errors="replace") for file in files if file.exists())
        return "\n".join(text.strip().splitlines()[-count:])


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def dies_with_parent() -> list[str]:
    """The start of a command that the kernel kills when its parent ends; empty without setpriv.

    "Parent" is the thread that starts it (prctl(2)), so servers are started in the main thread.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
