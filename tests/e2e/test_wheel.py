"""The wheel, built and installed: the verbs of spark-submit.sh as `session-repair VERB`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from session_repair.launch.locks import Site
from session_repair.launch.spark import cache_of
from tests.harness.commands import PATIENCE, ROOT, Ended, environment, run_to_end
from tests.harness.documents import Db
from tests.harness.shop import Shop

pytestmark = [pytest.mark.needs("pip"), pytest.mark.own_spark]

SOURCES = ("jobs", "conf", "pyproject.toml", "README.md", "LICENSE")


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel."""

    folder: Path

    def run(self, *words: str, uri: str | None = None, **variables: str) -> Ended:
        command = [str(self.folder / "bin" / "session-repair"), *words]
        return run_to_end(command, {**environment(uri), **variables}, PATIENCE, self.folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(sources))
    (found,) = built.iterdir()
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Nothing but the wheel."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip("--python", str(folder / "bin" / "python"), "install", "--no-deps", str(wheel))
    return Installation(folder)


@pytest.fixture
def installed(bare: Installation) -> Iterator[Callable[..., Ended]]:
    """The wheel where all that it depends on is found too, pyspark with it."""
    (packages,) = bare.folder.glob("lib/python3*/site-packages")
    others = packages / "others.pth"
    others.write_text(sysconfig.get_path("purelib") + "\n")
    yield bare.run
    others.unlink()


def test_the_wheel_holds_every_job_every_room_and_the_settings(wheel: Path) -> None:
    jobs = [file.relative_to(ROOT / "jobs") for file in (ROOT / "jobs").rglob("*")]
    expected = {str(file) for file in jobs if file.suffix in (".py", ".j2")}
    expected |= {f"session_repair/conf/{file.name}" for file in (ROOT / "conf").iterdir()}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected


def test_without_a_spark_it_says_so_in_one_line(bare: Installation) -> None:
    assert bare.run("verify") == Ended(
        2,
        "",
        "session-repair: no Spark is found. Run: pip install 'session-repair[spark]', or let "
        "SPARK_HOME name a Spark 3.5.\n",
    )


def test_the_usage_is_that_of_the_command(installed: Callable[..., Ended]) -> None:
    told = installed("--help").out
    assert told.startswith("usage: session-repair [SPARK OPTIONS] VERB [OPTIONS]\n")
    assert "\n  verify " in told
    assert "demo" not in told
    assert installed("demo") == Ended(
        2, "", "session-repair: the demo is in the source folder alone: ./spark-submit.sh demo.\n"
    )
    assert installed("runs", "--help").out.endswith("--outcome failed\n")


def test_a_plain_verb_and_one_with_spark_work_from_the_wheel(
    installed: Callable[..., Ended], db: Db, mongo_uri: str, tmp_path: Path
) -> None:
    ended = installed("runs", "r1", "--database", db.name, uri=mongo_uri)
    listing = f"session-repair runs --database {db.name}"
    unknown = f"runs: there is no run 'r1'. Find it with: {listing}\n"
    assert ended == Ended(2, "", unknown)

    shop = Shop(db)
    shop.session("broken")
    shop.events("broken", {0: "/home", 1: "/cart"})
    # What takes long to make is there.
    (tmp_path / "jars-2.12").symlink_to(cache_of(environment(None)) / "jars-2.12")
    for archive in (ROOT / ".venv").glob("spark-*.jsa"):
        (Site(tmp_path).archives / archive.name).symlink_to(archive)
    words = ("--master", "local[1]", "verify", "--database", db.name)
    ended = installed(*words, uri=mongo_uri, SESSION_REPAIR_CACHE=str(tmp_path))
    assert ended.code == 3, ended.told
    assert ended.figure("Sessions with empty pages") == 1
    assert ended.complaints == ""
