"""A verb that needs Spark: a driver on this machine, or one that is sent to a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from session_repair.errors import Refused
from session_repair.home import COMMAND, CONF, DEFAULT_CONFIG
from session_repair.launch.connector import brings_own_connector
from session_repair.launch.locks import MAIN, Site, Venv
from session_repair.launch.options import CommandLine, without_option
from session_repair.launch.program import Command
from session_repair.launch.properties import SparkSettings, conf_of, read_settings
from session_repair.launch.spark import (
    DRIVER_PYTHON,
    PYTHON,
    Spark,
    cache_of,
    found_connector,
    made_cache,
    spark_with_connector,
)
from session_repair.launch.usable import require_usable


@dataclass(frozen=True)
class Job:
    """A Spark, and the options that it is started with."""

    spark: Spark
    settings: SparkSettings
    options: list[str]

    def environment(self, venv: Venv | Site) -> dict[str, str]:
        """That of a driver on this machine, which starts its JVM itself.

        spark-submit would pour the driver's stderr into its stdout. Started by Python instead of
        starting it, it leaves both to the user, and a refused command does not wait for Java.
        """
        environment = dict(self.spark.environment)
        if environment.get("LC_ALL") in ("C", "POSIX"):
            environment["LC_ALL"] = "C.UTF-8"  # else Java can name no file in other than ASCII
        if self.spark.is_gateway:
            named = environment.get(PYTHON) or environment.get(DRIVER_PYTHON)
            if not named and venv.holds(MAIN):
                environment[DRIVER_PYTHON] = str(venv.python)
        elif self.settings.is_local and not environment.get("SPARK_LOCAL_IP"):
            # It talks to itself alone; a host name that does not resolve must not stop it.
            environment["SPARK_LOCAL_IP"] = "127.0.0.1"
        submit = shlex.join([*self.options, "pyspark-shell"])
        return {**environment, "SPARK_HOME": str(self.spark.home), "PYSPARK_SUBMIT_ARGS": submit}


def new_job(
    line: CommandLine, venv: Venv | Site, environment: Mapping[str, str], gateway: Spark | None
) -> Job:
    """With a Spark of our own what is missing is installed; beside a gateway's nothing is."""
    spark, connector = gateway, None
    if spark is None:
        spark, connector = spark_with_connector(line, venv, environment, gateway)
    settings = read_settings(line, spark.home, environment, CONF, is_gateway=spark.is_gateway)
    require_usable(settings, environment, conf_of(spark.home, environment))
    options = settings.options
    if not brings_own_connector(settings, spark.home):
        connector = connector or found_connector(spark, cache_of(environment))
        options += settings.joined("--jars", "spark.jars", connector.jars)
    return Job(spark, settings, options)


def in_cluster_mode(job: Job, venv: Venv | Site, script: Path, words: list[str]) -> Command:
    """spark-submit, with what the driver needs that does not run in this folder: the package and
    the packages it imports, and the settings. --config names the file as it lies beside it."""
    settings, environment = job.settings, dict(job.spark.environment)
    if settings.value("--master", "spark.master").startswith("spark://"):
        raise Refused(
            "a standalone cluster runs no Python driver on its workers. Leave out --deploy-mode "
            "cluster."
        )
    words, given = without_option(words, "--config")
    config = str(DEFAULT_CONFIG) if given is None else given
    if "://" not in config and not is_readable(config):
        raise Refused(f"--config {config} cannot be read. Name a readable TOML file.")
    require_address(settings, words)
    if not job.spark.is_gateway:
        for name in (PYTHON, DRIVER_PYTHON):  # paths of this machine
            environment.pop(name, None)
    if not venv.holds(MAIN):
        raise Refused(
            f"the packages that the driver imports are not in .venv. Run '{COMMAND} setup'."
        )
    from session_repair.launch.package import zips

    made = zips(made_cache(environment), venv.site_packages)
    travelling = [
        *settings.joined("--py-files", "spark.submit.pyFiles", [str(it) for it in made]),
        *settings.joined("--files", "spark.files", [config]),
    ]
    words += ["--config", config.rpartition("/")[2]]
    submit = [job.spark.submit, *job.options, *travelling, str(script), *words]
    return Command(submit, environment)


def require_address(settings: SparkSettings, words: list[str]) -> None:
    """Raise Refused where YARN's driver, which sees no variable from here, has no address."""
    told = (*settings.line.conf, *settings.in_file)
    is_told = any(it.partition("=")[0] == "--uri-file" for it in words) or (
        "spark.yarn.appMasterEnv.MONGODB_URI" in told
    )
    if settings.value("--master", "spark.master") == "yarn" and not is_told:
        raise Refused(
            "in cluster mode MONGODB_URI does not reach the driver. Write the address into a file "
            "on the node, or pass one by --files, and name it with --uri-file."
        )


def is_readable(file: str) -> bool:
    try:
        with open(file, "rb"):
            return True
    except OSError:
        return False
