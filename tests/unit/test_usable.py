"""What Spark would not start with is one line, within two seconds, before a Java is started."""

from __future__ import annotations

import re
import resource
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from demo.member import free_port
from session_repair.errors import RepairError
from session_repair.launch import usable
from session_repair.launch.options import WITH_VALUE, WITHOUT_VALUE, parse
from session_repair.launch.properties import SparkSettings
from session_repair.launch.usable import require_usable


def complaint(
    tmp_path: Path, *words: str, in_file: dict[str, str] | None = None, **variables: str
) -> tuple[int, str] | None:
    """The exit code of what the words are refused for, and the line; None where Spark starts."""
    try:
        require_usable(SparkSettings(parse(words), in_file or {}, {}), variables, tmp_path)
    except RepairError as error:
        return int(error.exit_code), str(error)
    return None


MASTERS = "local[4], spark://host:7077, yarn or k8s://https://host:6443"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--master", "nonsense"], f"--master nonsense names no master; write {MASTERS}."),
        (["--master", "local[x]"], f"--master local[x] names no master; write {MASTERS}."),
        (["--master", "spark:/h"], f"--master spark:/h names no master; write {MASTERS}."),
        (["--master", "spark://h"], f"--master spark://h names no master; write {MASTERS}."),
        (["--conf", "spark.master=x"], f"--master x names no master; write {MASTERS}."),
        (["--conf", "nonsense"], "--conf nonsense sets nothing. Write --conf KEY=VALUE."),
        (
            ["-c", "mongodb://u:hush@h", "--conf", "a=b"],
            "--conf mongodb sets nothing. Write --conf KEY=VALUE.",
        ),
        (["--deploy-mode", "clustr"], "--deploy-mode clustr is unknown; write client or cluster."),
        (
            ["--driver-memory", "lots"],
            "--driver-memory lots is no size; write one such as 768m or 4g.",
        ),
        (
            ["--conf", "spark.executor.memory=4 g"],
            "--executor-memory 4 g is no size; write one such as 768m or 4g.",
        ),
        (
            ["--properties-file", "/no/such"],
            "--properties-file /no/such is no file. Name one that is there.",
        ),
        (
            ["--master", "yarn"],
            "--master yarn needs HADOOP_CONF_DIR, the folder that holds yarn-site.xml. Export it.",
        ),
    ],
)
def test_what_spark_does_not_understand_is_refused(
    tmp_path: Path, words: list[str], says: str
) -> None:
    assert complaint(tmp_path, *words) == (2, says)


@pytest.mark.parametrize(
    "master",
    [
        *("local", "local[4]", "local[*]", "local[2, 3]", "local[*,4]", "local-cluster[2,1,1024]"),
        *("k8s://https://h:6443", "k8s://h", "mesos://h:5050"),
    ],
)
def test_a_master_is_known_however_it_is_written(tmp_path: Path, master: str) -> None:
    assert complaint(tmp_path, "--master", master, "--driver-memory", "1G") is None


def test_where_yarn_is_has_to_be_told(tmp_path: Path) -> None:
    hadoop, spark = tmp_path / "hadoop", tmp_path / "conf"
    for folder in (hadoop, spark):
        folder.mkdir()
    yarn = ("--master", "yarn")
    assert complaint(spark, *yarn, HADOOP_CONF_DIR=str(hadoop)) == (
        2,
        f"HADOOP_CONF_DIR is {hadoop}, which holds no yarn-site.xml. Name the folder that does.",
    )
    named = ("--conf", "spark.hadoop.yarn.resourcemanager.address=h:8032")
    assert complaint(spark, *yarn, *named, HADOOP_CONF_DIR=str(hadoop)) is None
    (hadoop / "yarn-site.xml").touch()
    assert complaint(spark, *yarn, YARN_CONF_DIR=f"/no/such:{hadoop}") is None
    (spark / "spark-env.sh").touch()  # which may export it
    assert complaint(spark, *yarn) is None


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_master_that_does_not_answer_is_told_at_once(tmp_path: Path, listener: str) -> None:
    closed = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    assert complaint(tmp_path, "--master", f"spark://{closed}") == (
        2,
        f"Spark's master spark://{closed} does not answer: Connection refused. Check --master, "
        "and that it runs.",
    )
    assert time.monotonic() - began < usable.PATIENCE
    assert complaint(tmp_path, "--master", f"spark://{closed},{listener}") is None
    unknown = complaint(tmp_path, "--master", "spark://no.such.invalid:7077")
    assert unknown is not None
    assert unknown[0] == 2


def useless(told: str, reason: str = "Not a directory") -> str:
    return (
        f"{told}, where Spark can write no file: {reason}. Let it name a folder that can be "
        "written and has room."
    )


def test_a_folder_that_spark_cannot_write_to_is_refused(tmp_path: Path) -> None:
    file, fresh = tmp_path / "file", tmp_path / "not yet" / "there"
    file.touch()
    told = complaint(tmp_path, SPARK_LOCAL_DIRS=str(file))
    assert told == (2, useless(f"SPARK_LOCAL_DIRS is {file}"))
    told = complaint(tmp_path, "--conf", f"spark.local.dir={file},{file}")
    assert told == (2, useless(f"spark.local.dir is {file},{file}"))
    told = complaint(tmp_path, in_file={"spark.local.dir": str(file)})
    assert told == (2, useless(f"spark.local.dir is {file}"))
    assert complaint(tmp_path, SPARK_LOCAL_DIRS=f"{file}, {fresh}") is None
    assert list(fresh.iterdir()) == []
    in_cluster = ("--master", "k8s://h", "--deploy-mode", "cluster")
    assert complaint(tmp_path, *in_cluster, SPARK_LOCAL_DIRS=str(file)) is None


@pytest.fixture
def no_room() -> Iterator[None]:
    """As where the disk is full: a file can be made, and takes next to nothing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_without_room_is_refused(
    tmp_path: Path, no_room: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable, "TEMPORARY", str(tmp_path))  # where nothing else is named
    told = useless(f"SPARK_LOCAL_DIRS is {tmp_path}", "File too large")
    assert complaint(tmp_path, SPARK_LOCAL_DIRS=str(tmp_path)) == (2, told)
    assert complaint(tmp_path) == (2, told)


def test_the_known_options_are_those_of_this_spark() -> None:
    """As its own parser has them, in a constant of the launcher's jar each."""
    jar = next(Path(pyspark.__file__).parent.glob("jars/spark-launcher_*.jar"))
    with zipfile.ZipFile(jar) as archive:
        parser = archive.read("org/apache/spark/launcher/SparkSubmitOptionParser.class")
    options = set(re.findall(r"--[a-z][a-z-]+", parser.decode("latin-1")))
    ours = {it for it in (*WITHOUT_VALUE, *WITH_VALUE) if it.startswith("--")}
    assert options - ours == {"--help", "--usage-error"}
    assert ours - options <= {"--remote"}
