"""Lines: what the texts for the terminal are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from session_repair.repair.report import Report, Sample, Symptoms

HEAD, TAIL = '{"v": ', "}"  # of what a _id stands in
OBJECT_ID = re.compile(r'\{"\$oid": "([0-9a-f]{24})"\}')
LINE = "=" * 60
SHOWN = 3  # _ids of malformed documents in a line; the JSON has more


def printable(text: str) -> str:
    """The text with control and formatting characters escaped: it cannot steer a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def shown(value: str | None) -> str:
    if value is None:
        return "none"
    text = printable(value)
    return text if len(text) <= 100 else text[:99] + "…"


def title(text: str) -> Iterator[str]:
    yield from (LINE, text, LINE)


def window_line(report: Report) -> Iterator[str]:
    """What was looked at, where that is not all there is."""
    if report.window:
        since, until = (f"{report.window[name]:%Y-%m-%d %H:%M}" for name in ("since", "until"))
        yield f"Only sessions active from {since} until {until} UTC"


def name_of(sample: Sample) -> str:
    """The session_id, else the _id: the digits of an ObjectId, the extended JSON of another."""
    if sample.session_id is not None:
        return sample.session_id
    if sample.session_key is None:
        return "without a session_id"
    return name_of_key(sample.session_key)


def name_of_key(key: str) -> str:
    """The digits of an ObjectId, the extended JSON of another _id."""
    held = key.removeprefix(HEAD).removesuffix(TAIL)
    is_object_id = OBJECT_ID.fullmatch(held)
    return is_object_id[1] if is_object_id else held


def sample_line(symptom: Symptoms, sample: Sample) -> str:
    parts = [printable(name_of(sample))]
    if sample.stored is not None or sample.rebuilt is not None:
        parts.append(f"{shown(sample.stored)} → {shown(sample.rebuilt)}")
    if sample.evidence is not None:
        parts.append(printable(sample.evidence))
    return f"{symptom.code}  {'  '.join(parts)}"
