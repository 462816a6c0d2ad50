"""Spark's settings: which files say what, and which value counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from session_repair.launch.options import CommandLine

DEFAULTS = "spark-defaults.conf"
LINE = re.compile(r"\s*([^#!\s=:]+)\s*[\s=:]\s*(.*\S)\s*")
LOCAL_ONLY = "# Only without a cluster"  # what stands below it in our file


def properties(text: str) -> dict[str, str]:
    """The settings of a properties file; a backslash is written twice there."""
    matches = map(LINE.fullmatch, text.splitlines())
    return {match[1]: match[2].replace("\\\\", "\\") for match in matches if match}


@dataclass(frozen=True)
class SparkSettings:
    """What the command line and the one properties file that Spark reads say."""

    line: CommandLine
    in_file: Mapping[str, str]
    ours: Mapping[str, str]  # those of our file that the other one does not set

    def value(self, option: str, key: str) -> str:
        """The value that counts, of --option, --conf or the file; empty where none does."""
        given = self.line.named.get(option) or self.line.conf.get(key)
        return given or self.in_file.get(key, "")

    def joined(self, option: str, key: str, ours: list[str]) -> list[str]:
        """That option with the value that counts and ours.

        Of a repeated option only the last one counts, so this goes after the user's.
        """
        theirs = self.value(option, key)
        return [option, ",".join([theirs, *ours] if theirs else ours)]

    @property
    def options(self) -> list[str]:
        """Ours as options, then the user's, which come later and win."""
        ours = [word for key, value in self.ours.items() for word in ("--conf", f"{key}={value}")]
        return [*ours, *self.line.spark]

    @property
    def is_cluster_mode(self) -> bool:
        return self.value("--deploy-mode", "spark.submit.deployMode") == "cluster"

    @property
    def is_local(self) -> bool:
        master = self.value("--master", "spark.master")
        return not master or master.startswith("local")


def conf_of(spark: Path, environment: Mapping[str, str]) -> Path:
    """The folder of that Spark's own settings."""
    return Path(environment.get("SPARK_CONF_DIR") or spark / "conf")


def read_settings(
    line: CommandLine, spark: Path, environment: Mapping[str, str], conf: Path, *, is_gateway: bool
) -> SparkSettings:
    """Spark reads one properties file. Where that is not ours, our settings go as --conf."""
    theirs = Path(line.named.get("--properties-file") or conf_of(spark, environment) / DEFAULTS)
    in_file = properties(theirs.read_text()) if theirs.is_file() else {}
    text = (conf / DEFAULTS).read_text()
    ours = properties(text.partition(LOCAL_ONLY)[0] if is_gateway else text)
    return SparkSettings(line, in_file, {k: v for k, v in ours.items() if k not in in_file})
