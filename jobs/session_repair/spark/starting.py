"""Spark: started beside the preflight, sized for the work, stopped by whoever started it."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from subprocess import TimeoutExpired
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from session_repair.errors import BrokenOff, Refused, RepairError, Stopped, Unreachable
from session_repair.home import LOG_CONFIG
from session_repair.launch.archive import with_option
from session_repair.launch.spark import LOG_OPTION
from session_repair.logs import JSON, TEXT
from session_repair.mongo.census import estimated_documents
from session_repair.mongo.connection import NO_SCAN, SCANS_FORBIDDEN
from session_repair.mongo.lookup import may_look_up
from session_repair.mongo.rights import require_rights, rights_to_read
from session_repair.mongo.store import Store
from session_repair.ongoing import ongoing, since
from session_repair.settings import Settings
from session_repair.spark.session import (
    connector_version,
    new_session,
    plan_once,
    refuse_connector,
    size_shuffles,
)
from session_repair.spark.tls import Pem, read_pem, use_tls

log = logging.getLogger(__name__)

# Up to so many documents most of a run is the JVM compiling itself: the quick compiler alone halves
# its CPU time. Beyond, the thorough one pays for what runs for each document, which is told from
# what plans by ten times the usual number of calls. A look-up reads a part of the documents.
QUICKLY_READ, QUICKLY_LOOKED_UP = 1_000_000, 4_000_000
WHOLE_HEAP = "-XX:InitialRAMPercentage=100"  # of --driver-memory, at once: it is not grown by GCs
QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
LATE_THOROUGH_COMPILER = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
# The findings of a session are one generated method of 11 kB; beyond 8 it would be interpreted.
LONG_METHODS = "-XX:-DontCompileHugeMethods"
# Java's log: conf/log4j2.properties reads these properties of the JVM.
LOG_FORMAT, LOG_RUN = "session_repair.log", "session_repair.run"
LOG_LEVEL = "spark.log.level"  # of the driver and of its executors

ENDED = Py4JNetworkError, ConnectionError  # of a JVM that is gone
NO_ROOM, STOPPED = "No space left on device", "stopped SparkContext"
NO_JAVA = "JAVA_GATEWAY_EXITED"  # PySpark's name for a JVM that did not come up

CANCEL_SECONDS = 0.5  # between two orders to Spark to end what it does
ENDING_SECONDS = 0.5  # between the end of its connections and that of a process

URI = re.compile(r"mongodb(\+srv)?://\S+")


@dataclass
class StartingSpark:
    """A session that a thread of its own is starting; the one that is there, if one is."""

    app_name: str
    is_ours: bool
    pem: Pem | None
    until: float | None  # by time.monotonic: who waits for the session waits no longer
    found: SparkSession | None = None
    failure: BaseException | None = None
    is_given_up: bool = False
    told: ExitStack = field(default_factory=ExitStack)  # that it is starting
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.start, name="spark", daemon=True)
        self.thread.start()

    def start(self) -> None:
        try:
            tls = use_tls(self.pem) if self.pem else {}
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

        Raises what kept it from starting; Stopped where the time was over first.
        """
        self.thread.join(None if self.until is None else max(self.until - time.monotonic(), 0))
        self.told.close()
        if self.thread.is_alive():
            raise Stopped(
                "--max-time is over, and Spark has not started: no session was read or written. "
                "Allow more time, or look at what the cluster waits for."
            )
        if self.found is None:
            if NO_JAVA in str(self.failure) or isinstance(self.failure, ENDED):
                raise Refused(
                    "Spark's Java ended before it was there; what it said of that stands above. "
                    "Look at --driver-memory and at the options for Java."
                )
            raise self.failure or RuntimeError("Spark did not start")
        refuse_connector(connector_version(self.found))
        size_shuffles(self.found, rows)
        if self.is_ours:  # else whoever made it goes on to work with it
            plan_once(self.found, rows)
        context = self.found.sparkContext
        jvm: Any = context._jvm
        jvm.System.setProperty(LOG_RUN, run_id)
        context.setLocalProperty(f"mdc.{LOG_RUN}", run_id)  # which executors are told with a task
        log.info(
            "Spark %s is there: %s on %s, tasks at once: %d",
            *(context.version, context.applicationId, context.master, context.defaultParallelism),
        )
        return self.found

    def hush(self) -> None:
        """From now on Java tells nothing of what is ended, unless all is to be told."""
        if self.found is not None and not log.isEnabledFor(logging.DEBUG):
            jvm: Any = self.found.sparkContext._jvm
            with suppress(Py4JError):  # it is gone
                log4j = jvm.org.apache.logging.log4j
                log4j.core.config.Configurator.setAllLevels("", log4j.Level.OFF)

    def stop(self) -> None:
        """Stop the session; nobody waits for one that is still starting, but the next start."""
        with self.lock:
            self.is_given_up = True
            spark = self.found
        if spark is None:
            GIVEN_UP.append(self.thread)
        elif not is_java_gone():
            with suppress(*ENDED):
                spark.stop()


