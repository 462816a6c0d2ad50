"""A real Chromium, from npm; it needs no root and nothing of the machine's."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.shell import cache, node_and_npm, put_in_place, run

CHROMIUM = "@sparticuz/chromium@153.0.0"  # its brotli files hold the browser and its libraries
PARTS = ("chromium", "al2023.tar")
UNPACK = """
const [from, to] = process.argv.slice(1)
require('stream').pipeline(
  require('fs').createReadStream(from), require('zlib').createBrotliDecompress(),
  require('fs').createWriteStream(to), error => { if (error) throw error })
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, headless; its fonts are those that matplotlib brings."""
    folder = install_chromium()
    libraries = [str(folder / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    environment: dict[str, str | float | bool] = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
        "FONTCONFIG_FILE": str(folder / "fonts.conf"),
    }
    # Playwright's own node needs a library that not every machine has.
    os.environ["PLAYWRIGHT_NODEJS_PATH"], _ = node_and_npm()
    # What it shows are files of the tests; its sandbox cannot start under root or in a container.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(folder / "chromium"),
            args=["--disable-dev-shm-usage"],
            chromium_sandbox=False,
            env=environment,
        )
        yield browser
        browser.close()


def install_chromium() -> Path:
    """The browser's folder in the cache, put there by npm the first time."""
    folder = cache() / CHROMIUM.rpartition("/")[2].replace("@", "-")
    if not folder.exists():
        cache().mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="fetch.chromium.", dir=cache()))
        node, npm = node_and_npm()
        install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(fresh)]
        run([*npm, *install, CHROMIUM])
        for part in PARTS:
            packed = fresh / "node_modules/@sparticuz/chromium/bin" / f"{part}.br"
            run([node, "-e", UNPACK, str(packed), str(fresh / part)])
            packed.unlink()
        with tarfile.open(fresh / "al2023.tar") as libraries:
            # Python 3.11.4 brought the filter; the archive is one that npm checked the sum of.
            safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            libraries.extractall(fresh, **safely)
        (fresh / "chromium").chmod(0o755)
        put_in_place(fresh, folder)
    fonts = f"{matplotlib.get_data_path()}/fonts/ttf"
    (folder / "fonts.conf").write_text(
        f"<fontconfig><dir>{fonts}</dir><cachedir>{folder}/fonts</cachedir></fontconfig>\n"
    )
    return folder
