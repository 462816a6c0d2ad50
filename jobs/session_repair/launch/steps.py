"""How the steps of the set-up are taken: told, alone, and in silence unless they fail."""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from session_repair.errors import RepairError
from session_repair.home import COMMAND

REASON = re.compile("error|exception|unresolved|not found", re.IGNORECASE)
# What pip and Spark's Ivy say in the end of what they could not fetch, and why before that.
NOTHING_FETCHED = re.compile("No matching distribution|Could not find a version|unresolved")
UNREACHED = re.compile(
    r"(?:establish a new connection: |UnknownHostException: |ConnectException: )([^'\n)]+)"
)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def say(message: str) -> None:
    print(f"{COMMAND.removeprefix('./')}: {message}", file=sys.stderr, flush=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Alone among all starts that lock this file."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def quietly(what: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a step; its output is kept only as the reason of a failure. Raises RepairError."""
    with tempfile.NamedTemporaryFile("w+", prefix="session-repair-", delete=False) as log:
        code = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        ).returncode
    if code:
        raise RepairError(
            f"{what} failed: {reason_in(Path(log.name).read_text(errors='replace'))}. All of its "
            f"output is in {log.name}; run the command again once that is solved."
        )
    Path(log.name).unlink()


def reason_in(output: str) -> str:
    """The last line that tells of an error, else the last one; or that no registry is reached."""
    lines = output.splitlines()
    telling = [line for line in lines if REASON.search(line)]
    reason = (telling or lines or ["no reason given"])[-1]
    why = UNREACHED.search(output)
    if why and NOTHING_FETCHED.search(reason):
        return (
            f"the package registry is not reached ({why[1]}). A proxy is named in HTTPS_PROXY, a "
            "mirror of PyPI in PIP_INDEX_URL"
        )
    return reason
