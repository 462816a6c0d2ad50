"""Usable: what Spark is told to start with. What is not costs one line here; Spark takes a page for
it, or a minute."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from session_repair.errors import Refused
from session_repair.launch.properties import SparkSettings

MASTER = re.compile(
    r"local(\[(\d+|\*)(\s*,\s*\d+)?\])?|local-cluster\[.+\]|yarn|spark://\S+:\d+|(k8s|mesos)://\S+"
)
MEMORY = re.compile(r"\d+([kmgt]b?|pb?|b)?", re.IGNORECASE)
HADOOP = "HADOOP_CONF_DIR", "YARN_CONF_DIR"
PATIENCE = 2.0  # seconds, for a master to answer
TEMPORARY = "/tmp"  # of Java, whatever TMPDIR says
PROBE = bytes(1 << 20)  # less room than this is none


def require_usable(settings: SparkSettings, environment: Mapping[str, str], conf: Path) -> None:
    """Raise Refused on what Spark would not start with, and where its master is away.

    ``conf`` is its folder of settings, whose spark-env.sh may set variables.
    """
    for name, value in pairwise(settings.line.spark):
        if name == "--conf" and "=" not in value:
            told = value.partition(":")[0]  # an address may hold a password
            raise Refused(f"--conf {told} sets nothing. Write --conf KEY=VALUE.")
    file = settings.line.named.get("--properties-file")
    if file is not None and not Path(file).is_file():
        raise Refused(f"--properties-file {file} is no file. Name one that is there.")
    mode = settings.value("--deploy-mode", "spark.submit.deployMode")
    if mode not in ("", "client", "cluster"):
        raise Refused(f"--deploy-mode {mode} is unknown; write client or cluster.")
    for option, key in (
        ("--driver-memory", "spark.driver.memory"),
        ("--executor-memory", "spark.executor.memory"),
    ):
        memory = settings.value(option, key)
        if memory and not MEMORY.fullmatch(memory):
            raise Refused(f"{option} {memory} is no size; write one such as 768m or 4g.")
    require_master(settings, environment, conf)
    if not settings.is_cluster_mode:
        require_room(settings, environment)


def require_master(settings: SparkSettings, environment: Mapping[str, str], conf: Path) -> None:
    """Raise Refused where the master is none, or does not answer."""
    master = settings.value("--master", "spark.master")
    if master and not MASTER.fullmatch(master):
        raise Refused(
            f"--master {master} names no master; write local[4], spark://host:7077, yarn or "
            "k8s://https://host:6443."
        )
    if master == "yarn" and not (conf / "spark-env.sh").is_file():
        require_hadoop(settings, environment)
    if master.startswith("spark://") and not settings.is_cluster_mode:
        require_answer(master)


def require_hadoop(settings: SparkSettings, environment: Mapping[str, str]) -> None:
    """Raise Refused where nothing says where YARN is: Spark would ask this machine for ever."""
    given = {name: environment[name] for name in HADOOP if environment.get(name)}
    if not given:
        raise Refused(
            f"--master yarn needs {HADOOP[0]}, the folder that holds yarn-site.xml. Export it."
        )
    folders = [Path(it) for value in given.values() for it in value.split(os.pathsep)]
    is_told = any(key.startswith("spark.hadoop.yarn.") for key in settings.line.conf)
    if not is_told and not any((it / "yarn-site.xml").is_file() for it in folders):
        name, value = next(iter(given.items()))
        raise Refused(
            f"{name} is {value}, which holds no yarn-site.xml. Name the folder that does."
        )


def require_answer(master: str) -> None:
    """Raise Refused where nothing listens at any address of the master."""
    reasons = []
    hosts = master.removeprefix("spark://").split(",")
    for address in hosts:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE / len(hosts)).close()
            return
        except (OSError, OverflowError) as error:
            reasons.append(str(getattr(error, "strerror", None) or error))
    raise Refused(
        f"Spark's master {master} does not answer: {reasons[-1]}. Check --master, and that it runs."
    )


def require_room(settings: SparkSettings, environment: Mapping[str, str]) -> None:
    """Raise Refused where none of Spark's folders for what does not fit in memory takes a file."""
    name = "SPARK_LOCAL_DIRS"
    told = environment.get(name)
    if not told:
        key = "spark.local.dir"
        of_spark = settings.line.conf.get(key) or settings.in_file.get(key)
        name, told = (key, of_spark) if of_spark else (name, TEMPORARY)
    reasons = [why_useless(Path(it.strip())) for it in told.split(",")]
    if None not in reasons:
        raise Refused(
            f"{name} is {told}, where Spark can write no file: {reasons[0]}. Let it name a folder "
            "that can be written and has room."
        )


def why_useless(folder: Path) -> str | None:
    """What keeps a file from being written there; Spark makes the folder, too, where it is none."""
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(PROBE)
    except OSError as error:
        return error.strerror or str(error)
    return None
