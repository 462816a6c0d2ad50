"""What bash offers on TAB."""

from __future__ import annotations

import subprocess

import pytest

from session_repair.launch.command import COMPLETE, JOB_OF, PLAIN, SET_UP
from tests.harness.commands import ROOT

COMMAND = str(ROOT / "spark-submit.sh")
AS_BASH_DOES = f"""
set -eu
eval "$({COMPLETE}=bash_source "$1")"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_spark_submitsh_completion "$1"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], [*JOB_OF, *PLAIN, *SET_UP]),
        (["--master", "local[2]", "--verbose", "re"], ["resume"]),
        (["--driver-m"], ["--driver-memory"]),
        (["fix", "--max-c"], ["--max-changes"]),
        (["fix", "--scope", ""], ["empty", "all"]),
        (["runs", "--verd"], ["--verdict"]),
    ],
)
def test_tab_offers_verbs_and_options(words: list[str], offered: list[str]) -> None:
    done = subprocess.run(
        ["bash", "-c", AS_BASH_DOES, "bash", COMMAND, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == sorted(offered)
    assert done.stderr == ""
