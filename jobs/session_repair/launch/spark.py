"""Which Spark is used, and in which environment: our own, or that of a cluster's gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from session_repair.errors import Refused
from session_repair.home import COMMAND, LOG_CONFIG
from session_repair.launch.archive import with_archive, with_option
from session_repair.launch.connector import Connector, connector_for, fetch_options
from session_repair.launch.java import Java, candidates, find_java
from session_repair.launch.locks import JAVA, MAIN, Site, Venv
from session_repair.launch.options import CommandLine
from session_repair.launch.steps import say
from session_repair.launch.trust import bundle_for, trust_store

DRIVER_PYTHON, PYTHON = "PYSPARK_DRIVER_PYTHON", "PYSPARK_PYTHON"
LOG_OPTION = f'"-Dlog4j2.configurationFile={LOG_CONFIG}"'


@dataclass(frozen=True)
class Spark:
    """A Spark, and the environment in which its spark-submit and its drivers run."""

    home: Path
    environment: Mapping[str, str]
    java: Java | None = None  # that of our own; a gateway finds its own

    @property
    def is_gateway(self) -> bool:
        return self.java is None

    @property
    def submit(self) -> str:
        return f"{self.home}/bin/spark-submit"

    @property
    def python_path(self) -> list[str]:
        """Where a Python finds the pyspark of this Spark."""
        py4j = sorted((self.home / "python" / "lib").glob("py4j-*-src.zip"))
        return [f"{self.home}/python", *map(str, py4j[:1])]


def gateway_spark(environment: Mapping[str, str]) -> Spark | None:
    """The Spark that SPARK_HOME names, if it names one. Raises Refused where that is none."""
    home = environment.get("SPARK_HOME")
    if not home:
        return None
    spark = Spark(Path(home), environment)
    if not Path(spark.submit).is_file():
        raise Refused(
            f"SPARK_HOME is {home}, which has no bin/spark-submit. Correct it, or unset it to use "
            "a Spark of our own."
        )
    return spark


def own_spark(venv: Venv | Site, cache: Path, environment: Mapping[str, str]) -> Spark:
    """The Spark that is installed beside us, with what is missing installed."""
    venv.install(MAIN)
    home = venv.pyspark
    java = installed_java(venv, environment)
    python = str(venv.python)
    environment = {
        **environment,
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(java.home),
        PYTHON: python,
        DRIVER_PYTHON: python,
    }
    if bundle := bundle_for(environment, java):
        store = f'"-Djavax.net.ssl.trustStore={trust_store(bundle, cache)}"'
        environment = with_option(environment, f"{store} -Djavax.net.ssl.trustStoreType=jks")
    if not environment.get("SPARK_CONF_DIR"):
        # Named, and not put on the class path as Spark's folder of settings: of a folder there is
        # no archive of classes.
        environment = with_option(environment, LOG_OPTION)
    environment = with_archive(environment, venv.archives, home, java, venv.lock)
    return Spark(home, environment, java)


def installed_java(venv: Venv | Site, environment: Mapping[str, str]) -> Java:
    """The Java for our own Spark; where there is none, one is installed beside it."""
    java = find_java(candidates(environment, venv.site_packages))
    if java is None:
        venv.install(JAVA)
        java = find_java(candidates(environment, venv.site_packages))
    if java is None:
        raise Refused(
            "the Java of requirements-java.lock does not run here. Install Java 17 and set "
            "JAVA_HOME."
        )
    given = environment.get("JAVA_HOME")
    if given and find_java([f"{given}/bin/java"]) is None:
        say(f"JAVA_HOME {given} is no Java 8, 11 or 17: {java.home} is used")
    return java


def cache_of(environment: Mapping[str, str]) -> Path:
    """The user's folder for what is fetched or made once."""
    given = environment.get("SESSION_REPAIR_CACHE")
    base = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME') or '~'}/.cache"
    return Path(given or f"{base}/session-repair").expanduser().absolute()


def made_cache(environment: Mapping[str, str]) -> Path:
    """That folder, which is made. Raises Refused where it cannot be."""
    cache = cache_of(environment)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise Refused(
            f"cannot write to {cache}. Set SESSION_REPAIR_CACHE to a folder that can be written."
        ) from None
    return cache


def spark_with_connector(
    line: CommandLine, venv: Venv | Site, environment: Mapping[str, str], gateway: Spark | None
) -> tuple[Spark, Connector]:
    """The Spark in use with its connector, all that is missing installed: what `setup` does."""
    cache = made_cache(environment)
    if gateway is None:
        spark = own_spark(venv, cache, environment)
    else:
        spark = gateway
        venv.install(MAIN)
    connector = connector_for(spark.home, cache)
    connector.install(spark.submit, spark.environment, fetch_options(line))
    return spark, connector


def found_connector(spark: Spark, cache: Path) -> Connector:
    """That of a gateway's Spark, where nothing is installed unasked."""
    connector = connector_for(spark.home, cache)
    if not connector.is_cached():
        raise Refused(
            f"the MongoDB connector is not in {connector.folder}. Run '{COMMAND} setup', or pass "
            f"--packages {connector.coordinates}"
        )
    return connector
