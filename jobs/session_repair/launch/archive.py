"""The classes of a started Spark as the JVM maps them into memory, which halves its start."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from session_repair.launch.java import Java
from session_repair.launch.steps import locked, say

LOAD_CLASSES = Path(__file__).with_name("load_classes.py")
MAKES_ONE = "17"  # the Java; earlier ones make none
QUIET = "-Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off"


def with_option(environment: Mapping[str, str], option: str) -> dict[str, str]:
    """The environment with one more option for Spark's JVM; those of before come later, and win."""
    given = environment.get("SPARK_SUBMIT_OPTS", "")
    return {**environment, "SPARK_SUBMIT_OPTS": f"{option} {given}".strip()}


def with_archive(
    environment: Mapping[str, str], folder: Path, spark: Path, java: Java, lock: Path
) -> dict[str, str]:
    """The environment in which Spark's JVM uses the archive in the folder, which is made if it is
    missing. It is of one Java and of one Spark's jars; a JVM that finds others passes it over."""
    if java.version != MAKES_ONE:
        return dict(environment)
    archive = folder / f"spark-{hashlib.sha256(java.release).hexdigest()[:16]}.jsa"
    if not archive.exists() and os.access(folder, os.W_OK):
        say("making an archive of Spark's classes, 10 to 30 s; it quickens each later start")
        with locked(lock):
            if not archive.exists():
                make(archive, spark, environment)
    if not archive.exists() or not archive.stat().st_size:
        return dict(environment)
    return with_option(environment, f'-XX:SharedArchiveFile="{archive}" {QUIET}')


def make(archive: Path, spark: Path, environment: Mapping[str, str]) -> None:
    """Without one it goes on as well; an empty file keeps each start from trying again."""
    for old in archive.parent.glob("spark-*.jsa*"):
        old.unlink()
    part = Path(f"{archive}.part")
    subprocess.run(
        [f"{spark}/bin/spark-submit", "--master", "local[1]", str(LOAD_CLASSES)],
        env=with_option(environment, f"-XX:ArchiveClassesAtExit={part}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if part.exists():
        part.rename(archive)
    else:
        archive.touch()
