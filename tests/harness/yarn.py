"""A real YARN: one ResourceManager and one NodeManager, from the jars that Hadoop publishes."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from demo.member import free_port
from session_repair.launch.connector import Connector
from session_repair.launch.spark import cache_of, made_cache
from tests.harness.cluster import LOCAL, PATIENCE, SPARK, started

PINS = Path(__file__).with_name("yarn-jars.sha256")
DAEMONS = {
    "rm": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    "nm": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
}
OPENS = [f"--add-opens=java.base/java.{it}=ALL-UNNAMED" for it in ("lang", "util")]
# One queue; the drivers, which are application masters, may take most of it.
SCHEDULER = {
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": "100",
    "yarn.scheduler.capacity.maximum-am-resource-percent": "0.8",
}


@dataclass(frozen=True)
class Application:
    """What the node keeps of one that was submitted: a folder for each of its containers."""

    logs: Path

    @property
    def attempts(self) -> set[str]:
        """The numbers of the attempts to run its driver: container_CLUSTER_APP_ATTEMPT_NUMBER."""
        return {folder.name.split("_")[3] for folder in self.logs.glob("container_*")}

    @property
    def told(self) -> str:
        """What its containers wrote on stdout and stderr."""
        files = sorted(self.logs.glob("*/std*"))
        return "".join(file.read_text(errors="replace") for file in files)


@dataclass(frozen=True)
class Yarn:
    """Where the cluster's clients find it, its page, and the folder of its containers' logs."""

    conf: Path
    page: str
    logs: Path

    def has_node(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.page}/ws/v1/cluster/metrics", timeout=10) as answer:
                return bool(json.load(answer)["activeNodes"])
        except OSError:  # no page yet
            return False

    def newest(self) -> Application:
        """The application that was submitted last."""
        return Application(max(self.logs.glob("application_*")))


@contextmanager
def yarn_cluster(home: Path, environment: Mapping[str, str]) -> Iterator[Yarn]:
    """A cluster whose node has nothing but a Java and a Python."""
    jars = Connector("yarn", PINS, cache_of(environment) / "jars-yarn")
    made_cache(environment)
    jars.install(str(SPARK / "bin" / "spark-submit"), environment, [])
    ports = {name: f"{LOCAL}:{free_port()}" for name in ("client", "tracker", "scheduler", "page")}
    logs, conf = home / "logs", home / "conf"
    written(conf / "core-site.xml", {"fs.defaultFS": "file:///", "hadoop.tmp.dir": home / "tmp"})
    written(conf / "capacity-scheduler.xml", SCHEDULER)
    written(
        conf / "yarn-site.xml",
        {
            "yarn.resourcemanager.address": ports["client"],
            "yarn.resourcemanager.resource-tracker.address": ports["tracker"],
            "yarn.resourcemanager.scheduler.address": ports["scheduler"],
            "yarn.resourcemanager.admin.address": f"{LOCAL}:0",
            "yarn.resourcemanager.webapp.address": ports["page"],
            "yarn.nodemanager.hostname": LOCAL,
            "yarn.nodemanager.address": f"{LOCAL}:0",
            "yarn.nodemanager.localizer.address": f"{LOCAL}:0",
            "yarn.nodemanager.webapp.address": f"{LOCAL}:0",
            "yarn.nodemanager.local-dirs": home / "local",
            "yarn.nodemanager.log-dirs": logs,
            "yarn.nodemanager.resource.memory-mb": 6144,
            "yarn.nodemanager.resource.cpu-vcores": 4,
            "yarn.nodemanager.vmem-check-enabled": "false",
            "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99,
            "yarn.scheduler.minimum-allocation-mb": 256,
        },
    )
    path = ":".join([str(conf), *jars.jars, f"{SPARK}/jars/*"])
    java = Path(environment["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in environment else "java"
    kept = {
        name: environment[name] for name in ("HOME", "PATH", "JAVA_HOME") if name in environment
    }
    with ExitStack() as daemons:
        for name, main in DAEMONS.items():
            command = [java, *OPENS, "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", path, main]
            started(daemons, home, name, command, kept)
        yarn = Yarn(conf, f"http://{ports['page']}", logs)
        await_node(yarn)
        yield yarn


def written(file: Path, properties: Mapping[str, Any]) -> None:
    """A file of settings as Hadoop reads it."""
    lines = [
        f"<property><name>{name}</name><value>{escape(str(value))}</value></property>"
        for name, value in properties.items()
    ]
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(["<configuration>", *lines, "</configuration>", ""]))


def await_node(yarn: Yarn) -> None:
    deadline = time.monotonic() + PATIENCE
    while not yarn.has_node():
        assert time.monotonic() < deadline, f"YARN has no node, see {yarn.conf.parent}"
        time.sleep(0.5)
