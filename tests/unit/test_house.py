"""The house: which room may know which, held by the imports themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_SPARK = """
import sys
from session_repair.cli.commands import main
code = main(["health", "--config", "/no/such/file"])
print(code, sorted({name.partition(".")[0] for name in sys.modules} & {"pyspark", "py4j"}))
"""


def test_no_import_runs_against_the_arrows() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run(
        [linter, "--no-cache"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "jobs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_health_starts_without_spark() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPARK],
        env={"PYTHONPATH": str(ROOT / "jobs"), "MONGODB_URI": "mongodb://127.0.0.1:1/"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "2 []\n"
