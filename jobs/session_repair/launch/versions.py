"""Versions: ours, and those of the Spark and the connector that a verb would use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from session_repair import __version__
from session_repair.errors import Refused
from session_repair.home import COMMAND, CONF
from session_repair.launch.connector import brings_own_connector, connector_for
from session_repair.launch.locks import MAIN, Site, Venv
from session_repair.launch.options import CommandLine
from session_repair.launch.properties import read_settings
from session_repair.launch.spark import Spark, cache_of

SPARK = re.compile(r"spark-core_2\.1[23]-(.+)\.jar")
CONNECTOR = re.compile(r"mongo-spark-connector_2\.1[23][:-]([0-9][0-9.]*[0-9])")
MISSING = f"not installed: {COMMAND} setup"


def versions(
    line: CommandLine, venv: Venv | Site, environment: Mapping[str, str], gateway: Spark | None
) -> Iterator[str]:
    """What ``--version`` prints, a line each."""
    home = gateway.home if gateway else home_of(venv)
    yield f"session-repair {__version__}"
    yield f"Spark          {spark_version(home)}"
    yield f"connector      {connector_version(line, home, environment, gateway is not None)}"


def home_of(venv: Venv | Site) -> Path | None:
    """The Spark beside us; None where there is none, or only one that the next start replaces."""
    try:
        return venv.pyspark if venv.holds(MAIN) else None
    except Refused:
        return None


def spark_version(home: Path | None) -> str:
    if home is None:
        return MISSING
    found = [match[1] for jar in (home / "jars").glob("*") if (match := SPARK.match(jar.name))]
    return f"{found[0] if found else 'of an unknown version'}, in {home}"


def connector_version(
    line: CommandLine, home: Path | None, environment: Mapping[str, str], is_gateway: bool
) -> str:
    """That of the user's options or Spark, else ours; of the latter whether it is there."""
    if home is None:
        return MISSING
    settings = read_settings(line, home, environment, CONF, is_gateway=is_gateway)
    if brings_own_connector(settings, home):
        jars = (jar.name for jar in (home / "jars").glob("*mongo-spark-connector*.jar"))
        named = CONNECTOR.search(" ".join([*line.spark, *settings.in_file.values(), *jars]))
        return f"{named[1] if named else 'of an unknown version'}, of your own"
    ours = connector_for(home, cache_of(environment))
    named = CONNECTOR.search(" ".join(ours.sums))
    assert named is not None, f"{ours.pins} names no connector"
    return f"{named[1]}, in {ours.folder}" if ours.is_cached() else f"{named[1]} is {MISSING}"
