"""Spark: started beside the preflight, sized for the work, stopped by whoever started it."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import Any

from py4j.java_gateway import JavaPackage
from py4j.protocol import Py4JJavaError
from pymongo.database import Database
from pyspark import SparkContext
from pyspark.sql import SparkSession

from session_repair.cli.tls import Pem, read_pem, use_tls
from session_repair.errors import Refused, RepairError, Unreachable
from session_repair.home import COMMAND, LOG_CONFIG
from session_repair.launch.archive import with_option
from session_repair.launch.spark import LOG_OPTION
from session_repair.logs import JSON
from session_repair.mongo.collections import estimated_documents
from session_repair.mongo.rights import require_rights, rights_to_read
from session_repair.mongo.throttle import Stopped
from session_repair.repair.strategy import may_look_up
from session_repair.settings import Settings

log = logging.getLogger(__name__)

# What a right result depends on, whatever the user's configuration says; master, memory and the
# rest are left to it.
REQUIRED = {
    "spark.sql.session.timeZone": "UTC",  # stored dates are instants; no zone may bend them
    "spark.sql.datetime.java8API.enabled": "false",  # true breaks the connector's writes
    "spark.sql.ansi.enabled": "false",  # Spark 4's default; a missing element is null, no failure
    "spark.sql.caseSensitive": "true",  # field names that differ in case are different fields
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default is out of date
    # A session dated 1582 or 0001 is written as it is; the default stops at it.
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    # A MongoDB address holds a password: without these it would stand in the UI, in plans and in
    # the event log.
    "spark.redaction.regex": (
        r"(?i)secret|password|token|access[.]?key|connection[.]uri|mongodb(\+srv)?://"
    ),
    "spark.sql.redaction.options.regex": "(?i)url|uri",
    "spark.redaction.string.regex": r"mongodb(\+srv)?://([^\s@]*@)?[^\s,\]]+",
    # Rows that are sorted by session_id already are grouped by it in one step.
    "spark.sql.execution.replaceHashWithSortAgg": "true",
    # Of a frame without findings this rule takes the plan away, and what was observed with it.
    "spark.sql.adaptive.optimizer.excludedRules": (
        "org.apache.spark.sql.execution.adaptive.AQEPropagateEmptyRelation"
    ),
    "spark.sql.debug.maxToStringFields": "100",  # fewer are a warning on stderr
    "spark.sql.ui.explainMode": "formatted",  # "extended" prints a write's options all the same
}

SHUFFLE_PARTITIONS = "spark.sql.shuffle.partitions"
# Plans a query anew after each of its stages: 2 s that nothing is gained by where rows are few.
ADAPTIVE = "spark.sql.adaptive.enabled"
# A task costs 0.1 s whatever it holds, and this many sessions with all their pages fit in memory.
ROWS_PER_PARTITION = 100_000
# Each task that reads writes a block for each partition: of more, billions of events are dust.
MOST_PARTITIONS = 10_000

# Up to so many documents most of a run is the JVM compiling itself: the quick compiler alone halves
# its CPU time. Beyond, the thorough one pays. A look-up reads a part of them.
QUICKLY_READ, QUICKLY_LOOKED_UP = 1_000_000, 4_000_000
WHOLE_HEAP = "-XX:InitialRAMPercentage=100"  # of --driver-memory, at once: it is not grown by GCs
QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
# The findings of a session are one generated method of 11 kB; beyond 8 it would be interpreted.
LONG_METHODS = "-XX:-DontCompileHugeMethods"

# Java's log: conf/log4j2.properties reads these properties of the JVM.
LOG_FORMAT, LOG_RUN = "session_repair.log", "session_repair.run"
LOG_LEVEL = "spark.log.level"  # of the driver and of its executors

TESTED_CONNECTOR = "10.5.0"
LOGGING_VALUES = ("10.6.", "11.0.")  # connectors that log the values of documents at INFO

CANCEL_SECONDS = 0.5  # between two orders to Spark to end what it does

BUILD_PLANS = ("functions", "PythonUtils")  # what PySpark calls thousands of times for a plan

NOTHING: Mapping[str, str] = {}

URI = re.compile(r"mongodb(\+srv)?://\S+")


def new_session(app_name: str, more: Mapping[str, str] = NOTHING) -> SparkSession:
    """The session with the required settings, and ``more``."""
    builder = SparkSession.builder.appName(app_name)
    for name, value in {**REQUIRED, **more}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    jvm: Any = spark.sparkContext._jvm
    for name in BUILD_PLANS:
        found = getattr(jvm, name)
        if not isinstance(found, Remembered):
            setattr(jvm, name, Remembered(found))
    return spark


class Remembered:
    """A class of the JVM whose members are looked for once.

    py4j asks the JVM for the class and for the member whenever one is used, and Java then searches
    every jar for a class of the short name first: a third of the time that making a plan takes.
    """

    def __init__(self, found: Any) -> None:
        self.found = found

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.found, name)
        setattr(self, name, member)
        return member


def size_shuffles(spark: SparkSession, rows: int) -> None:
    """Shuffle so many rows into parts that fit in memory, unless the user sized them."""
    if not spark.sparkContext.getConf().contains(SHUFFLE_PARTITIONS):
        cores = spark.sparkContext.defaultParallelism
        partitions = max(ceil(rows / ROWS_PER_PARTITION), min(cores, 64))
        partitions = min(partitions, MOST_PARTITIONS)
        spark.conf.set(SHUFFLE_PARTITIONS, partitions)


def plan_few_once(spark: SparkSession, rows: int) -> None:
    """Leave adaptive execution to runs of many rows, unless the user chose."""
    if not spark.sparkContext.getConf().contains(ADAPTIVE):
        spark.conf.set(ADAPTIVE, rows > ROWS_PER_PARTITION)


def connector_version(spark: SparkSession) -> str | None:
    """That of the connector on the driver's class path; None where there is no connector."""
    jvm: Any = spark.sparkContext._jvm
    versions = jvm.com.mongodb.spark.connector.Versions
    return None if isinstance(versions, JavaPackage) else versions.VERSION


