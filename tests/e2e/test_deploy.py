"""What deploy/ delivers: cron line and units do what they say, alerts know the figures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from session_repair.errors import Exit
from session_repair.health import metrics as of_health
from session_repair.repair.outcomes import ALREADY_RIGHT, APPLIED
from session_repair.reporting import metrics as of_runs
from tests.e2e.shell import cache
from tests.harness.commands import OF_ITS_USER, PATIENCE, ROOT, environment
from tests.harness.documents import SESSIONS, Db
from tests.harness.runs import the_run
from tests.harness.shop import Shop
from tests.harness.table import CODES

DEPLOY = ROOT / "deploy"
INSTALLED, URI_FILE = "/opt/session-repair", "/etc/session-repair/uri"
HOME, LOGS = "/var/lib/session-repair", "/var/log/session-repair"
CACHE = "/var/cache/session-repair"
TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
SELECTOR = re.compile(r"(session_repair_\w+)(?:{(.*?)})?")
ALERTS = "\n".join(
    re.findall(r"expr: (.*)", (DEPLOY / "prometheus" / "session_repair.rules.yml").read_text())
)
OF_HEALTH = "session_repair_health_"  # which `health --serve` answers
MATCHER = re.compile(r'(\w+)(=|!=|=~|!~)"(.*?)"')


def crontab() -> tuple[dict[str, str], str]:
    """The variables that cron sets, and the command that it hands to the shell."""
    lines = (DEPLOY / "cron" / "session-repair").read_text().splitlines()
    told = [line for line in lines if line and not line.startswith("#")]
    *variables, entry = told
    *_, command = entry.split(maxsplit=6)
    assert "%" not in command.replace(r"\%", "")  # cron makes a new line of it
    return dict(line.split("=", 1) for line in variables), command.replace(r"\%", "%")


def as_cron(folder: Path, uri_file: Path) -> subprocess.CompletedProcess[str]:
    """The command line as cron runs it, in no more than cron's environment; its files elsewhere."""
    places = {INSTALLED: ROOT, LOGS: folder, URI_FILE: uri_file, HOME: folder, CACHE: cache()}
    variables, command = crontab()
    told = "\n".join([*(f"{it}={variables[it]}" for it in variables), command])
    for installed, here in places.items():
        assert installed in told
        told = told.replace(installed, str(here))
    *lines, command = told.splitlines()
    known = environment(None)
    of_its_user = {it: known[it] for it in ("SPARK_HOME", *OF_ITS_USER) if it in known}
    return subprocess.run(
        [variables["SHELL"], "-c", command],
        env={"LOGNAME": "session-repair", **of_its_user, **dict(it.split("=", 1) for it in lines)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )


def is_selected(sample: Sample, name: str, matchers: str | None) -> bool:
    """As Prometheus selects it, but for a label that is asked for and absent."""
    told: dict[str, Callable[[str, str], object]] = {
        "=": lambda asked, value: value == asked,
        "!=": lambda asked, value: value != asked,
        "=~": re.fullmatch,
        "!~": lambda asked, value: not re.fullmatch(asked, value),
    }
    return sample.name == name and all(
        label in sample.labels and told[how](asked, sample.labels[label])
        for label, how, asked in MATCHER.findall(matchers or "")
    )


@pytest.mark.needs("spark_process")
def test_a_night_of_cron_repairs_looks_and_mails_once_what_did_not_end_well(
    db: Db, mongo_uri: str, tmp_path: Path
) -> None:
    shop, uri_file = Shop(db), tmp_path / "uri"
    shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    uri_file.write_text(mongo_uri.replace("/?", f"/{db.name}?"))
    ended = as_cron(tmp_path, uri_file)
    (log,) = tmp_path.glob("night-??.log")
    lines = log.read_text().splitlines()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", ""), lines
    assert [line for line in lines if not TIMED.match(line)] == []
    told = [line[25:] for line in lines]
    assert told.index("✅ Fixed 1 session") < told.index("Session Verification Report")
    assert "✅ Nothing in this scope is left to repair" in told
    assert the_run(db)["verdict"] == 0
    assert [it["event_count"] for it in db[SESSIONS].find()] == [2]

    files = {verb: (tmp_path / f"{verb}.prom").read_text() for verb in ("fix", "verify")}
    for verb, planned in (("fix", 1), ("verify", 0)):
        labels = f'database="{db.name}",verb="{verb}"'
        assert f"session_repair_verdict{{{labels}}} 0.0\n" in files[verb]
        assert f"session_repair_planned{{{labels}}} {planned}.0\n" in files[verb]
    families = [it for text in files.values() for it in text_string_to_metric_families(text)]
    samples = [sample for family in families for sample in family.samples]
    asked = [it for it in SELECTOR.findall(ALERTS) if not it[0].startswith(OF_HEALTH)]
    assert len(asked) == 9
    assert [it for it in asked if not any(is_selected(sample, *it) for sample in samples)] == []

    uri_file.unlink()
    ended = as_cron(tmp_path, uri_file)
    refused = f"fix: --uri-file {uri_file}: No such file or directory. Name a readable file."
    mail, line = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (mail, line[25:]) == (f"session-repair: exit 2. Its log, {log}:", refused)
    assert log.read_text() == f"{line}\n"


def settings_of(unit: str) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / unit).read_text().splitlines():
        if re.match(r"[A-Z]\w+=", line):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def test_the_units_are_what_systemd_takes_and_know_every_exit_code(tmp_path: Path) -> None:
    service = settings_of("session-repair.service")
    (prevented,) = service["RestartPreventExitStatus"]
    final = {int(it) for it in prevented.split() if it.isdigit()}
    assert set(Exit) - final == {Exit.CLEAN, Exit.UNREACHABLE}
    assert "SuccessExitStatus" not in service
    assert service["OnFailure"] == ["session-repair-trouble.service"]
    # Both schedules start the same; of the journal each line has its time.
    variables, command = crontab()
    both = variables["BOTH"].replace(URI_FILE, "%d/uri").replace(" --log-format time", "")
    started = [it.removeprefix(f"{INSTALLED}/spark-submit.sh ") for it in service["ExecStart"]]
    assert re.findall(r"spark-submit\.sh (.*?)(?: &&|;)", command.replace("$BOTH", both)) == started
    # Neither asks for a home of this user: what setup made once is read where both are told.
    assert (variables["HOME"], variables["SESSION_REPAIR_CACHE"]) == (HOME, CACHE)
    where = "SESSION_REPAIR_CACHE=%C/session-repair HOME=%S/session-repair"
    assert service["Environment"] == [where]
    assert [service[f"{it}Directory"] for it in ("Cache", "State")] == [["session-repair"]] * 2
    verifier = shutil.which("systemd-analyze")
    if verifier is None:  # what runs no systemd does not know its units either
        return
    for unit in (DEPLOY / "systemd").iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(ROOT)))
    units = map(str, tmp_path.iterdir())
    verified = subprocess.run(
        [verifier, "verify", *units], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_alerts_and_dashboard_ask_for_figures_that_there_are() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "session_repair.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = "\n".join([ALERTS, *queries])
    code = "\n".join(Path(str(it.__file__)).read_text() for it in (of_runs, of_health))
    there = {f"session_repair_{it}" for it in re.findall(r'"([a-z]+(?:_[a-z]+)*)"', code)}
    named = set(re.findall(r"session_repair_\w+", asked))
    assert len(named) >= 15
    assert named - there == set()
    assert set(re.findall(r'code="(\w+)"', asked)) <= set(CODES)
    # What is right is no trouble, whoever made it so.
    assert re.findall(r'outcome(\W+)"([\w|]+)"', asked) == [("!~", f"{APPLIED}|{ALREADY_RIGHT}")]
