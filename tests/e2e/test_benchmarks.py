"""The benchmark: kept data comes back as generated, peers agree, costs and ratios are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from benchmarks import data, extremes
from benchmarks.compare import require_same
from benchmarks.contenders import FIX, GUIDE_LOOP, VERIFY, Contender, Result, digest, only_repaired
from benchmarks.curve import draw, points
from benchmarks.data import DATABASE, Bench, bench, kept_server, uri_of
from benchmarks.figures import Measured, document, growth, ratios, text
from benchmarks.measure import Cost
from benchmarks.peers import PEERS, rebuilt
from demo.generate import Figures
from demo.mongod import ServerStartError

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = 300
WRITERS = ("guide-loop", "pymongo", "server-only")

OUTLIVED = """
import json, os, sys
from dataclasses import asdict
from benchmarks.measure import measured, reap_orphans
reap_orphans()
child = '''
import time
held = bytearray(b"1") * 200_000_000
print("held", flush=True)
while time.process_time() < 1.5: held[::4096] = bytes(len(held) // 4096 + 1)  # and keep them
'''
parent = f'''
import subprocess, sys, time
made = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
made.stdout.readline()
time.sleep(0.6)
print("done")
'''
command = [sys.executable, "-c", parent]
cost, output = measured(command, dict(os.environ), os.getpid())
print(json.dumps({**asdict(cost), "output": output}))
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The benchmark's data at a small size, in a cache of its own."""
    monkeypatch.setenv("SESSION_REPAIR_CACHE", str(tmp_path))
    monkeypatch.setattr(data, "SESSIONS", SESSIONS)
    with bench(1, cache_gb=0.5) as ready:
        yield ready


def all_sessions(ready: Bench) -> list[dict[str, Any]]:
    return list(ready.database["sessions"].find().sort("_id"))


def test_every_writing_peer_leaves_what_the_events_say(small: Bench) -> None:
    generated = all_sessions(small)
    events: dict[str, list[dict[str, Any]]] = {it["session_id"]: [] for it in generated}
    for event in small.database["events"].find():
        events[event["session_id"]].append(event)
    repaired = [
        {**it, **rebuilt(events[it["session_id"]])}
        if it["event_count"] == 0 and events[it["session_id"]]
        else it
        for it in generated
    ]
    digests = set()
    for peer in WRITERS:
        PEERS[peer](small.database)
        assert all_sessions(small) == repaired, peer
        digests.add(small.digest())
        small.restore()
        assert all_sessions(small) == generated, peer
    assert len(digests) == 1
    assert digests != {small.digest()}
    figures = Figures.of(SESSIONS)
    assert PEERS["server-group"](small.database) == {
        "sessions": SESSIONS - figures.orphans,
        "events": figures.events,
    }


def test_what_a_run_left_is_gone_after_a_restore(small: Bench) -> None:
    small.database["session_repair_journal"].insert_one({"run_id": "r1"})
    small.database["sessions"].delete_many({"event_count": 0})
    small.restore()
    assert sorted(small.database.list_collection_names()) == ["events", "sessions"]
    assert small.database["sessions"].count_documents({"event_count": 0}) == small.figures.empty


def test_a_restore_that_fails_is_seen(small: Bench) -> None:
    small.client[data.PRISTINE]["sessions"].delete_one({})
    with pytest.raises(RuntimeError, match=r"not as it was generated: \{.sessions.: False"):
        small.restore()


def test_one_session_alone_must_be_repaired(small: Bench) -> None:
    one = small.broken_session()
    of_another = {"_id": {"$ne": one["_id"]}, "event_count": 0}
    small.database["sessions"].update_one(of_another, {"$set": {"event_count": 1}})
    with pytest.raises(RuntimeError, match=f"; {small.figures.empty - 1} empty sessions are left"):
        only_repaired(small, one)
    small.restore()
    events = list(small.database["events"].find({"session_id": one["session_id"]}))
    small.database["sessions"].update_one({"_id": one["_id"]}, {"$set": rebuilt(events)})
    assert only_repaired(small, one) == {"digest": small.digest()}
    PEERS["pymongo"](small.database)
    with pytest.raises(RuntimeError, match="; 2 empty sessions are left"):
        only_repaired(small, one)


def test_data_is_kept_and_held_by_one_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_REPAIR_CACHE", str(tmp_path))
    monkeypatch.setattr(data, "SESSIONS", SESSIONS)
    with bench(1, cache_gb=0.5) as first:
        generated = all_sessions(first)
        with pytest.raises(ServerStartError, match="another benchmark uses"), bench(1, 0.5):
            pass
    monkeypatch.delattr(data, "generate")
    with bench(1, cache_gb=0.5) as second:
        assert all_sessions(second) == generated


