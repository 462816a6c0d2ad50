"""The MongoDB connector: five jars at exact versions, fetched once by Spark itself, and checked."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from session_repair.errors import Refused
from session_repair.home import CONF
from session_repair.launch.options import CommandLine
from session_repair.launch.properties import SparkSettings
from session_repair.launch.steps import locked, quietly, say, sha256

SCALA = re.compile(r"scala-library-(2\.1[23])\..*jar")
# The pins name the jars as Spark's --packages does: group_artifact-version.jar.
JAR = re.compile(r"([^_]+)_(.+)-([0-9.]+)\.jar")


def scala_of(spark: Path) -> str:
    """The Scala that this Spark is built for. Raises Refused where there is none."""
    found = [match[1] for jar in (spark / "jars").glob("*") if (match := SCALA.match(jar.name))]
    if not found:
        raise Refused(
            f"no scala-library 2.12 or 2.13 in {spark}/jars. SPARK_HOME must name a Spark 3.5 or 4."
        )
    return max(found)


@dataclass(frozen=True)
class Connector:
    """The jars for one Scala, as a file of checksums pins them, and where they are kept."""

    scala: str
    pins: Path
    folder: Path

    @property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of each jar."""
        lines = [line.split() for line in self.pins.read_text().splitlines()]
        return {name: sha256 for sha256, name in lines}

    @property
    def jars(self) -> list[str]:
        return [str(self.folder / name) for name in self.sums]

    @property
    def coordinates(self) -> str:
        """As --packages wants them."""
        return ",".join(JAR.sub(r"\1:\2:\3", name) for name in self.sums)

    def wrong_in(self, folder: Path) -> list[str]:
        """The jars that are not in the folder as they are pinned."""
        return [name for name, pinned in self.sums.items() if not is_pinned(folder / name, pinned)]

    def is_cached(self) -> bool:
        return not self.wrong_in(self.folder)

    def install(self, submit: str, environment: Mapping[str, str], options: list[str]) -> None:
        """Fetch the jars with Spark's --packages and the user's options for it, unless they are
        there. Raises Refused on others than those that are pinned."""
        if self.is_cached():
            return
        cache = self.folder.parent
        with locked(cache / "lock"):
            if self.is_cached():
                return
            say(f"fetching the MongoDB connector, 3 MB, into {self.folder}")
            for left in cache.glob("fetch.*"):  # by an interrupted fetch
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(prefix="fetch.", dir=cache) as fetched:
                nothing = Path(fetched, "nothing.py")
                nothing.touch()
                quietly(
                    "fetching the connector with spark-submit --packages",
                    [
                        *(submit, "--master", "local[1]"),
                        *("--deploy-mode", "client", "--conf", f"spark.jars.ivy={fetched}"),
                        *(*options, "--packages", self.coordinates, str(nothing)),
                    ],
                    environment,
                )
                self.take(Path(fetched, "jars"))

    def take(self, fetched: Path) -> None:
        """Move the jars to where they are kept."""
        if wrong := self.wrong_in(fetched):
            raise Refused(
                f"refused what was fetched: {' '.join(wrong)} has not the SHA-256 of {self.pins}. "
                "Check the repository that Spark fetches from."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for jar in self.sums:
            (fetched / jar).replace(self.folder / jar)


def is_pinned(file: Path, pinned: str) -> bool:
    return file.exists() and sha256(file) == pinned


def connector_for(spark: Path, cache: Path) -> Connector:
    scala = scala_of(spark)
    return Connector(scala, CONF / f"connector-jars-{scala}.sha256", cache / f"jars-{scala}")


def brings_own_connector(settings: SparkSettings, spark: Path) -> bool:
    """True where the user's options, the file of settings or the Spark itself have a connector."""
    named = " ".join([*settings.line.spark, *settings.in_file.values()])
    in_spark = (spark / "jars").glob("*mongo-spark-connector*.jar")
    return "mongo-spark-connector" in named or any(in_spark)


def fetch_options(line: CommandLine) -> list[str]:
    """Those of the user's options that say where Spark fetches from."""
    options = []
    if repositories := line.named.get("--repositories"):
        options += ["--repositories", repositories]
    if settings := line.conf.get("spark.jars.ivySettings"):
        options += ["--conf", f"spark.jars.ivySettings={settings}"]
    return options
