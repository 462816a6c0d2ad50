"""A bare machine: the root of a Debian 12 that holds Python, git and certificates, and a user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.commands import ROOT, Ended

PACKAGES = "python3,python3-venv,git,ca-certificates"
USER = "1000"
HOME = Path("home/user")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
NAMES_OF_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", CERTIFICATES)
INSIDE = f'mount -t proc proc "$0/proc"; exec chroot --userspec={USER}:{USER} "$0" env -i "$@"'
MINUTES = 60.0


class BareMachine:
    """The root, in which commands run as its user in a fresh clone of the project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, minutes: float = 20, network: bool = True) -> Ended:
        """A line for bash, in the folder of the clone."""
        variables = {"HOME": f"/{HOME}", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        variables |= dict.fromkeys(NAMES_OF_CERTIFICATES, CERTIFICATES)
        # What is mounted, and every process, is gone with the namespaces.
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
        apart += [] if network else ["--net"]
        words = [*apart, "bash", "-c", INSIDE, str(self.root)]
        words += [f"{name}={value}" for name, value in variables.items()]
        words += ["bash", "-c", f"cd ~/session-repair && {command}"]
        ended = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=minutes * MINUTES,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def bare_machine(folder: Path) -> Iterator[BareMachine]:
    """Made by debootstrap. Where that cannot be, the test is skipped, and says why."""
    if os.getuid():
        pytest.skip("a bare machine is made by debootstrap, which asks for root")
    root = folder / "root"
    try:
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root],
            env={**os.environ, **debootstrap(folder)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        for file in map(Path, NETWORK):
            if file.exists():
                shutil.copyfile(file, root / file.relative_to("/"))
        subprocess.run(["chroot", root, "useradd", "-m", "-u", USER, "user"], check=True)
        clone = root / HOME / "session-repair"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", root / HOME], check=True)
        yield BareMachine(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def debootstrap(folder: Path) -> dict[str, str]:
    """What finds it: nothing where the machine has it; else of one that apt fetches."""
    if shutil.which("debootstrap"):
        return {}
    if not shutil.which("apt-get"):
        pytest.skip("a bare machine is made by debootstrap, which is not here, nor is apt-get")
    subprocess.run(["apt-get", "--quiet", "download", "debootstrap"], cwd=folder, check=True)
    (package,) = folder.glob("debootstrap_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder / "tool"], check=True)
    tool = folder / "tool/usr"
    path = f"{tool / 'sbin'}:{os.environ['PATH']}"
    return {"PATH": path, "DEBOOTSTRAP_DIR": str(tool / "share/debootstrap")}