def refuse_connector(version: str | None) -> None:
    """Raise Refused where there is no connector, or one that logs what documents hold."""
    if version is None:
        raise Refused(
            f"Spark has no MongoDB connector. Start it with {COMMAND}, or with --packages."
        )
    if version.startswith(LOGGING_VALUES):
        raise Refused(
            f"version {version} of the MongoDB connector writes the values of fields into the log. "
            f"Use {TESTED_CONNECTOR}."
        )


@dataclass
class StartingSpark:
    """A session that a thread of its own is starting; the one that is there, if one is."""

    app_name: str
    is_ours: bool
    pem: Pem | None = None
    found: SparkSession | None = None
    failure: BaseException | None = None
    is_given_up: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.start, name="spark", daemon=True)
        self.thread.start()

    def start(self) -> None:
        try:
            tls = use_tls(self.pem) if self.pem else NOTHING
            spark = new_session(self.app_name, {**tls, **log_level()})
        except BaseException as error:
            self.failure = error
            return
        with self.lock:
            self.found = spark
            if not self.is_given_up:
                return
        spark.stop()

    def session(self, rows: int, run_id: str) -> SparkSession:
        """The session, its shuffles sized for so many rows, Java's log naming the run.

        Raises what kept it from starting.
        """
        self.thread.join()
        if self.found is None:
            raise self.failure or RuntimeError("Spark did not start")
        refuse_connector(connector_version(self.found))
        size_shuffles(self.found, rows)
        if self.is_ours:  # else whoever made it goes on to work with it
            plan_few_once(self.found, rows)
        context = self.found.sparkContext
        jvm: Any = context._jvm
        jvm.System.setProperty(LOG_RUN, run_id)
        context.setLocalProperty(f"mdc.{LOG_RUN}", run_id)  # which executors are told with a task
        log.info(
            "Spark %s is there: %s on %s, tasks at once: %d",
            *(context.version, context.applicationId, context.master, context.defaultParallelism),
        )
        return self.found

    def stop(self) -> None:
        """Stop the session; nobody waits for one that is still starting, but the next start."""
        with self.lock:
            self.is_given_up = True
            spark = self.found
        if spark is not None:
            spark.stop()
        else:
            GIVEN_UP.append(self.thread)


GIVEN_UP: list[threading.Thread] = []  # they stop what they start, and nobody else may take it


