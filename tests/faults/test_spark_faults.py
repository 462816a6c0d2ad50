"""Faults of Spark itself: an executor killed, every task run twice. The plan stays one plan."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.generate import generate
from demo.member import dies_with_parent, free_port
from tests.harness.commands import PATIENCE, ROOT, started
from tests.harness.documents import JOURNAL, Db, differing, stored_bytes
from tests.harness.holds import Point, held
from tests.harness.runs import last_run, outcomes
from tests.oracle import recomputed_documents

SESSIONS = 300
CLUSTER = "org.apache.spark.deploy"
EXECUTOR = "CoarseGrainedExecutorBackend"


@dataclass(frozen=True)
class Cluster:
    """A master's address, and the folder in which the executors work."""

    address: str
    work: Path


@pytest.fixture(scope="module")
def java_home() -> str:
    """The Java that the command finds."""
    told = subprocess.run(
        [ROOT / "spark-submit.sh", "setup"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"^Java +(.+)$", told, re.MULTILINE)
    assert found is not None, told
    return found[1]


@contextmanager
def server(java_home: str, folder: Path, *words: str) -> Iterator[Path]:
    """One master or worker; the file that holds its log."""
    spark = next((ROOT / ".venv/lib").glob("python3*/site-packages/pyspark"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    environment |= {"JAVA_HOME": java_home, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(spark)}
    environment |= {"SPARK_DAEMON_MEMORY": "256m", "SPARK_WORKER_DIR": str(folder / "work")}
    log = folder / f"{words[0].rpartition('.')[2]}-{len(list(folder.iterdir()))}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*dies_with_parent(), spark / "bin/spark-class", *words],
            env=environment,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def cluster(java_home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers with one core each."""
    folder = tmp_path_factory.mktemp("cluster")
    address = f"spark://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    ui = ("--webui-port", str(free_port()))
    with ExitStack() as servers:
        first = (f"{CLUSTER}.master.Master", "--host", "127.0.0.1", "--port", port, *ui)
        log = servers.enter_context(server(java_home, folder, *first))
        wait_for(log, "I have been elected leader")
        for _ in range(2):
            words = (f"{CLUSTER}.worker.Worker", "--host", "127.0.0.1", "-c", "1", "-m", "1g")
            ui = ("--webui-port", str(free_port()))
            worker = servers.enter_context(server(java_home, folder, *words, *ui, address))
            wait_for(worker, "Successfully registered")
        yield Cluster(address, folder / "work")


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in (told := log.read_text(errors="replace")):
        assert time.monotonic() < deadline, told
        time.sleep(0.2)


def executors(cluster: Cluster) -> list[int]:
    """The processes of the cluster's executors, which work in its workers' folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_executor = EXECUTOR in (process / "cmdline").read_text()
            if is_executor and (process / "cwd").readlink().is_relative_to(cluster.work):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def assert_right(db: Db, expected: dict[object, bytes]) -> None:
    run = last_run(db)
    rows = stored_bytes(db, JOURNAL)
    sessions = {row["plan"]["session"]["v"] for row in db[JOURNAL].find()}
    assert len(rows) == len(sessions) == run["planned"] > 0
    assert {key.partition(":")[0] for key in rows} == {run["_id"]}
    assert outcomes(db) == {"applied": run["planned"]}
    assert differing(db, expected) == []


ON_CLUSTER = ("--executor-memory", "512m", "--conf", "spark.sql.shuffle.partitions=4")


def test_an_executor_killed_during_the_journal_write_costs_nothing(
    cluster: Cluster, mongo_uri: str, db: Db
) -> None:
    generate(db, SESSIONS)
    expected = recomputed_documents(db)
    spark = ("--master", cluster.address, *ON_CLUSTER, "--conf", "spark.sql.adaptive.enabled=false")
    with (
        held(db, Point("insert", JOURNAL, skip=1), seconds=8) as hold,
        started(mongo_uri, db.name, "fix", "--apply", spark_options=spark) as process,
    ):
        hold.wait()
        assert db[JOURNAL].count_documents({}) > 0  # a part of the plan is written already
        first, _second = executors(cluster)
        os.kill(first, signal.SIGKILL)
        hold.let_go()
        assert process.wait(240) == 0, process.text()
        told = process.text()
    assert "Lost executor" in told or "Lost task" in told
    assert_right(db, expected)


def test_tasks_that_run_twice_plan_every_session_once(
    cluster: Cluster, mongo_uri: str, db: Db
) -> None:
    generate(db, SESSIONS)
    expected = recomputed_documents(db)
    eager = {
        "spark.speculation": "true",
        "spark.speculation.interval": "50ms",
        "spark.speculation.multiplier": "1.0001",
        "spark.speculation.quantile": "0.01",
        "spark.speculation.minTaskRuntime": "0ms",
        "spark.sql.adaptive.enabled": "false",
    }
    options = [word for name, value in eager.items() for word in ("--conf", f"{name}={value}")]
    spark = ("--master", cluster.address, *ON_CLUSTER, *options)
    with (
        held(db, Point("insert", JOURNAL), seconds=2),
        started(mongo_uri, db.name, "fix", "--apply", spark_options=spark) as process,
    ):
        assert process.wait(240) == 0, process.text()
    assert_right(db, expected)


def test_a_java_that_is_killed_ends_the_run_in_one_line(db: Db, mongo_uri: str) -> None:
    generate(db, SESSIONS)
    before = stored_bytes(db)
    words = ("fix", "--apply", "--confirm-delay", "1h", "-v")
    with started(mongo_uri, db.name, *words) as process:
        deadline = time.monotonic() + PATIENCE
        while " sessions and " not in process.text():  # the first look was taken
            assert time.monotonic() < deadline, process.text()
            time.sleep(0.2)
        (java,) = javas_in(process.popen.pid)
        os.kill(java, signal.SIGKILL)
        code, told = process.wait(), process.text()
    lines = [it for it in told.splitlines() if " session_repair.cli.options: fix: " in it]
    assert len(lines) == 1, told
    assert (code, "Traceback" in told) == (1, False), told
    run = last_run(db)["_id"]
    assert lines[0].endswith(
        "fix: Spark's Java ended while it worked: it was killed, or had no memory left. Look at "
        "--driver-memory, and at what the system says of the process. Finish it with: "
        f"./spark-submit.sh resume {run} --database {db.name}"
    )
    assert stored_bytes(db) == before


def javas_in(group: int) -> list[int]:
    """The processes of the group that are a Java."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.joinpath("exe").readlink().name == "java":
                found += [int(process.name)] if os.getpgid(int(process.name)) == group else []
    return found
