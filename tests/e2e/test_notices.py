"""How a command ends, told outside of it: notices, metrics and JSON of real runs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo.database import Database

from demo.member import free_port
from tests.e2e.test_command import every_command_line, texts_left
from tests.e2e.test_refusals import one_line
from tests.harness.commands import Command, spark_submit
from tests.harness.documents import RUNS, Document, fingerprint
from tests.harness.shop import Shop
from tests.unit.test_notify import SECRET, Hook, hook  # noqa: F401

pytestmark = pytest.mark.needs("many_runs")

URL = "SESSION_REPAIR_NOTIFY_URL"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No notice is wanted and none was sent, whatever the machine's user has."""
    monkeypatch.delenv(URL, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", f"{tmp_path}/state")


@pytest.fixture
def broken_db(db: Database[Document]) -> Database[Document]:
    shop = Shop(db)
    shop.session("<!channel> *broken*")
    shop.events("<!channel> *broken*", {0: "<script>", 1: "/cart"})
    return db


def metrics_in(file: Path) -> dict[str, float]:
    """The values without a label of their own, by name."""
    return {
        sample.name.removeprefix("session_repair_"): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
        if set(sample.labels) == {"verb", "database"}
    }


def test_a_broken_database_its_repair_and_its_loss_are_told_once_each(
    broken_db: Database[Document],
    command: Command,
    hook: Hook,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    name = broken_db.name
    monkeypatch.setenv(URL, hook.url)
    before = fingerprint(broken_db)
    told = ("--metrics", f"{tmp_path}/verify.prom", "--json", f"{tmp_path}/verify.json")

    assert command("verify", "--database", name, *told).complaints == ""
    assert fingerprint(broken_db) == before
    run_id = json.loads((tmp_path / "verify.json").read_text())["run_id"]
    assert hook.texts == [
        f"session-repair verify on {name}: not clean (exit 3). "
        f"sessions 1, planned 1, deferred 0, malformed 0. Run {run_id}."
    ]
    written = metrics_in(tmp_path / "verify.prom")
    assert 0 < written.pop("run_duration_seconds") < 60
    assert abs(written.pop("run_end_timestamp_seconds") - time.time()) < 60
    assert written == {
        "verdict": 3,
        "sessions": 1,
        "events": 2,
        "events_without_session": 0,
        "planned": 1,
        "deferred": 0,
    }

    assert command("fix", "--apply", "--database", name).code == 0
    assert len(hook.posts) == 1

    assert command("verify", "--database", name).code == 0
    assert hook.posts[-1]["text"].startswith(
        f"session-repair verify on {name}: clean (exit 0), before: not clean (exit 3)"
    )
    (tmp_path / "c.toml").write_text('server_selection_timeout = "300ms"\n')
    away = f"mongodb://ann:hush@127.0.0.1:{free_port()}"
    options = ("--database", name, "--config", f"{tmp_path}/c.toml", *told)
    for _ in range(2):
        one_line(command("verify", *options, uri=away), 75)
    assert metrics_in(tmp_path / "verify.prom")["verdict"] == 75
    assert json.loads((tmp_path / "verify.json").read_text())["verdict"] == 75
    assert len(hook.posts) == 3  # another host, so its first run, and not clean
    assert hook.posts[-1]["verdict"] == 75
    sent = json.dumps(hook.posts)
    assert [it for it in ("<", "hush", "channel", "script") if it in sent] == []


def test_a_breaker_is_told_in_all_three_places_with_its_run(
    broken_db: Database[Document],
    command: Command,
    hook: Hook,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "url").write_text(hook.url)
    (tmp_path / "c.toml").write_text(
        f'database = "{broken_db.name}"\njson = "{tmp_path}/x.json"\n'
        f'metrics = "{tmp_path}/x.prom"\nnotify_file = "{tmp_path}/url"\n'
        f'notify_state = "{tmp_path}/state.json"\n'
    )
    options = ("--config", f"{tmp_path}/c.toml", "--max-changes", "0")
    one_line_of = command("fix", "--apply", *options)
    assert (one_line_of.code, one_line_of.complaints.count("\n")) == (4, 1)
    run = broken_db[RUNS].find_one({"verb": "fix"})
    assert run is not None
    written = json.loads((tmp_path / "x.json").read_text())
    assert (written["verdict"], written["run_id"]) == (4, run["_id"])
    assert metrics_in(tmp_path / "x.prom")["verdict"] == 4
    assert [(it["verdict"], it["run_id"]) for it in hook.posts] == [(4, run["_id"])]
    assert (tmp_path / "state.json").exists()
    assert SECRET not in json.dumps(run, default=str)


@pytest.mark.parametrize("option", ["--json", "--metrics"])
def test_a_file_that_cannot_be_written_is_refused_before_mongodb_is_asked(
    command: Command, option: str
) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}"
    told = one_line(command("verify", option, "/no/such/folder/x", uri=uri), 2)
    assert told.startswith(f"verify: {option} /no/such/folder/x: ")


def test_refused_settings_are_told_too(
    command: Command,
    hook: Hook,  # noqa: F811
    tmp_path: Path,
) -> None:
    options = ("--metrics", f"{tmp_path}/x.prom", "--notify", hook.url)
    one_line(command("verify", *options, uri=None), 2)
    assert metrics_in(tmp_path / "x.prom")["verdict"] == 2
    assert hook.texts == ["session-repair verify: refused (exit 2)."]


def test_without_its_library_metrics_are_refused_by_what_to_install(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    told = one_line(command("verify", "--metrics", f"{tmp_path}/x.prom"), 2)
    assert "--metrics needs prometheus_client, which this Python does not have. Install" in told


@pytest.mark.needs("spark_process")
def test_the_webhook_is_in_no_log_no_output_and_no_command_line(
    broken_db: Database[Document],
    mongo_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its notice cannot be delivered, which is when a URL is most easily shown."""
    monkeypatch.setenv(URL, f"http://127.0.0.1:{free_port()}/{SECRET}")
    (tmp_path / "events").mkdir()
    plain = ("--conf", "spark.eventLog.compress=false")  # else nothing is found in it
    spark = ("--conf", "spark.eventLog.enabled=true", *plain, "--conf")
    written = ("--json", f"{tmp_path}/x.json", "--metrics", f"{tmp_path}/x.prom")
    with every_command_line() as command_lines:
        ended = spark_submit(
            *(*spark, f"spark.eventLog.dir=file://{tmp_path}/events"),
            *("fix", "--plan", "--database", broken_db.name, *written),
            uri=mongo_uri,
        )
    assert ended.code == 3, ended.err
    assert "fix: the notice could not be delivered: the connection was refused.\n" in ended.err
    texts = texts_left(ended, command_lines, broken_db, tmp_path)
    assert any(name.startswith("events/") for name in texts)
    assert [name for name, text in texts.items() if SECRET.encode() in text] == []


def test_the_history_begins_with_the_trend_of_its_fixes(
    broken_db: Database[Document], command: Command
) -> None:
    for _ in range(2):
        assert command("fix", "--apply", "--database", broken_db.name).code == 0
    ended = command("runs", "--database", broken_db.name)
    trend, blank, heading, *runs = ended.out.splitlines()
    found = [sum(it["found"] for it in run["report"]["symptoms"]) for run in in_order(broken_db)]
    assert trend == f"findings of the last 2 fixes: {found[0]} █▁ {found[1]}"
    assert (blank, heading.split()[0], len(runs)) == ("", "run", 2)


def in_order(db: Database[Document]) -> list[Document]:
    return list(db[RUNS].find({"verb": "fix"}).sort("_id", 1))