@contextmanager
def starting_spark(
    verb: str, database: Database[dict[str, Any]], settings: Settings
) -> Iterator[StartingSpark]:
    """Spark for a verb on these collections, started while this process does something else.

    It is stopped at the end, unless it was there before: a notebook's is the notebook's. What fails
    inside Spark becomes a RepairError. Raises Refused where the user may not read.
    """
    require_rights(database, settings, rights_to_read(settings))
    pem = read_pem(settings)
    while GIVEN_UP:
        GIVEN_UP.pop().join()
    is_ours = SparkContext._active_spark_context is None  # what is public tells of one thread only
    if is_ours and SparkContext._gateway is None:
        size_jvm(estimated_documents(database, settings), may_look_up(settings, verb))
        tell_jvm(log_options(settings))
    spark = StartingSpark(f"session-repair {verb}", is_ours, pem)
    try:
        with time_limit(spark, settings.max_time):
            yield spark
    except Py4JJavaError as error:
        raise spark_error(error) from error
    finally:
        if is_ours:
            spark.stop()


@contextmanager
def time_limit(spark: StartingSpark, limit: timedelta | None) -> Iterator[None]:
    """Raises Stopped when the limit cuts off what Spark does within the block.

    It may just write the journal: a plan that is not whole is made anew by ``resume``.
    """
    is_over, is_done = threading.Event(), threading.Event()

    def watch(seconds: float) -> None:
        if is_done.wait(seconds):
            return
        is_over.set()
        while not is_done.wait(CANCEL_SECONDS):  # the driver may just begin the next job
            if spark.found is not None:
                spark.found.sparkContext.cancelAllJobs()

    if limit is not None:
        threading.Thread(target=watch, args=[limit.total_seconds()], daemon=True).start()
    try:
        yield
    except Py4JJavaError:
        if is_over.is_set():
            raise Stopped(
                "--max-time is over, and what is to be done was not found out yet: no session was "
                "written. Allow more time, or look at fewer sessions with --since."
            ) from None
        raise
    finally:
        is_done.set()


def size_jvm(documents: int, is_look_up: bool) -> None:
    """Tell the JVM that is about to be started how much work there is; the user's options win."""
    few = QUICKLY_LOOKED_UP if is_look_up else QUICKLY_READ
    tell_jvm([WHOLE_HEAP, LONG_METHODS, *([QUICK_COMPILER] if documents <= few else [])])


def tell_jvm(options: list[str]) -> None:
    """Options of the JVM that is about to be started; of those given twice the user's win."""
    os.environ.update(with_option(os.environ, " ".join(options)))


def log_options(settings: Settings) -> list[str]:
    """What makes the JVM's lines as ours are, where lines for a program were asked for."""
    is_wanted = settings.log_format == JSON or log.isEnabledFor(logging.INFO)
    if not is_wanted or not LOG_CONFIG.exists():  # a package on a cluster brings none
        return []
    return [LOG_OPTION, f"-D{LOG_FORMAT}={settings.log_format}"]


def log_level() -> dict[str, str]:
    """Spark's setting that makes it tell what it does, where all is to be told."""
    return {LOG_LEVEL: "INFO"} if log.isEnabledFor(logging.DEBUG) else {}


# Exceptions of the connector's driver that mean MongoDB was away; Spark wraps them in its own.
AWAY = ("MongoTimeout", "MongoSocket", "MongoNotPrimary", "MongoNodeIsRecovering", "MongoServerUn")
TLS_REASON = re.compile(r"javax\.net\.ssl\.\w+: ([^\n}]+)")
DENIED = ("MongoSecurityException", "Unauthorized", "error 13 ", "error 18 ")


def spark_error(error: Py4JJavaError) -> RepairError:
    """What a failure inside Spark means to the user; its cause in one line, without secrets."""
    trace = str(error)
    causes = [line.strip() for line in trace.splitlines() if line.startswith("Caused by: ")]
    cause = causes[-1].removeprefix("Caused by: ") if causes else str(error.java_exception)
    line = URI.sub("mongodb://…", cause.partition("\n")[0])[:500]
    if "javax.net.ssl" in trace:
        return Unreachable(
            f"Spark's connection to MongoDB failed in TLS: {TLS_REASON.findall(trace)[-1]}. "
            "Name the authority in tls.ca_file; see docs/tls.md."
        )
    if any(name in trace for name in AWAY):
        return Unreachable(f"MongoDB was away while Spark worked: {line}")
    if any(name in trace for name in DENIED):
        return Refused(f"MongoDB denies Spark a right: {line}")
    return RepairError(f"Spark failed: {line}")
