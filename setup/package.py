"""What a driver needs that does not run in this folder: two zips, or one folder that holds all.

    python setup/package.py zips CACHE                    prints the paths of the two zips
    python setup/package.py folder TARGET SCALA JAR…      the versioned folder, with checksums

The same sources make the same bytes, whenever and wherever they are zipped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackagePath, files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JOBS = ROOT / "jobs"
# All that the driver imports beside Spark, in pure Python: pymongo does without its C extension.
DEPENDENCIES = ("click", "dnspython", "pymongo", "tomli")
COMPILED = (".so", ".pyd", ".pyc")
THE_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # that a zip can tell


def package_files() -> dict[str, Path]:
    """The files of our package, by their names in the zip."""
    found = (JOBS / "session_repair").rglob("*")
    return {str(f.relative_to(JOBS)): f for f in found if f.is_file() and f.suffix not in COMPILED}


def dependency_files() -> dict[str, Path]:
    """The files of the installed DEPENDENCIES that any Python can import."""
    found = {str(file): file for name in DEPENDENCIES for file in files(name) or ()}
    return {name: Path(str(f.locate())) for name, f in found.items() if is_imported(f)}


def is_imported(file: PackagePath) -> bool:
    """True of modules and licences; not of scripts, and not of what one machine's pip wrote."""
    told_by_pip = file.parts[0].endswith(".dist-info") and "licenses" not in file.parts
    return file.suffix not in COMPILED and ".." not in file.parts and not told_by_pip


def zipped(members: Mapping[str, Path], target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(members.items()):
            member = zipfile.ZipInfo(name, THE_FIRST_DATE)
            member.external_attr = 0o644 << 16
            archive.writestr(member, file.read_bytes(), zipfile.ZIP_DEFLATED)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def zips(cache: Path) -> list[Path]:
    """The zips of package and dependencies, named after what they hold."""
    made = []
    for name, members in (
        ("session_repair", package_files()),
        ("dependencies", dependency_files()),
    ):
        part = cache / f".{name}.{os.getpid()}"
        zipped(members, part)
        made.append(part.replace(cache / f"{name}-{sha256(part)[:16]}.zip"))
    return made


def our_version() -> str:
    sys.path.insert(0, str(JOBS))
    from session_repair import __version__

    return __version__


def folder(target: Path, scala: str, jars: list[Path]) -> Path:
    """``session-repair-VERSION_SCALA`` in the target: jobs, zips, jars, settings, SHA256SUMS."""
    made = target / f"session-repair-{our_version()}_{scala}"
    target.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".package.", dir=target))
    fresh.chmod(0o755)
    (fresh / "jars").mkdir()
    for job in JOBS.glob("*.py"):
        shutil.copyfile(job, fresh / job.name)
    for jar in jars:
        shutil.copyfile(jar, fresh / "jars" / jar.name)
    shutil.copyfile(ROOT / "conf" / "session_repair.toml", fresh / "session_repair.toml")
    zipped(package_files(), fresh / "session_repair.zip")
    zipped(dependency_files(), fresh / "dependencies.zip")
    held = sorted(file.relative_to(fresh) for file in fresh.rglob("*") if file.is_file())
    sums = "".join(f"{sha256(fresh / file)}  {file}\n" for file in held)
    (fresh / "SHA256SUMS").write_text(sums)
    if made.exists():
        shutil.rmtree(made)
    return fresh.rename(made)


def main(argv: list[str]) -> None:
    match argv:
        case ["zips", cache]:
            print(*zips(Path(cache)), sep="\n")
        case ["folder", target, scala, *jars]:
            print(folder(Path(target), scala, [Path(jar) for jar in jars]))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
