"""Spark at work, and what ends it: Ctrl-C, SIGTERM, a JVM that is killed. Each time one line with
the way on, the exit code, the lease free, the run as it is. ``--json -`` is JSON whatever comes.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from demo.generate import generate
from session_repair import __version__
from tests.harness.commands import PATIENCE, ROOT, SPARK_OPTIONS, environment, run_to_end
from tests.harness.documents import JOURNAL, Db, differing, stored_bytes
from tests.harness.holds import Hold, Point
from tests.harness.runs import LONG_AGO, lease_of, the_run
from tests.oracle import recomputed_documents

SESSIONS = 100
READING = Point("getMore", "events")  # of Spark: to verify itself no answer is that long
WRITING = Point("insert", JOURNAL)


@dataclass(frozen=True)
class Broken:
    code: int
    out: str
    err: list[str]


def java_of(pid: int) -> int:
    """The JVM that the process started: it stands in its session."""
    found = subprocess.run(["pgrep", "-s", str(pid), "java"], capture_output=True, check=True)
    return int(found.stdout)


def kill_java(process: subprocess.Popen[str]) -> None:
    subprocess.run(["kill", "-9", str(java_of(process.pid))], check=True)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


def broken_off(
    uri: str, db: Db, hold: Hold, point: Point, end: Callable[[Any], None], *words: str
) -> Broken:
    """A verb that is ended while a command of Spark's is held."""
    hold.at(db, point)
    process = subprocess.Popen(
        [ROOT / "spark-submit.sh", *SPARK_OPTIONS, *words, "--json", "-", "--database", db.name],
        env=environment(uri),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    hold.wait()
    end(process)
    out, err = process.communicate(timeout=PATIENCE)
    hold.kill()
    return Broken(process.returncode, out, err.splitlines())


JAVA_IS_GONE = (
    "fix: Spark's Java ended while it worked: it was killed, or had no memory left. Look at "
    "--driver-memory, and at what the system says of the process"
)


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [
        (kill_java, 1, JAVA_IS_GONE),
        (interrupt, 130, "fix: interrupted"),
        (terminate, 130, "fix: interrupted"),
    ],
    ids=["java killed", "Ctrl-C", "SIGTERM"],
)
def test_what_ends_spark_at_work_is_one_line_and_can_be_resumed(
    db: Db,
    mongo_uri: str,
    hold: Hold,
    end: Callable[[Any], None],
    code: int,
    says: str,
) -> None:
    generate(db, SESSIONS)
    before, expected = stored_bytes(db), recomputed_documents(db)
    ended = broken_off(mongo_uri, db, hold, WRITING, end, "fix", "--apply")
    run = the_run(db)
    resume = f"./spark-submit.sh resume {run['_id']} --database {db.name}"
    line = f"{says}. Finish it with: {resume}"
    told = [it for it in ended.err if not it.startswith(("Run r", "Strategy "))]
    assert (ended.code, told) == (code, [line])
    assert json.loads(ended.out) == {
        "verdict": code,
        "version": __version__,
        "error": line.removeprefix("fix: "),
        "run_id": run["_id"],
    }
    assert (run["state"], run["verdict"]) == ("planning", code)
    assert run["error"].endswith(line.removeprefix("fix: "))
    lease = lease_of(db)
    assert ("session" in lease, lease["expires_at"] > LONG_AGO) == (False, True)
    assert differing(db, before) == []
    resumed = run_to_end(["bash", "-c", resume], environment(mongo_uri), PATIENCE, ROOT)
    assert (resumed.code, differing(db, expected)) == (0, []), resumed.told


@pytest.mark.parametrize("end", [kill_java, terminate], ids=["java killed", "SIGTERM"])
def test_a_look_that_is_ended_is_one_line(
    db: Db, mongo_uri: str, hold: Hold, end: Callable[[Any], None]
) -> None:
    generate(db, SESSIONS)
    ended = broken_off(mongo_uri, db, hold, READING, end, "verify")
    told = [it for it in ended.err if not it.startswith("Strategy ")]
    says = JAVA_IS_GONE.replace("fix: ", "verify: ") + "." if end is kill_java else ""
    code = 1 if end is kill_java else 130
    assert (ended.code, told) == (code, [says or "verify: interrupted"])
    assert json.loads(ended.out)["verdict"] == code
