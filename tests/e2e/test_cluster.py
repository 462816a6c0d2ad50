"""On a real standalone cluster: one master and two workers, each a process of its own.

A driver in cluster mode is started here as a node would start it: a Python that has nothing, the
files of the package in its folder and on its path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.generate import generate
from tests.harness.cluster import LOCAL, SPARK, Cluster, standalone_cluster
from tests.harness.commands import PATIENCE, Command, Ended, environment, run_to_end, spark_submit
from tests.harness.documents import SESSIONS, Db, decoded, differing
from tests.harness.runs import outcomes, the_run
from tests.oracle import recomputed_documents

pytestmark = pytest.mark.needs("cluster")

WORKERS = 2  # of one core each: an application of two cores is on both
OPTIONS = (
    *("--driver-memory", "768m", "--executor-memory", "512m"),
    *("--conf", f"spark.driver.host={LOCAL}"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path_factory.mktemp("cluster"), WORKERS) as made:
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
    variables = {
        **environment(uri),
        "SPARK_HOME": str(SPARK),
        "PYTHONPATH": ":".join(map(str, path)),
        "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
    }
    return run_to_end([*python, package / job, *words], variables, 2 * PATIENCE, folder)