def test_a_child_that_outlives_the_command_is_counted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVED],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    cost = json.loads(done.stdout)
    assert cost["output"] == "done\n"
    assert cost["cpu"] >= 1.5
    assert 0.6 <= cost["wall"] < cost["cpu"]
    assert 200 <= cost["peak_mb"] < 400


def test_another_result_is_refused() -> None:
    one = Contender("ours", FIX, (), {}, digest)
    known: dict[str, Result] = {FIX: {"digest": "a"}}
    require_same(one, {"digest": "a"}, known)
    with pytest.raises(RuntimeError, match="ours differs in digest"):
        require_same(one, {"digest": "b"}, known)


def costs(*walls: float) -> list[Cost]:
    return [Cost(wall, 2 * wall, 0.5, 0.0, 100.0) for wall in walls]


def test_ratios_are_of_the_same_round_and_have_a_target_at_their_size_only() -> None:
    rounds = {FIX: costs(5, 4, 24), GUIDE_LOOP: costs(10, 10, 20), VERIFY: costs(9, 8, 14)}
    first, second = ratios(Measured(1, 45_291, 320_410, rounds))
    assert (first.name, first.median, first.least, first.greatest) == (
        *("fix ÷ guide's loop", 0.5, 0.4, 1.2),
    )
    assert first.of_least == 4 / 10
    assert first.judgement == "at most 0.6: met"
    assert second.judgement == "at most 0.75: missed"
    at_ten = ratios(Measured(10, 452_910, 3_204_100, rounds))
    assert [it.judgement for it in at_ten] == ["", ""]


def test_growth_is_judged_from_ten_to_thirty() -> None:
    small = Measured(10, 452_910, 3_204_100, {FIX: costs(10)})
    large = Measured(30, 1_358_730, 9_612_300, {FIX: costs(33)})
    (grown,) = growth([large, small])
    assert (grown.name, grown.median) == ("fix, 10x → 30x", 3.3)
    assert grown.judgement == "at most 3.2: missed"
    assert "| fix, 10x → 30x | wall s | 3.30   |" in text([small, large])


def test_a_session_without_a_page_in_its_events_has_none() -> None:
    at = datetime(2025, 10, 20, tzinfo=timezone.utc)
    assert rebuilt([{"_id": 1, "timestamp": at}])["pages"] == []


def test_the_picture_of_growth_has_the_medians_of_each_size(tmp_path: Path) -> None:
    small = Measured(1, 45_291, 320_410, {FIX: costs(5, 9, 6), VERIFY: costs(4, 5, 6)})
    large = Measured(10, 452_910, 3_204_100, {FIX: costs(40), VERIFY: costs(20)})
    told = [document([it], {}) for it in (large, small)]
    assert points(told, FIX, "wall") == [(365_701, 6), (3_657_010, 40)]
    assert points(told, VERIFY, "mongod_cpu") == [(365_701, 0.5), (3_657_010, 0.5)]
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for picture in pictures:
        draw(told, picture)
    one, two = (picture.read_text() for picture in pictures)
    assert one == two
    for shown in ("fix --apply", "verify", "seconds", "CPU seconds of MongoDB"):
        assert f">{shown}<" in one


@pytest.mark.needs("many_runs")
def test_the_extremes_are_one_session_one_user_and_one_minute(tmp_path: Path) -> None:
    number = 3_000
    with (
        kept_server(tmp_path, 0.5) as member,
        MongoClient[dict[str, Any]](uri_of(member), tz_aware=True) as client,
    ):
        extremes.fill(client, number)
        sessions, events = (client[DATABASE][name] for name in ("sessions", "events"))
        assert sessions.count_documents({"event_count": 0}) == 20_001
        assert sessions.count_documents({"user_id": extremes.MOST}) == 10_001
        assert events.count_documents({}) == 20_000 * 5 + number
        of_great = list(events.find({"session_id": "great"}).sort("timestamp"))
        assert [it["page"] for it in of_great] == [f"/p{n % 1_000}" for n in range(number)]
        for collection in (sessions, events):
            made = [it["_id"].generation_time for it in collection.find({}, {"_id": 1})]
            assert max(made) - min(made) < timedelta(minutes=1)
        with pytest.raises(RuntimeError, match=r"\[0, 0\] sessions are as their events say"):
            extremes.require_repaired(client[DATABASE], number)
        PEERS["server-only"](client[DATABASE])
        extremes.require_repaired(client[DATABASE], number)
