"""What is measured: the job's commands and the other ways, each with the result to compare."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.data import DATABASE, MORE_AGGREGATES, Bench
from benchmarks.measure import Cost, measured
from benchmarks.peers import rebuilt

ROOT = Path(__file__).resolve().parents[1]
FIX, VERIFY, SESSION_ID, DAY, OUTAGE, RUN, DECLARED = VERBS = (
    *("fix", "verify", "session-id"),
    *("day", "outage", "run", "declared"),
)
FIX_DAY, VERIFY_DAY, VERIFY_RUN = "fix, last day", "verify, last day", "verify --run"
FIX_OUTAGE = "fix, a day of the outage"
VERIFY_DECLARED = {number: f"verify, {number} declared" for number in (0, 1, 3)}
AGAINST = " (against)"  # marks the same command of the other checkout
CLEAN, FIXABLE_REMAINS = 0, 3  # the job's exit codes
GUIDE_LOOP = "guide's loop"
EMPTY = "empty Spark"

Result = Mapping[str, Any]

# What spark-submit.sh gives a Spark of its own, as the environment of a process.
SPARK_ENVIRONMENT = """
set -euo pipefail
exports=$(./spark-submit.sh env)
eval "$exports"
env -0
"""


@dataclass(frozen=True)
class Contender:
    """One way to do the work of one verb."""

    name: str
    verb: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    result_of: Callable[[Bench, str], Result]  # of the server afterwards, and of what was printed
    expected: int = CLEAN
    writes: bool = False
    prepare: Callable[[Bench], str] = lambda _: ""  # what stands for {made} in the command

    def run(self, bench: Bench) -> tuple[Cost, Result]:
        """What it cost and what came of it. The bench has to be as it was generated."""
        named = {"{uri}": bench.uri, "{made}": self.prepare(bench)}
        command = list(self.command)
        for name, value in named.items():
            command = [part.replace(name, value) for part in command]
        environment = {**self.environment, "MONGODB_URI": bench.uri}
        cost, output = measured(command, environment, bench.member.pid, self.expected)
        return cost, self.result_of(bench, output)


def contenders(
    bench: Bench,
    verbs: tuple[str, ...],
    checkouts: Mapping[str, Path],
    spark_options: str,
    with_guide_loop: bool,
) -> list[Contender]:
    """Ours of every checkout (by the mark of its name), and the peers of the verbs."""
    options = shlex.split(spark_options)
    found = [
        replace(it, name=f"{it.name}{mark}")
        for mark, checkout in checkouts.items()
        for it in of_checkout(bench, checkout, options)
    ]
    found += of_windows(bench, checkouts[""], options)
    found += [*of_declared(bench, checkouts[""], options), *peers(), *spark_peers()]
    # The guide's loop is what verify is measured by, too.
    is_loop_wanted = with_guide_loop and bool({FIX, VERIFY} & set(verbs))
    wanted = [it for it in found if is_loop_wanted or it.name != GUIDE_LOOP]
    # And a day, and a run, by the start and end of Spark.
    is_empty_wanted = bool({SESSION_ID, DAY, RUN} & set(verbs))
    wanted = [
        it
        for it in wanted
        if it.verb in verbs or it.name == GUIDE_LOOP or (it.name == EMPTY and is_empty_wanted)
    ]
    return sorted(wanted, key=lambda it: VERBS.index(it.verb))  # what is compared runs in a row


def of_checkout(bench: Bench, checkout: Path, options: list[str]) -> Iterator[Contender]:
    """The job's commands, whole, as a user types them."""
    start = (str(checkout / "spark-submit.sh"), *options)
    clean = clean_environment()
    report = bench.member.folder / "verify.json"
    verify, fix = (*start, "verify", "--json", str(report)), (*start, "fix", "--apply")

    def found(bench: Bench, output: str) -> Result:
        return found_by_verify(report)

    one = bench.broken_session()

    def repaired(bench: Bench, output: str) -> Result:
        return only_repaired(bench, one)

    by_id = (*fix, "--session-id", one["session_id"])
    yield Contender(FIX, FIX, fix, clean, digest, writes=True)
    yield Contender(VERIFY, VERIFY, verify, clean, found, FIXABLE_REMAINS)
    yield Contender(SESSION_ID, SESSION_ID, by_id, clean, repaired, writes=True)


