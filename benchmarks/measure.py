"""One command, measured: time, CPU, memory, and what it cost the server meanwhile."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.1
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
PR_SET_CHILD_SUBREAPER = 36
QUIET_SECONDS, QUIET_SHARE = 2.0, 0.1  # of one core
GOODBYE_SECONDS = 30.0  # for a JVM to end after its driver
SHOWN = 3_000  # characters of the output of a command that failed
PPID, SESSION, UTIME, STIME, RSS = 3, 5, 13, 14, 23  # fields of /proc/PID/stat, from 0


@dataclass(frozen=True)
class Cost:
    """What one command took. CPU and memory are those of all its processes together."""

    wall: float  # seconds until the command returned
    cpu: float  # seconds, the JVM's end included
    mongod_cpu: float  # seconds of the server meanwhile
    other_cpu: float  # seconds of everything else on the machine: how disturbed the figures are
    peak_mb: float  # largest sum of resident memory that was sampled


class CommandFailed(RuntimeError):
    """A command ended with another exit code than it should; the message holds its output."""


def reap_orphans() -> None:
    """From now on a JVM that outlives its driver is this process's child, and so is counted."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def measured(
    command: Sequence[str], environment: Mapping[str, str], mongod: int, expected: int = 0
) -> tuple[Cost, str]:
    """The cost of the command and what it printed. Call `reap_orphans` once before.

    Raises CommandFailed when it ends with another exit code.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        busy, served, own = busy_seconds(), cpu_of(mongod), own_seconds()
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=err, start_new_session=True
        )
        try:
            peak = watch(process)
            wall = time.monotonic() - began
            wait_for_the_rest(process.pid)
        except BaseException:
            kill_session(process)
            raise
        cpu = children_seconds() - own.children
        mongod_cpu = cpu_of(mongod) - served
        mine = cpu + mongod_cpu + own_seconds().itself - own.itself
        other = busy_seconds() - busy - mine
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    if process.returncode != expected:
        raise CommandFailed(
            f"{' '.join(command)}: exit code {process.returncode}, not {expected}\n"
            + "\n".join(text[-SHOWN:] for text in texts)
        )
    return Cost(wall, cpu, mongod_cpu, max(0.0, other), peak / 1e6), texts[0]


def wait_until_quiet(at_most: float) -> None:
    """Returns when the machine was as good as idle for a while, or after so many seconds."""
    deadline = time.monotonic() + at_most
    while time.monotonic() < deadline:
        busy = busy_seconds()
        time.sleep(QUIET_SECONDS)
        if busy_seconds() - busy < QUIET_SECONDS * QUIET_SHARE:
            return


def watch(process: subprocess.Popen[bytes]) -> int:
    """The largest sum of resident bytes of the process and its descendants, until it ends."""
    peak = 0
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(SAMPLE_SECONDS)
            return peak
        peak = max(peak, sum(int(it[RSS]) * PAGE for it in of_session(process.pid)))


def wait_for_the_rest(session: int) -> None:
    """Waits until no process of the session is left, and takes in what each has used."""
    deadline = time.monotonic() + GOODBYE_SECONDS
    while rest := list(of_session(session)):
        for stat in rest:
            if int(stat[PPID]) == os.getpid():
                with suppress(ChildProcessError):
                    os.waitpid(int(stat[0]), os.WNOHANG)
        if time.monotonic() > deadline:
            raise CommandFailed(f"processes were left: {[stat[:2] for stat in rest]}")
        time.sleep(SAMPLE_SECONDS / 10)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    for stat in of_session(process.pid):
        with suppress(ProcessLookupError):
            os.kill(int(stat[0]), signal.SIGKILL)
    process.wait()


def of_session(session: int) -> Iterator[list[str]]:
    """The fields of /proc/PID/stat of every process of that session."""
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            with suppress(OSError):
                stat = stat_of(int(folder))
                if int(stat[SESSION]) == session:
                    yield stat


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat; the name, which may hold blanks, is one of them."""
    start, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    number, _, name = start.partition(" (")
    return [number, name, *rest.split()]


def cpu_of(pid: int) -> float:
    """CPU seconds of a running process so far, its threads included."""
    stat = stat_of(pid)
    return (int(stat[UTIME]) + int(stat[STIME])) / TICK


@dataclass(frozen=True)
class OwnSeconds:
    """CPU seconds of this process, and of those that it has waited for."""

    itself: float
    children: float


def own_seconds() -> OwnSeconds:
    return OwnSeconds(time.process_time(), children_seconds())


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_seconds() -> float:
    """CPU seconds that all cores have been busy since the start of the machine."""
    user, nice, system, _, _, irq, softirq, *_ = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICK
