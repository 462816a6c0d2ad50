"""Charts: sessions over time for the HTML report, as SVG in the colours and font of the page.

A wide picture is for a desk and for paper, a narrow one for a phone; their text is of one size.
Each serves light and dark: matplotlib draws with stand-in colours, which are then replaced by the
names of the page's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.style
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from session_repair.repair.report import OTHER, Day

# Units of its width and height: about as many pixels.
WIDE, NARROW = (960, 220), (400, 210)
LEFT, RIGHT, BOTTOM, TOP = 46, 30, 33, 9  # units around the bars: room for half a label
TEXT = 13.5
POINTS = 72  # per inch; a unit of the picture is a point of matplotlib's
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"

# What stands in for the colours of the page, by their names there.
INK, SOFT, LINES = "#000001", "#000002", "#000003"
REPAIR, STAY = "#000004", "#000005"
NAMES = {
    INK: "ink",
    SOFT: "soft",
    LINES: "lines",
    REPAIR: "repair",
    STAY: "stay",
}
STYLE = {
    "axes.edgecolor": LINES,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "font.size": TEXT,
    "svg.fonttype": "none",
    "svg.hashsalt": "session-repair",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINES,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
}

# For ticks that stand for years, months and days; no bar stands for less than a day.
DATES = ["%Y", "%b", "%d %b", "%d %b", "%d %b", "%d %b"]
BINS = 92  # bars; more of them could not be told apart on a phone
STEPS = (1, 7, 30, 365, 3650, 36500)  # days that one bar may stand for
CREDIBLE = date(1900, 1, 1), date(2199, 12, 31)  # a day beyond is a sentinel or a mistake
FAR = 3  # times the span of nearly all sessions: a chart that wide would show nothing


@dataclass(frozen=True)
class Timeline:
    """Sessions with findings, in bars of so many days each, and those that began outside."""

    begins: tuple[date, ...]
    repair: tuple[int, ...]
    stay: tuple[int, ...]
    last: date
    step: int
    outside: int


def timeline(days: Sequence[Day]) -> Timeline | None:
    """The span in which nearly all sessions with findings began; None without a credible day."""
    of_sessions = [day for day in days if day.sessions and day.day != OTHER]
    known = [(date.fromisoformat(day.day), day) for day in of_sessions]
    dated = [(day, counts) for day, counts in known if CREDIBLE[0] <= day <= CREDIBLE[1]]
    if not dated:
        return None
    first, last = window([(day, counts.sessions) for day, counts in dated])
    inside = [(day, counts) for day, counts in dated if first <= day <= last]
    span = (last - first).days + 1
    step = next((step for step in STEPS if span / step <= BINS), STEPS[-1])
    repair, stay = ([0] * (-(-span // step)) for _ in range(2))
    for day, counts in inside:
        number = (day - first).days // step
        repair[number] += counts.to_correct
        stay[number] += counts.sessions - counts.to_correct
    return Timeline(
        begins=tuple(first + timedelta(days=number * step) for number in range(len(repair))),
        repair=tuple(repair),
        stay=tuple(stay),
        last=last,
        step=step,
        outside=sum(day.sessions for day in days) - sum(repair) - sum(stay),
    )


def window(dated: Sequence[tuple[date, int]]) -> tuple[date, date]:
    """First and last day of all; of the middle 98 % where the others lie far away from it."""
    total = sum(count for _, count in dated)
    middle, seen = [], 0
    for day, count in dated:
        if seen + count > total * 0.01 and seen < total * 0.99:
            middle.append(day)
        seen += count
    first, last = dated[0][0], dated[-1][0]
    near = FAR * ((middle[-1] - middle[0]).days + 30)
    return (first, last) if (last - first).days <= near else (middle[0], middle[-1])


def timeline_chart(line: Timeline, size: tuple[int, int]) -> str:
    """Bars over time: in full what was found, the lower part what stays."""
    wide, high = size
    with drawing(size) as figure:
        axes = figure.add_axes(
            (LEFT / wide, BOTTOM / high, 1 - (LEFT + RIGHT) / wide, 1 - (BOTTOM + TOP) / high)
        )
        width = line.step * (0.8 if len(line.begins) < BINS / 2 else 0.9)
        begins = [date2num(day) + (line.step - width) / 2 for day in line.begins]
        bars: dict[str, Any] = {"align": "edge", "linewidth": 0}
        axes.bar(begins, line.stay, width, color=STAY, **bars)
        axes.bar(begins, line.repair, width, line.stay, color=REPAIR, **bars)
        first = date2num(line.begins[0])
        axes.set_xlim(first, max(first + len(line.begins) * line.step, first + 7))
        axes.xaxis_date("UTC")
        locator = AutoDateLocator(minticks=2, maxticks=wide // 80, interval_multiples=False)
        locator.intervald[3] = [1, 2, 4, 7, 14]  # days
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(
            ConciseDateFormatter(
                locator,
                formats=DATES,
                zero_formats=["", "%Y", *DATES[2:]],
                show_offset=False,
            )
        )
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.grid(axis="y", color=LINES, linewidth=0.75)
        axes.tick_params("x", length=0, pad=12)
        axes.tick_params("y", length=0, pad=6)
        totals = [one + other for one, other in zip(line.repair, line.stay, strict=True)]
        peak = max(range(len(totals)), key=totals.__getitem__)
        return svg(
            figure,
            f"Sessions with findings by the day on which they began, {line.begins[0]} to "
            f"{line.last}: {sum(totals):,}, of which {sum(line.stay):,} stay; most of them, "
            f"{totals[peak]:,}, from {line.begins[peak]} on.",
        )


def short(count: float) -> str:
    """1500 as 1.5k, so that a scale takes little room."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


class drawing:
    """An empty figure of that size in the look of the page, whatever the user's settings are."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.inches = (size[0] / POINTS, size[1] / POINTS)
        self.style = matplotlib.style.context(["default", STYLE])

    def __enter__(self) -> Figure:
        self.style.__enter__()
        return Figure(figsize=self.inches)

    def __exit__(self, *error: Any) -> None:
        self.style.__exit__(*error)


def svg(figure: Figure, label: str) -> str:
    """The figure as an element of an HTML page, with the text that stands for it."""
    drawn = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(drawn.getvalue())
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": label, "class": "chart"})
    used = {it.attrib[LINK][1:] for it in root.iter() if LINK in it.attrib}
    text = ElementTree.tostring(root, encoding="unicode")
    used |= set(re.findall(r"url\(#([^)]+)\)", text))
    for element in list(root.iter()):
        element.tag = element.tag.removeprefix(SVG)
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
        if LINK in element.attrib:
            element.attrib["href"] = element.attrib.pop(LINK)
        if "style" in element.attrib:
            element.attrib["style"] = themed(element.attrib["style"])
    for parent in list(root.iter()):
        for child in [it for it in parent if it.tag in ("metadata", "style")]:
            parent.remove(child)
    return ElementTree.tostring(root, encoding="unicode")


def themed(style: str) -> str:
    """The style with the page's colours and font."""
    style = re.sub(r"font: ([\d.]+px) [^;]+", r"font-size: \1", style)
    style = re.sub(r"font-family: [^;]+;?", "", style)
    return re.sub(r"#00000[1-5]", lambda color: f"var(--{NAMES[color[0]]})", style)
