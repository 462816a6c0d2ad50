"""One worker against two of a standalone cluster: how long `verify` takes on each.

    .venv/bin/python -m benchmarks.workers --times 10

Each worker has one core and 1 GB. On a machine of two cores MongoDB, the driver and the second
worker share what the first leaves.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.contenders import FIXABLE_REMAINS, ROOT, clean_environment
from benchmarks.data import bench
from benchmarks.figures import table
from benchmarks.measure import CommandFailed, measured, reap_orphans
from tests.harness.cluster import LOCAL, standalone_cluster

WORKERS = (1, 2)
OPTIONS = (
    *("--driver-memory", "768m", "--executor-memory", "768m"),
    *("--conf", f"spark.driver.host={LOCAL}"),
)


@click.command(context_settings={"show_default": True})
@click.option("--times", type=click.IntRange(1), default=10, help="Size of data.")
@click.option("--rounds", type=click.IntRange(1), default=1)
def main(times: int, rounds: int) -> None:
    """Measure verify on a cluster of one worker, and of two."""
    reap_orphans()
    rows = []
    with bench(times, 4.0) as ready:
        ready.restore()
        environment = {**clean_environment(), "MONGODB_URI": ready.uri, "SPARK_LOCAL_IP": LOCAL}
        for number in WORKERS * rounds:
            with (
                tempfile.TemporaryDirectory() as home,
                standalone_cluster(Path(home), number) as cluster,
            ):
                command = (str(ROOT / "spark-submit.sh"), "--master", cluster.master, *OPTIONS)
                try:
                    cost, _ = measured(
                        (*command, "verify"), environment, ready.member.pid, FIXABLE_REMAINS
                    )
                except CommandFailed as error:
                    raise click.ClickException(str(error)) from error
            rows.append([str(number), *(f"{s:.0f}" for s in (cost.wall, cost.cpu, cost.other_cpu))])
    click.echo(f"{times}x: verify on a standalone cluster\n")
    click.echo(table(["workers", "wall s", "driver's CPU s", "CPU s of workers and others"], rows))


if __name__ == "__main__":
    main()
