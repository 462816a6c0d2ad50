"""A real Airflow in an environment of its own, and what it says of its runs."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.shell import cache, run
from tests.harness.commands import PATIENCE, ROOT, environment

BUILD, LOCK = ROOT / "requirements-build.lock", ROOT / "requirements-airflow.lock"
SETTINGS = {
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SESSION_REPAIR_HOME": str(ROOT),
}


@dataclass(frozen=True)
class Called:
    """A command that ended: its exit code, and all that it printed."""

    code: int
    told: str


def ended(process: subprocess.Popen[str]) -> Called:
    """What becomes of it; one that does not end in time is killed."""
    try:
        told, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return Called(process.returncode, told)


@dataclass(frozen=True)
class Airflow:
    """An installation with an empty metadata database in ``home``."""

    python: Path
    home: Path

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """``python ARGUMENTS``, with these variables in its environment."""
        known = {**environment(None), **SETTINGS, "AIRFLOW_HOME": str(self.home), **variables}
        return subprocess.Popen(
            [str(self.python), *arguments],
            env=known,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *arguments: str, **variables: str) -> Called:
        """``airflow ARGUMENTS``."""
        return ended(self.start("-m", "airflow", *arguments, **variables))

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        """What the metadata database holds."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def run(self, date: str, *options: str, **variables: str) -> Ran:
        """``airflow dags test`` of the only DAG, for this logical date."""
        log = self.call("dags", "test", "session_repair", date, *options, **variables).told
        return self.ran(date, log)

    def ran(self, date: str, log: str) -> Ran:
        (of_date,) = self.rows("SELECT * FROM dag_run WHERE logical_date LIKE ?", f"{date}%")
        return Ran(self, of_date, log)

    def everything(self) -> bytes:
        """All that it wrote: the database with rendered fields and XComs, and the logs."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)


@dataclass(frozen=True)
class Ran:
    """A run of the DAG that ended."""

    airflow: Airflow
    document: Mapping[str, Any]
    log: str

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def tasks(self) -> dict[str, str]:
        """The state of each task."""
        query = "SELECT task_id, state FROM task_instance WHERE run_id = ?"
        rows = self.airflow.rows(query, self.document["run_id"])
        return {row["task_id"]: row["state"] for row in rows}

    def rendered(self, task_id: str) -> list[str]:
        """The options of the task, as its command got them."""
        query = (
            "SELECT rendered_fields FROM rendered_task_instance_fields "
            "WHERE run_id = ? AND task_id = ?"
        )
        (row,) = self.airflow.rows(query, self.document["run_id"], task_id)
        options: list[str] = json.loads(row["rendered_fields"])["options"]
        return options

    def returned(self, task_id: str) -> Any:
        """What the task returned."""
        query = "SELECT value FROM xcom WHERE run_id = ? AND task_id = ? AND key = 'return_value'"
        (row,) = self.airflow.rows(query, self.document["run_id"], task_id)
        return json.loads(row["value"])


def install_airflow() -> Path:
    """Its Python in the cache folder, put there by pip the first time that the lock is seen."""
    lock = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = cache() / f"airflow-{lock}"
    if not folder.exists():
        cache().mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="fetch.airflow.", dir=cache()))
        run([sys.executable, "-m", "venv", str(fresh)])
        pip = [str(fresh / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
        for locked in (BUILD, LOCK):
            run([*pip, "--require-hashes", "--no-build-isolation", "-r", str(locked)])
        fresh.rename(folder)
    return folder / "bin/python"
