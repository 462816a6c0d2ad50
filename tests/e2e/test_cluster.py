"""On a real standalone cluster: one master and two workers, each a process of its own.

A driver in cluster mode is started here as a node would start it: a Python that has nothing, the
files of the package in its folder and on its path.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import pyspark
import pytest

from demo.generate import generate
from tests.harness.commands import PATIENCE, Command, Ended, environment, spark_submit
from tests.harness.documents import SESSIONS, Db, Document, decoded, differing
from tests.harness.runs import outcomes, the_run
from tests.oracle import recomputed_documents

SPARK = Path(pyspark.__file__).parent
LOCAL = "127.0.0.1"
WORKERS = 2  # of one core each: an application of two cores is on both
START = itemgetter("starttime")
OPTIONS = (
    *("--driver-memory", "768m", "--executor-memory", "512m"),
    *("--conf", f"spark.driver.host={LOCAL}"),
)


@dataclass(frozen=True)
class Cluster:
    """A master, and the folders of its workers."""

    master: str
    page: str
    folders: list[Path]

    def state(self) -> Document:
        """What the master says of itself, its workers and its applications."""
        with urllib.request.urlopen(f"{self.page}/json/", timeout=10) as answer:
            told: Document = json.loads(answer.read())
        return told

    def ended(self, name: str) -> Document:
        """The latest application of this name on the master's list of those that have ended."""
        deadline = time.monotonic() + PATIENCE  # the master notes an end a moment later
        while (told := self.state())["activeapps"] and time.monotonic() < deadline:
            time.sleep(0.2)
        return max((app for app in told["completedapps"] if app["name"] == name), key=START)

    def jars(self, app: str) -> list[set[str]]:
        """The connector's jars that each worker was sent for an application."""
        return [{f.name for f in (w / app).rglob("org.mongodb*.jar")} for w in self.folders]


def port_of(service: str, log: Path) -> int:
    """The port that a daemon's log names for one of its services."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := re.search(rf"started service '{service}' on port (\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"no {service} after {PATIENCE} s:\n{log.read_text()}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("cluster")
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
            log = home / f"{name}.log"
            with log.open("wb") as output:
                daemon = subprocess.Popen(
                    [SPARK / "bin" / "spark-class", f"org.apache.spark.deploy.{main}", *arguments],
                    env={**kept, **nothing_but_spark},
                    cwd=home,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            daemons.callback(daemon.wait, 60)
            daemons.callback(daemon.terminate)
            return log

        anywhere = ("--host", LOCAL, "--port", "0", "--webui-port", "0")
        log = start("master", "master.Master", *anywhere)
        master = f"spark://{LOCAL}:{port_of('sparkMaster', log)}"
        folders = [home / f"worker-{number}" for number in range(WORKERS)]
        for folder in folders:
            of_one = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder))
            start(folder.name, "worker.Worker", *anywhere, *of_one, master)
        made = Cluster(master, f"http://{LOCAL}:{port_of('MasterUI', log)}", folders)
        deadline = time.monotonic() + PATIENCE
        while len(made.state()["workers"]) < WORKERS and time.monotonic() < deadline:
            time.sleep(0.2)
        assert [worker["state"] for worker in made.state()["workers"]] == ["ALIVE"] * WORKERS
        yield made


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``./spark-submit.sh package`` makes."""
    ended = spark_submit("package", str(tmp_path_factory.mktemp("packages")))
    assert ended.code == 0, ended.told
    return Path(ended.out.strip())


def assert_on_both_workers(cluster: Cluster, name: str, package: Path) -> None:
    """The master's own list has the application, ended well, on both; each was sent the jars."""
    app = cluster.ended(name)
    assert (app["state"], app["cores"]) == ("FINISHED", WORKERS)
    jars = {jar.name for jar in (package / "jars").iterdir()}
    assert len(jars) == 5
    assert cluster.jars(app["id"]) == [jars] * WORKERS


@pytest.mark.faults
def test_a_repair_by_the_command_runs_on_the_workers_of_a_standalone_cluster(
    cluster: Cluster, package: Path, db: Db, mongo_uri: str
) -> None:
    broken = generate(db, 300).broken
    expected = recomputed_documents(db)
    words = ("fix", "--apply", "--database", db.name)
    ended = spark_submit(
        "--master", cluster.master, *OPTIONS, *words, uri=mongo_uri, timeout=2 * PATIENCE
    )
    assert ended.code == 0, ended.told
    assert ended.figure("Read back as planned") == broken
    assert outcomes(db) == {"applied": broken}
    assert differing(db, expected) == []
    assert_on_both_workers(cluster, "session-repair fix", package)


@pytest.mark.faults
def test_a_driver_that_has_nothing_but_the_package_repairs_under_the_edited_settings(
    cluster: Cluster, package: Path, db: Db, mongo_uri: str, command: Command, tmp_path: Path
) -> None:
    broken = generate(db, 300).broken
    expected = {key: decoded(raw) for key, raw in recomputed_documents(db).items()}
    db[SESSIONS].update_many({}, {"$rename": {"pages": "seen"}})
    settings = (package / "session_repair.toml").read_text()
    edited = settings.replace('pages = "pages"', 'pages = "seen"')
    (tmp_path / "session_repair.toml").write_text(edited)
    ended = as_on_a_node(
        package, cluster.master, tmp_path, "fix_empty_sessions.py", db.name, uri=mongo_uri
    )
    assert ended.code == 0, ended.told
    assert outcomes(db) == {"applied": broken}
    db[SESSIONS].update_many({}, {"$rename": {"seen": "pages"}})
    assert {session["_id"]: session for session in db[SESSIONS].find()} == expected
    run = the_run(db)
    assert run["settings"]["session_fields"]["pages"] == "seen"
    config = ("--config", str(tmp_path / "session_repair.toml"))
    assert command("runs", run["_id"], "--verdict", *config, on=db).code == 0
    assert_on_both_workers(cluster, "session-repair fix", package)


def as_on_a_node(
    package: Path, master: str, folder: Path, job: str, database: str, uri: str
) -> Ended:
    """A job as a node starts it in cluster mode, where its files lie in the driver's folder."""
    (py4j,) = (SPARK / "python" / "lib").glob("py4j-*-src.zip")
    path = [py4j.parent / "pyspark.zip", py4j]  # the cluster's own
    path += [package / "session_repair.zip", package / "dependencies.zip"]
    jars = ",".join(str(jar) for jar in (package / "jars").iterdir())
    options = f"--master {master} {' '.join(OPTIONS)} --jars {jars}"
    python = [f"{sys.base_prefix}/bin/python3", "-S"]  # without its site-packages
    words = ["--apply", "--config", "session_repair.toml", "--database", database]
    ended = subprocess.run(
        [*python, package / job, *words],
        env={
            **environment(uri),
            "SPARK_HOME": str(SPARK),
            "PYTHONPATH": ":".join(map(str, path)),
            "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
