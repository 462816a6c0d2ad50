"""The job and its peers, side by side: time, CPU, CPU of mongod, memory, and their ratios.

    .venv/bin/python -m benchmarks.compare --times 1 --times 10 --rounds 3 --json figures.json

In a clone after `./spark-submit.sh setup`. The data of each multiple is generated once and kept in
`~/.cache/session-repair/bench` (1.4 GB at 10x); `--build-only` does just that. From 10x on it lies
in the order of time, as an ingest stores it; `--shuffled` has it in the worst one. In each round
every contender runs once, on one server, the order shifting from round to round; the sessions are
put back before each run, outside the time. The result of each peer is compared with ours: first in
a round that is not timed, and after every timed run, when the clock stands. `--against CHECKOUT`
measures a second checkout in the same rounds.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

import click

from benchmarks.contenders import AGAINST, ROOT, VERBS, Contender, Result, contenders
from benchmarks.data import Bench, bench
from benchmarks.figures import Measured, document, text
from benchmarks.measure import CommandFailed, Cost, reap_orphans, wait_until_quiet
from demo.mongod import ServerStartError

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Verbs(click.ParamType):
    name = "verbs"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        wanted = tuple(value.split(","))
        for verb in wanted:
            if verb not in VERBS:
                self.fail(f"{verb!r} is none of {', '.join(VERBS)}", param, ctx)
        return wanted


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--times", type=click.IntRange(1), multiple=True, default=(1,), help="Size of data.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Timed runs of each contender.")
@click.option("--verbs", type=Verbs(), default=",".join(VERBS), help="What to measure.")
@click.option("--jobs", type=FOLDER, default=ROOT, help="The checkout that is ours.")
@click.option("--against", type=FOLDER, help="A second checkout, measured beside it.")
@click.option("--spark-options", default="", help="For ours, such as '--driver-memory 1g'.")
@click.option("--loop-up-to", default=1, help="Largest multiple at which the guide's loop runs.")
@click.option("--cache-gb", default=4.0, help="The server's cache; it takes what it needs.")
@click.option("--check/--no-check", default=True, help="First a round that is not timed.")
@click.option("--wait-idle", default=0.0, help="Seconds to wait for an idle machine, each time.")
@click.option("--shuffled", is_flag=True, help="The worst order to store in, from 10x on too.")
@click.option("--build-only", is_flag=True, help="Generate the data and end.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures.")
def main(
    times: tuple[int, ...],
    rounds: int,
    verbs: tuple[str, ...],
    jobs: Path,
    against: Path | None,
    spark_options: str,
    loop_up_to: int,
    cache_gb: float,
    check: bool,
    wait_idle: float,
    shuffled: bool,
    build_only: bool,
    json_file: Path | None,
) -> None:
    """Measure the job beside other ways to do its work."""
    reap_orphans()
    signal.signal(signal.SIGTERM, end_by_signal)
    checkouts = {"": jobs.resolve(), **({AGAINST: against.resolve()} if against else {})}
    about = about_the_run(checkouts, spark_options)
    results = []
    try:
        for multiple in times:
            with bench(multiple, cache_gb, shuffled) as ready:
                if build_only:
                    continue
                some = contenders(ready, verbs, checkouts, spark_options, multiple <= loop_up_to)
                results.append(measure(ready, some, rounds, check, wait_idle))
                if json_file:  # after each multiple: hours of work are not lost at the end
                    written = json.dumps(document(results, about), indent=1, ensure_ascii=False)
                    json_file.write_text(written + "\n")
    except (CommandFailed, ServerStartError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    if results:
        click.echo(text(results))


def measure(
    ready: Bench, some: list[Contender], rounds: int, check: bool, wait_idle: float
) -> Measured:
    """What every contender cost in every round. Raises RuntimeError when results differ."""
    known: dict[str, Result] = {}
    costs: dict[str, list[Cost]] = {it.name: [] for it in some}
    ready.restore()
    for number in range(0 if check else 1, rounds + 1):
        for contender in shifted(some, number - 1) if number else some:
            wait_until_quiet(wait_idle if number else 0)
            cost, result = contender.run(ready)
            if contender.writes:
                ready.restore()
            require_same(contender, result, known)
            if number:
                costs[contender.name].append(cost)
            label = f"round {number}" if number else "check"
            click.echo(f"{ready.times}x, {label}: {contender.name} {cost.wall:.1f} s", err=True)
    return Measured(ready.times, ready.figures.sessions, ready.figures.events, costs)


def shifted(some: list[Contender], by: int) -> Iterator[Contender]:
    """All of them, begun at another one, so that none always follows the same."""
    start = by % len(some)
    yield from some[start:] + some[:start]


def require_same(contender: Contender, result: Result, known: dict[str, Result]) -> None:
    """Raise RuntimeError when a figure is not what the others of the same verb gave."""
    first = known.setdefault(contender.verb, {})
    differing = {name for name in first.keys() & result.keys() if first[name] != result[name]}
    if differing:
        raise RuntimeError(
            f"{contender.name} differs in {', '.join(sorted(differing))}: {result}, not {first}"
        )
    known[contender.verb] = {**first, **result}


def about_the_run(checkouts: Mapping[str, Path], spark_options: str) -> dict[str, Any]:
    """When, where and of what the figures are."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(memory / 1e9),
            "load_before": [round(load, 1) for load in os.getloadavg()],
            "python": platform.python_version(),
        },
        "spark_options": spark_options,
        "commits": {f"ours{mark}": commit_of(path) for mark, path in checkouts.items()},
    }


def commit_of(checkout: Path) -> str:
    """The commit, marked when files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no git"


def end_by_signal(number: int, frame: FrameType | None) -> None:
    click.echo(f"Ended by signal {number}.", err=True)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
