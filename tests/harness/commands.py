"""The job's commands: one run of a verb in this process, or as a process that a test can kill."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import delete_orphan_sessions
import fix_empty_sessions
import resume_run
import verify_sessions
from session_repair.cli.commands import main
from tests.harness.documents import Db, Document
from tests.harness.needs import require

ROOT = Path(__file__).resolve().parents[2]
# The others are verbs of the package.
WITH_SPARK = {
    "verify": verify_sessions.main,
    "fix": fix_empty_sessions.main,
    "delete-orphans": delete_orphan_sessions.main,
    "resume": resume_run.main,
}
SPARK_OPTIONS = ("--master", "local[2]", "--driver-memory", "768m")
# What run-tests.sh and a Spark inside pytest leave in the environment is not the user's.
OF_THE_TESTS = ("SPARK_", "PYSPARK_", "MONGODB_URI", "JAVA_TOOL_OPTIONS")
OF_ITS_USER = ("SPARK_CONF_DIR", "SPARK_LOCAL_IP", "PYSPARK_PYTHON")
PATIENCE = 300.0  # seconds; a run with Spark takes 15 on an idle machine
# What it is at, each half minute: on a slow machine a small run says it too.
ONGOING = re.compile(
    r"(?m)^(Starting Spark, and asking what there is to read: .*"
    r"|Reading( again)?: \d+ of about \d+ documents.*"
    r"|(Comparing sessions with their events|Writing the (plan|datasets))"
    r"(: \d+ of \d+ tasks? done)?"
    r"|Reading back what was written: .*)\n"
)
RUN_NAMED = re.compile(r"\A(Run r\d{8}-\d{6}-[0-9a-f]{6}\n)?(Strategy (scan|lookup): .*\n)*")


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code, its report, its complaints."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """All that it printed."""
        return self.out + self.err

    @property
    def complaints(self) -> str:
        """stderr but for the lines that name the run, the way it reads, and what it is at."""
        return RUN_NAMED.sub("", ONGOING.sub("", self.err))

    def figure(self, label: str) -> int:
        """The number that stands behind the label in the report."""
        found = [line for line in self.out.splitlines() if line.strip().startswith(f"{label}: ")]
        assert len(found) == 1, f"{label!r} stands on {len(found)} lines of:\n{self.out}"
        return int(found[0].rpartition(": ")[2])


# In this process

Command = Callable[..., Ended]  # command(VERB, *OPTIONS, on=DATABASE, uri=…)


def command_at(own_uri: str) -> Command:
    """Runs a verb in this process, with MONGODB_URI set to ``uri``, or unset where that is None."""

    def run(verb: str, *options: str, on: Db | None = None, uri: str | None = own_uri) -> Ended:
        words = [*options, *(() if on is None else ("--database", on.name))]
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MONGODB_URI", raising=False)
            if uri is not None:
                patch.setenv("MONGODB_URI", uri)
            with redirect_stdout(out), redirect_stderr(err):
                code = WITH_SPARK[verb](words) if verb in WITH_SPARK else main([verb, *words])
        return Ended(code, text_of(out), text_of(err))

    return run


def text_of(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def reported(command: Command, verb: str, *options: str, on: Db) -> tuple[int, Document]:
    """The exit code of a verb, and the report that its --json wrote."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        ended = command(verb, *options, "--json", str(file), on=on)
        report: Document = json.loads(file.read_text())
    return ended.code, report


# As a process


def environment(uri: str | None) -> dict[str, str]:
    """That of a user, with this MONGODB_URI or none."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OF_THE_TESTS)}
    if home := os.environ.get("SPARK_UNDER_TEST"):  # run-tests.sh --spark
        kept |= {"SPARK_HOME": home, **{name: os.environ[name] for name in OF_ITS_USER}}
    return {**kept, **({} if uri is None else {"MONGODB_URI": uri})}


def may_start(*arguments: str) -> None:
    """As a process a verb without Spark takes a second; one with Spark has to be needed."""
    if any(it in WITH_SPARK or it == "demo" for it in arguments):
        require("spark_process")


def run_to_end(
    words: Sequence[str | Path],
    variables: Mapping[str, str],
    timeout: float,
    folder: Path | None = None,
) -> Ended:
    """A whole run of a command, with this environment, in this folder or the tests' own."""
    ended = subprocess.run(
        words,
        env=variables,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def spark_submit(*arguments: str, uri: str | None = None, timeout: float = 240) -> Ended:
    """A whole run of ``./spark-submit.sh`` as a user starts it."""
    may_start(*arguments)
    return run_to_end([ROOT / "spark-submit.sh", *arguments], environment(uri), timeout)


def run_into(output: str, uri: str, db: Db, *words: str) -> int:
    """The exit code of ``./spark-submit.sh`` in a shell, its output led there."""
    may_start(*words)
    line = f'set -o pipefail; "$0" "$@" {output}'
    options = SPARK_OPTIONS if words[0] == "fix" else ()
    command = ["bash", "-c", line, str(ROOT / "spark-submit.sh"), *options, *words]
    command += ["--database", db.name]
    return subprocess.run(command, env=environment(uri), timeout=PATIENCE, check=False).returncode


@dataclass(frozen=True)
class Process:
    """A started command in a process group of its own, which holds its JVM and its Python."""

    popen: subprocess.Popen[bytes]
    output: Path

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.popen.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the JVM and to Python at once. Harmless when the command has ended."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.popen.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.popen.pid, number)

    def text(self) -> str:
        """What the command printed so far, on stdout and stderr."""
        return self.output.read_text(errors="replace")


@contextmanager
def started(
    uri: str, database: str, verb: str, *arguments: str, spark_options: Iterable[str] = ()
) -> Iterator[Process]:
    """``./spark-submit.sh VERB …`` on the database; what is left of it at the end is killed."""
    may_start(verb)
    spark = [*SPARK_OPTIONS, *spark_options] if verb in WITH_SPARK else []
    with tempfile.NamedTemporaryFile(prefix="run-", suffix=".log") as output:
        popen = subprocess.Popen(
            [str(ROOT / "spark-submit.sh"), *spark, verb, *arguments, "--database", database],
            env=environment(uri),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        process = Process(popen, Path(output.name))
        try:
            yield process
        finally:
            if popen.poll() is None:
                process.kill()
