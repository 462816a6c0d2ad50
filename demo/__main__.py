"""`./spark-submit.sh demo`: the guide's broken data on a real MongoDB, found, fixed, proved."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import click

from demo.generate import SEED, SESSIONS, Figures, generate
from demo.server import EmbeddedMongod, ServerStartError

DATABASE = "browsing"  # the default of the job's --database
WRAPPER = Path(__file__).resolve().parent.parent / "spark-submit.sh"
BROKEN, CLEAN = 3, 0  # the exit codes of the job that the story expects
UNEXPECTED, INTERRUPTED = 1, 130
PAGE_LIBRARIES = ("jinja2", "matplotlib")  # without them fix refuses --html
GOODBYE_SECONDS = 10.0  # for Spark to end by itself before it is killed


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--sessions",
    type=click.IntRange(min=1),
    default=SESSIONS,
    show_default=True,
    help="How many sessions to generate, in the guide's proportions.",
)
@click.option(
    "--seed", type=int, default=SEED, show_default=True, help="The same seed, the same data."
)
@click.option("--keep", is_flag=True, help="Leave the server running at the end.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-report"),
    show_default=True,
    help="Where fix writes its report.",
)
def demo(sessions: int, seed: int, keep: bool, report: Path) -> int:
    """Start an embedded MongoDB, fill it with broken sessions, then verify, fix, verify."""
    click.echo("Starting an embedded MongoDB …", err=True)
    with EmbeddedMongod(cache_gb=1, keep=keep) as server:
        click.echo(f"  {server.uri}  (process {server.pid}, data in {server.folder})", err=True)
        fill(server, sessions, seed)
        code = tell(server.uri, report.resolve())
        if keep:
            click.echo(f"\nThe server stays. Database {DATABASE}:")
            click.echo(f"  export MONGODB_URI='{server.uri}'")
            click.echo("Stop it and remove its data:")
            click.echo(f"  {server.how_to_stop()}")
    return code


def fill(server: EmbeddedMongod, sessions: int, seed: int) -> Figures:
    """The figures of the data that now stands in the database."""
    began = time.monotonic()
    click.echo(
        f"Generating {sessions:,} sessions as the broken ingest flow leaves them …", err=True
    )
    is_terminal = sys.stderr.isatty()

    def show(done: int) -> None:
        if is_terminal:
            click.echo(f"\r  {done:,}/{sessions:,}", nl=done == sessions, err=True)

    with server.client() as client:
        figures = generate(client[DATABASE], sessions, seed, show)
    click.echo(
        f"  {figures.sessions:,} sessions, {figures.events:,} events; {figures.empty:,} sessions "
        f"are empty, {figures.broken:,} of them although they have events "
        f"({time.monotonic() - began:.1f} s)",
        err=True,
    )
    return figures


def tell(uri: str, report: Path, wrapper: Path = WRAPPER) -> int:
    """0 when verify, fix, verify ended as the story expects; else 1, at the first that did not."""
    page = report / "report.html"
    html = ["--html", str(page)] if all(map(find_spec, PAGE_LIBRARIES)) else []
    with suppress(OSError):  # fix says in one line what is wrong with it
        report.mkdir(parents=True, exist_ok=True)
    story: list[tuple[list[str], int]] = [
        (["verify"], BROKEN),
        (["fix", "--apply", "--report", str(report), *html], CLEAN),
        (["verify"], CLEAN),
    ]
    for arguments, expected in story:
        shown = shlex.join(["./spark-submit.sh", *arguments])
        click.echo(f"\n$ {shown}")
        code = run([str(wrapper), *arguments], uri)
        if code != expected:
            click.echo(f"demo: `{shown}` ended with exit code {code}, not {expected}", err=True)
            return UNEXPECTED
    click.echo()
    if html:
        click.echo(f"To read in a browser: {page}")
    click.echo(f"The report is in {report}")
    return 0


def run(command: list[str], uri: str) -> int:
    """The exit code of a command that finds the server through its environment.

    It has a process group of its own: when the demo is interrupted, Spark ends with it.
    """
    environment = {**os.environ, "MONGODB_URI": uri}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            return process.wait()
        except BaseException as error:
            is_ctrl_c = isinstance(error, KeyboardInterrupt)
            end_group(process, signal.SIGINT if is_ctrl_c else signal.SIGTERM)
            raise


def end_group(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    """Asks the process and its children to end, and kills what is left of them after a while."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, first)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GOODBYE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the demo."""
    try:
        code: int = demo.main(arguments, prog_name="./spark-submit.sh demo", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"demo: {error.format_message()} See ./spark-submit.sh demo --help.", err=True)
        return error.exit_code
    except ServerStartError as error:
        click.echo(f"demo: {error}", err=True)
        return UNEXPECTED
    except (click.Abort, KeyboardInterrupt):
        click.echo("demo: interrupted; the server is stopped, its data removed", err=True)
        return INTERRUPTED
    return code


if __name__ == "__main__":
    raise SystemExit(main())
