"""How cost grows with the data, as a picture: what `benchmarks.compare --json` wrote, drawn.

.venv/bin/python -m benchmarks.curve figures.json docs/growth.svg
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.contenders import FIX, VERIFY

DRAWN = {FIX: "fix --apply", VERIFY: "verify"}
MEASURES = {"wall": "seconds", "mongod_cpu": "CPU seconds of MongoDB"}
FILE = click.Path(dir_okay=False, path_type=Path)


def points(
    documents: Iterable[dict[str, Any]], contender: str, measure: str
) -> list[tuple[int, float]]:
    """(documents, median cost) of each multiple, the smallest first."""
    found = [
        (it["sessions"] + it["events"], median(cost[measure] for cost in it["costs"][contender]))
        for document in documents
        for it in document["measured"]
        if contender in it["costs"]
    ]
    return sorted(found)


def draw(documents: Sequence[dict[str, Any]], target: Path) -> None:
    """Write the picture; the same figures make the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(MEASURES), figsize=(9, 3.4), layout="constrained")
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        for contender, label in DRAWN.items():
            curve(axis, points(documents, contender, measure), label)
        axis.set_title(title, loc="left")
        axis.set_xlabel("documents read, millions")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def curve(axis: Any, found: Sequence[tuple[int, float]], label: str) -> None:
    axis.plot([n / 1e6 for n, _ in found], [cost for _, cost in found], marker="o", label=label)


@click.command()
@click.argument("figures", type=FILE, nargs=-1, required=True)
@click.argument("target", type=FILE)
def main(figures: tuple[Path, ...], target: Path) -> None:
    """Draw FIGURES, files that compare wrote, as the picture TARGET (SVG)."""
    draw([json.loads(file.read_text()) for file in figures], target)


if __name__ == "__main__":
    main()
