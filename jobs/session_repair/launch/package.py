"""What a driver needs that does not run in this folder: two zips, or one folder that holds all.

The same sources make the same bytes, whenever and wherever they are zipped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackagePath
from pathlib import Path

from session_repair import __version__
from session_repair.home import CONFIG_SCHEMA, DEFAULT_CONFIG, JOBS, PACKAGE
from session_repair.launch.steps import sha256

# All that the driver imports beside Spark, in pure Python: pymongo does without its C extension.
DEPENDENCIES = ("click", "dnspython", "pymongo", "tomli")
COMPILED = (".so", ".pyd", ".pyc")
THE_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # that a zip can tell


def package_files() -> dict[str, Path]:
    """The files of our package, by their names in the zip."""
    found = (it for it in PACKAGE.rglob("*") if it.is_file() and it.suffix not in COMPILED)
    return {str(file.relative_to(JOBS)): file for file in found}


def dependency_files(site_packages: Iterable[Path]) -> dict[str, Path]:
    """The files of the DEPENDENCIES installed there that any Python can import."""
    path = [str(folder) for folder in site_packages]
    installed = [it for name in DEPENDENCIES for it in Distribution.discover(name=name, path=path)]
    found = {str(file): file for it in installed for file in it.files or ()}
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


def zips(cache: Path, site_packages: Iterable[Path]) -> list[Path]:
    """The zips of package and dependencies, named after what they hold."""
    made = []
    for name, members in (
        ("session_repair", package_files()),
        ("dependencies", dependency_files(site_packages)),
    ):
        part = cache / f".{name}.{os.getpid()}"
        zipped(members, part)
        made.append(part.replace(cache / f"{name}-{sha256(part)[:16]}.zip"))
    return made


def folder(
    target: Path,
    scala: str,
    jars: Iterable[Path],
    site_packages: Iterable[Path],
    job_names: Iterable[str],
) -> Path:
    """``session-repair-VERSION_SCALA`` in the target: all of it, with SHA256SUMS."""
    made = target / f"session-repair-{__version__}_{scala}"
    target.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".package.", dir=target))
    fresh.chmod(0o755)
    (fresh / "jars").mkdir()
    for job in job_names:
        shutil.copyfile(JOBS / f"{job}.py", fresh / f"{job}.py")
    for jar in jars:
        shutil.copyfile(jar, fresh / "jars" / jar.name)
    for settings in (DEFAULT_CONFIG, CONFIG_SCHEMA):
        shutil.copyfile(settings, fresh / settings.name)
    zipped(package_files(), fresh / "session_repair.zip")
    zipped(dependency_files(site_packages), fresh / "dependencies.zip")
    held = sorted(file.relative_to(fresh) for file in fresh.rglob("*") if file.is_file())
    sums = "".join(f"{sha256(fresh / file)}  {file}\n" for file in held)
    (fresh / "SHA256SUMS").write_text(sums)
    if made.exists():
        shutil.rmtree(made)
    return fresh.rename(made)