GIVEN_UP: list[threading.Thread] = []  # they stop what they start, and nobody else may take it


@contextmanager
def starting_spark(verb: str, store: Store) -> Iterator[StartingSpark]:
    """Spark for a verb on these collections, started while this process does something else.

    It is stopped at the end, unless it was there before: a notebook's is the notebook's. What fails
    inside Spark becomes a RepairError. Raises Refused where the user may not read.
    """
    require_rights(store, rights_to_read(store.settings))
    pem = read_pem(store.settings)
    while GIVEN_UP:
        GIVEN_UP.pop().join()
    is_ours = SparkContext._active_spark_context is None  # what is public tells of one thread only
    if is_ours and SparkContext._gateway is None:
        size_jvm(estimated_documents(store), may_look_up(store.settings, verb))
        tell_jvm(log_options(store.settings))
    limit = store.settings.max_time
    until = None if limit is None else time.monotonic() + limit.total_seconds()
    spark = StartingSpark(f"session-repair {verb}", is_ours, pem, until)
    try:
        with time_limit(spark, limit), spark.told as told:
            told.enter_context(ongoing(since("Starting Spark, and asking what there is to read")))
            yield spark
    except (Py4JJavaError, PySparkException) as error:
        raise spark_error(error) from error
    except RepairError:
        raise
    except KeyboardInterrupt:
        spark.hush()
        raise
    except Exception as error:
        if not is_java_gone():
            raise
        raise BrokenOff(
            "Spark's Java ended while it worked: it was killed, or had no memory left. Look at "
            "--driver-memory, and at what the system says of the process."
        ) from error
    finally:
        if is_ours:
            spark.stop()


def is_java_gone() -> bool:
    """Whether the JVM that this process started has ended; asked when it does not answer."""
    process = getattr(SparkContext._gateway, "proc", None)
    if process is None:  # none was started, or this process was by one
        return False
    with suppress(TimeoutExpired):
        process.wait(ENDING_SECONDS)
    return process.returncode is not None


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
                with suppress(Py4JError):  # Java is gone: who waits for it says so
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
    compiler = QUICK_COMPILER if documents <= few else LATE_THOROUGH_COMPILER
    tell_jvm([WHOLE_HEAP, LONG_METHODS, compiler])


def tell_jvm(options: list[str]) -> None:
    """Options of the JVM that is about to be started; of those given twice the user's win."""
    os.environ.update(with_option(os.environ, " ".join(options)))


def log_options(settings: Settings) -> list[str]:
    """What makes the JVM's lines as ours are, where more than the messages was asked for."""
    is_wanted = settings.log_format != TEXT or log.isEnabledFor(logging.INFO)
    if not is_wanted or not LOG_CONFIG.exists():  # a package on a cluster brings none
        return []
    return [LOG_OPTION, f"-D{LOG_FORMAT}={JSON if settings.log_format == JSON else TEXT}"]


def log_level() -> dict[str, str]:
    """Spark's setting that makes it tell what it does, where all is to be told."""
    return {LOG_LEVEL: "INFO"} if log.isEnabledFor(logging.DEBUG) else {}


# Exceptions of the connector's driver that mean MongoDB was away; Spark wraps them in its own.
AWAY = ("MongoTimeout", "MongoSocket", "MongoNotPrimary", "MongoNodeIsRecovering", "MongoServerUn")
TLS_REASON = re.compile(r"javax\.net\.ssl\.\w+: ([^\n}]+)")
DENIED = ("MongoSecurityException", "Unauthorized", "error 13 ", "error 18 ")


def spark_error(error: Py4JJavaError | PySparkException) -> RepairError:
    """What a failure inside Spark means to the user; its cause in one line, without secrets."""
    trace = str(error)
    causes = [line.strip() for line in trace.splitlines() if line.startswith("Caused by: ")]
    told = str(error.java_exception) if isinstance(error, Py4JJavaError) else trace
    cause = causes[-1].removeprefix("Caused by: ") if causes else told
    line = URI.sub("mongodb://…", cause.partition("\n")[0])[:500]
    if "javax.net.ssl" in trace:
        return Unreachable(
            f"Spark's connection to MongoDB failed in TLS: {TLS_REASON.findall(trace)[-1]}. "
            "Name the authority in tls.ca_file; see docs/tls.md."
        )
    if NO_ROOM in trace:
        return RepairError(
            f"Spark has no room for what does not fit in memory: {NO_ROOM}. Let SPARK_LOCAL_DIRS "
            "name a folder that has."
        )
    if STOPPED in trace:
        return RepairError(
            "the cluster ended Spark, or its master did not answer as one; what it said of that "
            "stands above. Check --master, and look at the cluster."
        )
    if NO_SCAN in trace:
        return Refused(SCANS_FORBIDDEN)
    if any(name in trace for name in AWAY):
        return Unreachable(f"MongoDB was away while Spark worked: {line}")
    if any(name in trace for name in DENIED):
        return Refused(f"MongoDB denies Spark a right: {line}")
    return BrokenOff(f"Spark failed: {line}")
