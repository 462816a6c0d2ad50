"""What deploy/ delivers: cron line and units do what they say, alerts know the figures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from session_repair.errors import Exit
from session_repair.health import metrics as of_health
from session_repair.repair.outcomes import ALREADY_RIGHT, APPLIED
from session_repair.reporting import metrics as of_runs
from tests.harness.commands import PATIENCE, ROOT, environment
from tests.harness.documents import SESSIONS, Db
from tests.harness.runs import the_run
from tests.harness.shop import Shop
from tests.harness.table import CODES

DEPLOY = ROOT / "deploy"
INSTALLED, LOG = "/opt/session-repair", "/var/log/session-repair/fix.log"
URI_FILE = "/etc/session-repair/uri"
METRICS = "/var/lib/session-repair/fix.prom"
CACHE = "/var/cache/session-repair"
GOOD = {Exit.CLEAN, Exit.FIXABLE_REMAINS, Exit.LEASE_HELD}  # for a scheduler


def cron_line() -> str:
    """The command that cron hands to the shell."""
    lines = (DEPLOY / "cron" / "session-repair").read_text().splitlines()
    (entry,) = [line for line in lines if re.match(r"[\d*]", line)]
    *_, command = entry.split(maxsplit=6)
    assert "%" not in command  # cron makes a new line of it
    return command


def as_cron(folder: Path, uri_file: Path) -> subprocess.CompletedProcess[str]:
    """The command line as cron runs it, its files being elsewhere."""
    places = {INSTALLED: str(ROOT), LOG: f"{folder}/fix.log", URI_FILE: str(uri_file)}
    places[METRICS] = f"{folder}/fix.prom"
    line = cron_line()
    for installed, here in places.items():
        assert installed in line
        line = line.replace(installed, here)
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env=environment(None),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.needs("spark_process")
def test_the_cron_line_repairs_in_silence_and_mails_the_end_of_its_log_on_trouble(
    db: Db, mongo_uri: str, tmp_path: Path
) -> None:
    shop, uri_file = Shop(db), tmp_path / "uri"
    shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    uri_file.write_text(mongo_uri.replace("/?", f"/{db.name}?"))
    ended = as_cron(tmp_path, uri_file)
    log = (tmp_path / "fix.log").read_text()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", ""), log
    assert "✅ Fixed 1 session\n" in log
    assert the_run(db)["verdict"] == 0
    assert [it["event_count"] for it in db[SESSIONS].find()] == [2]
    labels = f'database="{db.name}",verb="fix"'
    told = (tmp_path / "fix.prom").read_text()
    assert f"session_repair_verdict{{{labels}}} 0.0\n" in told
    assert f"session_repair_planned{{{labels}}} 1.0\n" in told

    uri_file.unlink()
    ended = as_cron(tmp_path, uri_file)
    refused = f"fix: --uri-file {uri_file}: No such file or directory. Name a readable file.\n"
    mailed = "session-repair fix: exit 2. The end of its log:\n"
    assert (ended.returncode, ended.stderr) == (2, "")
    assert ended.stdout.startswith(mailed)
    assert ended.stdout.endswith(refused)
    assert (tmp_path / "fix.log").read_text() == log + refused


def settings_of(unit: str) -> dict[str, str]:
    lines = (DEPLOY / "systemd" / unit).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


def test_the_units_are_what_systemd_takes_and_know_every_exit_code(tmp_path: Path) -> None:
    service = settings_of("session-repair.service")
    good = {0, *map(int, service["SuccessExitStatus"].split())}
    final = {int(it) for it in service["RestartPreventExitStatus"].split() if it.isdigit()}
    assert good == GOOD
    assert set(Exit) - good - final == {Exit.UNREACHABLE}
    assert service["OnFailure"] == "session-repair-trouble.service"
    options = service["ExecStart"].partition(" fix ")[2]
    assert options in cron_line().replace(URI_FILE, "%d/uri")
    assert f"--metrics {METRICS}" in options  # of which the alerts are made
    # Neither asks for a home of this user: what setup made once is read where both are told.
    assert f"\nSESSION_REPAIR_CACHE={CACHE}\n" in (DEPLOY / "cron" / "session-repair").read_text()
    assert service["Environment"] == "SESSION_REPAIR_CACHE=%C/session-repair"
    assert [service[f"{it}Directory"] for it in ("Cache", "State")] == ["session-repair"] * 2
    verifier = shutil.which("systemd-analyze")
    if verifier is None:  # what runs no systemd does not know its units either
        return
    for unit in (DEPLOY / "systemd").iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(ROOT)))
    command = [verifier, "verify", *map(str, tmp_path.iterdir())]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_alerts_and_dashboard_ask_for_figures_that_there_are() -> None:
    rules = (DEPLOY / "prometheus" / "session_repair.rules.yml").read_text()
    dashboard = json.loads((DEPLOY / "grafana" / "session_repair.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = "\n".join([*re.findall(r"expr: (.*)", rules), *queries])
    code = "\n".join(Path(str(it.__file__)).read_text() for it in (of_runs, of_health))
    there = {f"session_repair_{it}" for it in re.findall(r'"([a-z]+(?:_[a-z]+)*)"', code)}
    named = set(re.findall(r"session_repair_\w+", asked))
    assert len(named) >= 15
    assert named - there == set()
    assert set(re.findall(r'code="(\w+)"', asked)) <= set(CODES)
    # What is right is no trouble, whoever made it so.
    assert re.findall(r'outcome(\W+)"([\w|]+)"', asked) == [("!~", f"{APPLIED}|{ALREADY_RIGHT}")]