def of_windows(bench: Bench, checkout: Path, options: list[str]) -> Iterator[Contender]:
    """Days of the 28, and one more look at the sessions of a run.

    The last day is what a nightly run reads; one of the outage has an eighth of all that is broken.
    """
    start = (str(checkout / "spark-submit.sh"), *options)
    clean = clean_environment()
    first, last = (bench.database["events"].find_one(sort=[("_id", it)]) for it in (1, -1))
    assert first is not None
    assert last is not None
    last_day = ("--since", (last["timestamp"] - timedelta(days=1)).isoformat())
    noon = first["timestamp"].replace(hour=12, minute=0, second=0, microsecond=0)
    days = [(noon + timedelta(days=number)).isoformat() for number in (13, 14, 15)]
    outage = ("--since", days[0], "--until", days[1])
    two_days = (*start, "fix", "--apply", "--since", days[0], "--until", days[2])

    def indexed(bench: Bench) -> str:
        bench.index_for_windows()
        return ""

    def repaired(bench: Bench) -> str:
        bench.index_for_windows()
        subprocess.run(two_days, env={**clean, "MONGODB_URI": bench.uri}, check=True)
        run = bench.database["session_repair_runs"].find_one({"state": "done"})
        assert run is not None
        return str(run["_id"])

    def left(bench: Bench, output: str) -> Result:
        return {"left": bench.database["sessions"].count_documents({"event_count": 0})}

    for name, verb, day in ((FIX_DAY, DAY, last_day), (FIX_OUTAGE, OUTAGE, outage)):
        fix = (*start, "fix", "--apply", *day)
        yield Contender(name, verb, fix, clean, left, writes=True, prepare=indexed)
    verify = (*start, "verify", *last_day)
    # What it leaves, the indexes, is put back too.
    yield Contender(
        VERIFY_DAY, DAY, verify, clean, nothing, FIXABLE_REMAINS, writes=True, prepare=indexed
    )
    again = (*start, "verify", "--run", "{made}")
    yield Contender(VERIFY_RUN, RUN, again, clean, nothing, writes=True, prepare=repaired)


def of_declared(bench: Bench, checkout: Path, options: list[str]) -> Iterator[Contender]:
    """The same verify with none, one, three more aggregates, which the sessions hold rightly."""
    clean = clean_environment()
    report = bench.member.folder / "verify.json"

    def held(bench: Bench) -> str:
        bench.keep_more_aggregates()
        return ""

    def found(bench: Bench, output: str) -> Result:
        return found_by_verify(report)

    for number, name in VERIFY_DECLARED.items():
        config = bench.member.folder / f"declared-{number}.toml"
        config.write_text("\n".join(MORE_AGGREGATES[:number]))
        verify = ("verify", "--config", str(config), "--json", str(report))
        command = (str(checkout / "spark-submit.sh"), *options, *verify)
        expected = FIXABLE_REMAINS
        # What it leaves, the aggregates, is put back too.
        yield Contender(name, DECLARED, command, clean, found, expected, writes=True, prepare=held)


def nothing(bench: Bench, output: str) -> Result:
    return {}


def peers() -> Iterator[Contender]:
    """The ways without Spark."""
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "benchmarks.peers")
    writing = {GUIDE_LOOP: "guide-loop", "pymongo": "pymongo", "server only": "server-only"}
    for name, peer in writing.items():
        arguments = (*command, peer, "{uri}", DATABASE)
        yield Contender(name, FIX, arguments, environment, digest, writes=True)
    group = (*command, "server-group", "{uri}", DATABASE)
    yield Contender("server $group", VERIFY, group, environment, group_result)


def spark_peers() -> Iterator[Contender]:
    """What Spark itself costs, with the settings of this checkout's conf/."""
    environment = {**spark_environment(), "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "benchmarks.spark_peers")
    scan = (*command, "scan", "{uri}", DATABASE)
    yield Contender("connector scan", VERIFY, scan, environment, printed)
    empty = (*command, "empty-spark", "{uri}", DATABASE)
    yield Contender(EMPTY, SESSION_ID, empty, environment, printed)


def digest(bench: Bench, output: str) -> Result:
    return {"digest": bench.digest()}


def printed(bench: Bench, output: str) -> Result:
    result: Result = json.loads(output)
    return result


def group_result(bench: Bench, output: str) -> Result:
    result = printed(bench, output)
    return {"events": result["events"], "sessions_with_events": result["sessions"]}


def found_by_verify(report: Path) -> Result:
    """The totals of verify, read from what `--json` wrote."""
    written = json.loads(report.read_text())
    report.unlink()
    totals = written["totals"]
    without = next(it["found"] for it in written["symptoms"] if it["code"] == "orphan_session")
    return {
        "sessions": totals["sessions"],
        "events": totals["events"],
        "sessions_with_events": totals["sessions"] - without,
    }


def only_repaired(bench: Bench, before: Mapping[str, Any]) -> Result:
    """What became of one session, after a plain-Python look at it and at the others.

    Raises RuntimeError when it is not what its events say, or when it is not the only one.
    """
    sessions, events = bench.database["sessions"], bench.database["events"]
    should = {**before, **rebuilt(list(events.find({"session_id": before["session_id"]})))}
    after = sessions.find_one({"_id": before["_id"]})
    left = sessions.count_documents({"event_count": 0})
    if after != should or left != bench.figures.empty - 1:
        raise RuntimeError(f"{before} became {after}, not {should}; {left} empty sessions are left")
    return {"digest": bench.digest()}


def clean_environment() -> dict[str, str]:
    """The environment of a user who has set nothing for Spark."""
    other = ("SPARK_", "PYSPARK_", "MONGODB_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(other)}


def spark_environment() -> dict[str, str]:
    done = subprocess.run(
        ["bash", "-c", SPARK_ENVIRONMENT],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    pairs = done.stdout.decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)
