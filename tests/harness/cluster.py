"""A real standalone cluster: one master and its workers, each a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyspark

SPARK = Path(pyspark.__file__).parent
LOCAL = "127.0.0.1"
START = itemgetter("starttime")
PATIENCE = 300.0  # seconds


@dataclass(frozen=True)
class Cluster:
    """A master, and the folders of its workers."""

    master: str
    page: str
    folders: list[Path]

    def state(self) -> dict[str, Any]:
        """What the master says of itself, its workers and its applications."""
        with urllib.request.urlopen(f"{self.page}/json/", timeout=10) as answer:
            told: dict[str, Any] = json.loads(answer.read())
        return told

    def ended(self, name: str) -> dict[str, Any]:
        """The latest application of this name on the master's list of those that have ended."""
        deadline = time.monotonic() + PATIENCE  # the master notes an end a moment later
        while (told := self.state())["activeapps"] and time.monotonic() < deadline:
            time.sleep(0.2)
        return max((app for app in told["completedapps"] if app["name"] == name), key=START)

    def jars(self, app: str) -> list[set[str]]:
        """The connector's jars that each worker was sent for an application."""
        return [{f.name for f in (w / app).rglob("org.mongodb*.jar")} for w in self.folders]


@contextmanager
def standalone_cluster(home: Path, workers: int) -> Iterator[Cluster]:
    """A cluster of so many workers of one core each, which have nothing but Spark."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "JAVA_HOME") if name in os.environ}
    nothing_but_spark = {
        "SPARK_HOME": str(SPARK),
        "SPARK_LOCAL_IP": LOCAL,
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": "/no/python/here",
    }
    with ExitStack() as daemons:

        def start(name: str, main: str, *arguments: str) -> Path:
            command = [f"{SPARK}/bin/spark-class", f"org.apache.spark.deploy.{main}", *arguments]
            return started(daemons, home, name, command, {**kept, **nothing_but_spark})

        anywhere = ("--host", LOCAL, "--port", "0", "--webui-port", "0")
        log = start("master", "master.Master", *anywhere)
        master = f"spark://{LOCAL}:{port_of('sparkMaster', log)}"
        folders = [home / f"worker-{number}" for number in range(workers)]
        for folder in folders:
            of_one = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder))
            start(folder.name, "worker.Worker", *anywhere, *of_one, master)
        made = Cluster(master, f"http://{LOCAL}:{port_of('MasterUI', log)}", folders)
        deadline = time.monotonic() + PATIENCE
        while len(made.state()["workers"]) < workers and time.monotonic() < deadline:
            time.sleep(0.2)
        states = [worker["state"] for worker in made.state()["workers"]]
        assert states == ["ALIVE"] * workers
        yield made


def started(
    daemons: ExitStack,
    home: Path,
    name: str,
    command: Sequence[str | Path],
    variables: Mapping[str, str],
) -> Path:
    """The log of a daemon that was started, and is stopped with the others."""
    log = home / f"{name}.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            command,
            env=variables,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    daemons.callback(daemon.wait, 60)
    daemons.callback(daemon.terminate)
    return log


def port_of(service: str, log: Path) -> int:
    """The port that a daemon's log names for one of its services."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := re.search(rf"started service '{service}' on port (\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"no {service} after {PATIENCE} s:\n{log.read_text()}")
