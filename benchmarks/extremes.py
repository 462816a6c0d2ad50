"""Data that would tear a naive job apart, and what a run on it costs.

    .venv/bin/python -m benchmarks.extremes --events 5000000

One session has all these events. Of 20,000 others one user has half. And all `_id`s of both
collections are of one minute, so that no range of them by time would split anything. The driver,
which here is the executor too, gets 1 GB.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from benchmarks.contenders import CLEAN, FIXABLE_REMAINS, ROOT, clean_environment
from benchmarks.data import DATABASE, kept_server, uri_of
from benchmarks.figures import TITLES, table
from benchmarks.measure import CommandFailed, Cost, measured, reap_orphans

Document = dict[str, Any]

MINUTE = datetime(2025, 10, 20, 8, tzinfo=timezone.utc)
OTHERS, EVENTS_EACH = 20_000, 5
PAGES = 1_000  # of the great session
GREAT, MOST = "great", ObjectId("68d000000000000000000001")
AT_ONCE = 1_000  # events made of one document by the server


def events_of_great(number: int) -> Iterator[Document]:
    """Stages that make its events where they are; the page of each is known by its number."""
    seconds = [f"{int(MINUTE.timestamp()) + second:08x}" for second in range(60)]
    digits = {"$toString": {"$add": [10**15, "$n"]}}  # of 16, which are hex digits too
    second = {"$arrayElemAt": [seconds, {"$mod": ["$n", 60]}]}
    page = {"$concat": ["/p", {"$toString": {"$mod": ["$n", PAGES]}}]}
    firsts = [{"first": first} for first in range(0, number, AT_ONCE)]
    yield {"$documents": firsts}
    yield {"$project": {"n": {"$range": ["$first", {"$add": ["$first", AT_ONCE]}]}}}
    yield {"$unwind": "$n"}
    yield {
        "$project": {
            "_id": {"$toObjectId": {"$concat": [second, digits]}},
            "session_id": GREAT,
            "user_id": {"$literal": MOST},
            "timestamp": {"$add": [MINUTE, "$n"]},
            "page": page,
        }
    }
    yield {"$merge": {"into": {"db": DATABASE, "coll": "events"}}}


def object_id(number: int, kind: int) -> ObjectId:
    second = int(MINUTE.timestamp()) + number % 60
    return ObjectId(f"{second:08x}{kind:02x}{number:014x}")


def fill(client: MongoClient[Document], number: int) -> None:
    """All sessions are empty, and all of them have events."""
    database = client[DATABASE]
    names = [GREAT, *(f"s{n}" for n in range(OTHERS))]
    empty = {"event_count": 0, "pages": [], "first_event_at": MINUTE, "last_event_at": MINUTE}
    database["sessions"].insert_many(
        {"_id": object_id(n, 0xA0), "session_id": name, "user_id": user(n), **empty}
        for n, name in enumerate(names)
    )
    database["events"].insert_many(
        {
            "_id": object_id(n * EVENTS_EACH + visit, 0xB0),
            "session_id": name,
            "user_id": user(n),
            "timestamp": MINUTE + timedelta(seconds=visit),
            "page": f"/p{visit}",
        }
        for n, name in enumerate(names[1:], 1)
        for visit in range(EVENTS_EACH)
    )
    client.admin.aggregate(list(events_of_great(number)))
    for name in ("sessions", "events"):
        database[name].create_index("session_id")


def user(number: int) -> ObjectId:
    return MOST if number % 2 == 0 else object_id(number, 0xC0)


def require_repaired(database: Database[Document], number: int) -> None:
    """Raises RuntimeError unless every session is what its events say."""
    great = {
        "event_count": number,
        "pages": [f"/p{n}" for n in range(PAGES)],
        "last_event_at": MINUTE + timedelta(milliseconds=number - 1),
    }
    other = {
        "event_count": EVENTS_EACH,
        "pages": [f"/p{n}" for n in range(EVENTS_EACH)],
        "last_event_at": MINUTE + timedelta(seconds=EVENTS_EACH - 1),
    }
    found = [database["sessions"].count_documents(shape) for shape in (great, other)]
    if found != [1, OTHERS]:
        raise RuntimeError(f"{found} sessions are as their events say, not {[1, OTHERS]}")


def costs(uri: str, mongod: int, number: int, spark_options: list[str]) -> Mapping[str, Cost]:
    environment = {**clean_environment(), "MONGODB_URI": uri}
    start = (str(ROOT / "spark-submit.sh"), *spark_options)
    told = {}
    with MongoClient[Document](uri, tz_aware=True) as client:
        for name, verb, code in (
            ("verify", ("verify",), FIXABLE_REMAINS),
            ("fix --apply --session-id", ("fix", "--apply", "--session-id", GREAT), CLEAN),
            ("fix --apply --strategy scan", ("fix", "--apply", "--strategy", "scan"), CLEAN),
        ):
            told[name] = measured((*start, *verb), environment, mongod, code)[0]
            click.echo(f"{name} {told[name].wall:.1f} s", err=True)
        require_repaired(client[DATABASE], number)
    return told


@click.command(context_settings={"show_default": True})
@click.option("--events", "number", type=click.IntRange(AT_ONCE), default=5_000_000)
@click.option("--memory", default="1g", help="--driver-memory.")
def main(number: int, memory: str) -> None:
    """Measure verify and fix on one session of so many events, one user, one minute."""
    number -= number % AT_ONCE
    reap_orphans()
    with tempfile.TemporaryDirectory() as folder, kept_server(Path(folder), 2.0) as member:
        uri = uri_of(member)
        try:
            with MongoClient[Document](uri, tz_aware=True) as client:
                fill(client, number)
            told = costs(uri, member.pid, number, ["--driver-memory", memory])
        except (CommandFailed, RuntimeError) as error:
            raise click.ClickException(str(error)) from error
    shown = ("wall", "cpu", "mongod_cpu", "peak_mb")
    rows = [[name, *(f"{getattr(cost, it):.0f}" for it in shown)] for name, cost in told.items()]
    click.echo(f"one session of {number:,} events and {OTHERS:,} others, --driver-memory {memory}")
    click.echo(f"\n{table(['', *(TITLES[it] for it in shown)], rows)}")


if __name__ == "__main__":
    main()
