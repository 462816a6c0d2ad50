"""What the runs come to: medians, their spread, ratios beside their targets; as text and data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.contenders import (
    AGAINST,
    EMPTY,
    FIX,
    FIX_DAY,
    FIX_OUTAGE,
    GUIDE_LOOP,
    SESSION_ID,
    VERIFY,
    VERIFY_DAY,
    VERIFY_DECLARED,
    VERIFY_RUN,
)
from benchmarks.measure import Cost

MEASURES = tuple(field.name for field in fields(Cost))
TITLES = {
    "wall": "wall s",
    "cpu": "CPU s",
    "mongod_cpu": "mongod CPU s",
    "other_cpu": "others' CPU s",
    "peak_mb": "peak MB",
}
GROWTH_TARGET = 3.2  # of the time from 10x to 30x


@dataclass(frozen=True)
class Pair:
    """A ratio to look at, and at which multiple it has to be how small."""

    ours: str
    peer: str
    measure: str
    times: int | None = None
    at_most: float | None = None
    less: str | None = None  # a contender whose cost is taken from both first


PAIRS = (
    Pair(FIX, GUIDE_LOOP, "wall", 1, 0.6),
    Pair(VERIFY, GUIDE_LOOP, "wall", 1, 0.75),
    Pair(SESSION_ID, EMPTY, "wall", 1, 2.5),
    Pair(VERIFY_DAY, VERIFY, "wall", 10, 0.15, less=EMPTY),
    Pair(FIX_DAY, FIX, "mongod_cpu", 10, 0.1),
    Pair(FIX_OUTAGE, FIX, "mongod_cpu"),
    Pair(VERIFY_RUN, EMPTY, "wall", 1, 2.5),
    Pair(FIX, "pymongo", "wall", 10, 1.5),
    Pair(FIX, "server only", "wall"),
    Pair(FIX, "server only", "mongod_cpu", 10, 2.2),
    Pair(VERIFY, "server $group", "wall", 10, 3.8),
    Pair(VERIFY, "server $group", "mongod_cpu", 10, 2.2),
    Pair(VERIFY, "connector scan", "wall"),
    *(
        Pair(VERIFY_DECLARED[number], VERIFY_DECLARED[0], measure, 10, 1 + 0.03 * number)
        for number in (1, 3)
        for measure in ("wall", "cpu", "mongod_cpu")
    ),
    *(
        Pair(verb, f"{verb}{AGAINST}", measure)
        for verb in (FIX, VERIFY, SESSION_ID)
        for measure in ("wall", "cpu", "mongod_cpu", "peak_mb")
    ),
)


@dataclass(frozen=True)
class Measured:
    """All rounds at one multiple: the costs of each contender, one per round."""

    times: int
    sessions: int
    events: int
    costs: dict[str, list[Cost]]

    def values(self, contender: str, measure: str) -> list[float]:
        return [getattr(cost, measure) for cost in self.costs[contender]]


@dataclass(frozen=True)
class Ratio:
    """Ours divided by a peer in the same round: the median and the spread over the rounds.

    ``of_least`` divides our least by the peer's least. Other work on the machine only ever adds, so
    where it was busy in some of the rounds this is the better figure.
    """

    name: str
    measure: str
    median: float
    least: float
    greatest: float
    of_least: float
    at_most: float | None

    @property
    def judgement(self) -> str:
        if self.at_most is None:
            return ""
        return f"at most {self.at_most}: {'met' if self.median <= self.at_most else 'missed'}"


def ratios(measured: Measured) -> Iterator[Ratio]:
    for pair in PAIRS:
        if pair.ours in measured.costs and pair.peer in measured.costs:
            ours = measured.values(pair.ours, pair.measure)
            peer = measured.values(pair.peer, pair.measure)
            at_most = pair.at_most if pair.times == measured.times else None
            name = f"{pair.ours} ÷ {pair.peer}"
            if pair.less is not None:
                less = measured.values(pair.less, pair.measure)
                ours, peer = differences(ours, less), differences(peer, less)
                name += f", each less {pair.less}"
            yield ratio(name, pair.measure, ours, peer, at_most)


def differences(costs: list[float], less: list[float]) -> list[float]:
    return [cost - part for cost, part in zip(costs, less, strict=True)]


def growth(results: Sequence[Measured]) -> Iterator[Ratio]:
    """How the time of a verb grows from one multiple to the next larger one."""
    for small, large in pairwise(sorted(results, key=lambda it: it.times)):
        at_most = GROWTH_TARGET if (small.times, large.times) == (10, 30) else None
        for verb in (FIX, VERIFY):
            if verb in small.costs and verb in large.costs:
                name = f"{verb}, {small.times}x → {large.times}x"
                walls = large.values(verb, "wall"), small.values(verb, "wall")
                yield ratio(name, "wall", *walls, at_most)


def ratio(
    name: str, measure: str, ours: list[float], peers: list[float], at_most: float | None
) -> Ratio:
    found = [divided(our, peer) for our, peer in zip(ours, peers, strict=True)]
    of_least = divided(min(ours), min(peers))
    return Ratio(name, measure, median(found), min(found), max(found), of_least, at_most)


def divided(ours: float, peer: float) -> float:
    return ours / peer if peer else float("inf")


def text(results: Sequence[Measured]) -> str:
    parts = [part for it in results for part in (costs_table(it), ratios_table(ratios(it)))]
    grown = list(growth(results))
    return "\n\n".join([*parts, *([ratios_table(grown)] if grown else [])])


def costs_table(measured: Measured) -> str:
    rounds = len(next(iter(measured.costs.values())))
    title = (
        f"{measured.times}x: {measured.sessions:,} sessions, {measured.events:,} events, "
        f"{rounds} round{'s' if rounds > 1 else ''}, median (least–greatest)"
    )
    rows = [
        [name, *(spread(measured.values(name, measure), rounds) for measure in MEASURES)]
        for name in measured.costs
    ]
    return f"{title}\n\n{table(['', *(TITLES[it] for it in MEASURES)], rows)}"


def ratios_table(found: Iterable[Ratio]) -> str:
    rows = [
        [
            it.name,
            TITLES[it.measure],
            f"{it.median:.2f}",
            f"{it.least:.2f}–{it.greatest:.2f}",
            f"{it.of_least:.2f}",
            it.judgement,
        ]
        for it in found
    ]
    return table(["ratio", "of", "median", "least–greatest", "of the least", "target"], rows)


def spread(values: Sequence[float], rounds: int) -> str:
    middle, least, greatest = (
        f"{value:.0f}" if value >= 100 else f"{value:.1f}"
        for value in (median(values), min(values), max(values))
    )
    return middle if rounds == 1 else f"{middle} ({least}–{greatest})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal too."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(widths[n]) for n, cell in enumerate(cells)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def document(results: Sequence[Measured], about: dict[str, Any]) -> dict[str, Any]:
    """Everything as plain data: each cost of each round, and the ratios."""
    return {
        **about,
        "measured": [
            {
                "times": it.times,
                "sessions": it.sessions,
                "events": it.events,
                "costs": {
                    name: [
                        {measure: round(value, 2) for measure, value in asdict(cost).items()}
                        for cost in costs
                    ]
                    for name, costs in it.costs.items()
                },
                "ratios": [rounded(found) for found in ratios(it)],
            }
            for it in results
        ],
        "growth": [rounded(found) for found in growth(results)],
    }


def rounded(found: Ratio) -> dict[str, Any]:
    values = asdict(found)
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
