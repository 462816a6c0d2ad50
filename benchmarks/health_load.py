"""Load on `health --serve` while its MongoDB is stopped and started again; prints what came of it.

    PYTHONPATH=.:jobs .venv/bin/python benchmarks/health_load.py [SECONDS [REQUESTS_A_SECOND]]

A third of the time MongoDB is up, a third it is down, then it is up again. Every request is sent
at its time, however long others take.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from demo.server import EmbeddedMongod
from session_repair.aggregates import BASIC_SHAPE
from session_repair.mongo.runs import DONE, Run, new_run_id
from session_repair.mongo.store import Store
from session_repair.repair.outcomes import Outcomes
from session_repair.repair.report import Report, Symptoms, Totals, Verification
from session_repair.settings import Settings
from session_repair.symptoms import known_symptoms

Document = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
RATE = 200  # requests a second
LATE = 2.0  # seconds within which every request has to be answered


@dataclass(frozen=True)
class Reply:
    """One request: when it was sent since the start, its status (0: none), how long it took."""

    sent: float
    status: int
    took: float


@contextmanager
def serving(uri: str, *options: str) -> Iterator[int]:
    """The port of a `health --serve` that runs within the block and ends cleanly."""
    process = subprocess.Popen(
        [sys.executable, "-m", "session_repair", "health", "--serve", "0", *options],
        cwd=ROOT,
        env={**os.environ, "MONGODB_URI": uri, "PYTHONPATH": f"{ROOT}:{ROOT}/jobs"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        address = process.stderr.readline().split()[1]
        yield int(address.partition("/api")[0].rpartition(":")[2])
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)
        assert code == 0, code


def a_good_run(database: Database[Document], orphans: int = 0) -> str:
    """The id of a run of `fix`, ended now, that left nothing but orphans."""
    now = datetime.now(timezone.utc)
    run = Run.begin(Store(database, Settings(uri="")), "fix", now, new_run_id(now), 1)
    nothing = dict.fromkeys((item.name for item in fields(Verification)), 0)
    report = Report(
        verb="fix",
        run_id=run.run_id,
        server_time=now,
        settings={},
        totals=Totals(*[0] * len(fields(Totals))),
        symptoms=tuple(
            Symptoms(it.code, orphans if it.code == "orphan_session" else 0, 0, 0, ())
            for it in known_symptoms(BASIC_SHAPE)
        ),
        corrections=(),
        outcomes=Outcomes(0, 0, 0, 0, 0, 0),
        verification=Verification(**{**nothing, "empty_remaining": orphans}),
    )
    run.end(DONE, asdict(report), 0)
    return run.run_id


async def ask(port: int, began: float) -> Reply:
    sent = time.monotonic()
    status = 0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/health/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        status = int(answer.split(b" ", 2)[1])
        writer.close()
    except (OSError, IndexError):
        pass
    return Reply(sent - began, status, time.monotonic() - sent)


async def load(port: int, seconds: float, rate: int, began: float) -> list[Reply]:
    """One reply per request, sent evenly over the time."""
    asked = []
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0, began + number / rate - time.monotonic()))
        asked.append(asyncio.create_task(ask(port, began)))
    return await asyncio.gather(*asked)


def profiled(client: MongoClient[Document]) -> None:
    """From now on the server writes down every operation on the database."""
    client["browsing"].command("profile", 2)


def operations(client: MongoClient[Document]) -> int:
    """How many operations of the job's on the database the server has written down."""
    return client["browsing"]["system.profile"].count_documents({"appName": "session-repair"})


async def main(seconds: float, rate: int) -> None:
    with EmbeddedMongod() as server:
        with server.client() as client:
            a_good_run(client["browsing"])
            profiled(client)
        with serving(server.uri) as port:
            began = time.monotonic()
            loading = asyncio.create_task(load(port, seconds, rate, began))
            await asyncio.sleep(seconds / 3)
            with server.client() as client:
                seen = operations(client)
            await asyncio.to_thread(server.members[0].stop)
            stopped = time.monotonic() - began
            await asyncio.sleep(seconds / 3)
            restarting = time.monotonic() - began
            await asyncio.to_thread(server.members[0].restart)
            with server.client() as client:
                await asyncio.to_thread(profiled, client)
                primary = time.monotonic() - began
                replies = await loading
                seen_again = operations(client)
    tell(replies, stopped, restarting, primary)
    print(f"operations on the database: {seen} before the stop, {seen_again} after the restart")


def tell(replies: list[Reply], stopped: float, restarting: float, primary: float) -> None:
    print(f"{len(replies)} requests: {dict(Counter(it.status for it in replies))} by status")
    took = sorted(it.took for it in replies)
    print(f"median {took[len(took) // 2]:.3f} s, 99% {took[len(took) * 99 // 100]:.3f} s, ", end="")
    print(f"worst {took[-1]:.3f} s; later than {LATE} s: {sum(it > LATE for it in took)}")
    down = [it for it in replies if stopped < it.sent < restarting]
    print(f"MongoDB down from {stopped:.1f} s to {restarting:.1f} s: ", end="")
    print(f"{dict(Counter(it.status for it in down))}")
    stale = [it.sent - stopped for it in down if it.status == 200]
    print(f"last 200 after the stop: {max(stale, default=0):.2f} s")
    again = [it.sent - primary for it in replies if it.status == 200 and it.sent > restarting]
    print(f"first 200 after there was a primary again: {min(again, default=float('nan')):.2f} s")


if __name__ == "__main__":
    asked_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    asyncio.run(main(asked_seconds, int(sys.argv[2]) if len(sys.argv) > 2 else RATE))
