"""Lines: what the texts for the terminal are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from session_repair.repair.plain import plain
from session_repair.repair.report import Report, Sample, Symptoms

HEAD, TAIL = '{"v": ', "}"  # of what a _id stands in
NOTHING = "nothing"  # stands for what is absent or null
LINE = "=" * 60
SHOWN = 3  # _ids of malformed documents in a line; the JSON has more


def printable(text: str) -> str:
    """The text with control and formatting characters escaped: it cannot steer a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def visible(text: str) -> str:
    """The text, printable; in quotes where it begins or ends with a blank, or is empty."""
    is_plain = text and text == text.strip(" ")
    return printable(text) if is_plain else f'"{printable(text)}"'


def shown(value: str | None) -> str:
    """A value as far as a line has room for it."""
    if value is None:
        return NOTHING
    text = visible(plain(value))
    return text if len(text) <= 100 else text[:99] + "…"


def change(stored: str | None, rebuilt: str | None, difference: Iterable[str]) -> str:
    """What is and what will be: both values, or what differs where that tells more."""
    steps = ", ".join(map(shown, difference))
    return steps or f"{shown(stored)} → {shown(rebuilt)}"


def title(text: str) -> Iterator[str]:
    yield from (LINE, text, LINE)


def window_line(report: Report) -> Iterator[str]:
    """What was looked at, where that is not all there is."""
    if report.window:
        since, until = (f"{report.window[name]:%Y-%m-%d %H:%M}" for name in ("since", "until"))
        yield f"Only sessions active from {since} until {until} UTC"


def name_of(sample: Sample) -> str:
    """The session_id, else the _id."""
    if sample.session_id is not None:
        return sample.session_id
    if sample.session_key is None:
        return "without a session id"
    return name_of_key(sample.session_key)


def name_of_key(key: str) -> str:
    """The _id in the envelope, as people read it."""
    return plain(key.removeprefix(HEAD).removesuffix(TAIL))


def sample_line(symptom: Symptoms, sample: Sample) -> str:
    parts = [visible(name_of(sample))]
    if sample.stored is not None or sample.rebuilt is not None:
        parts.append(change(sample.stored, sample.rebuilt, sample.difference))
    if sample.evidence is not None:
        parts.append(printable(plain(sample.evidence)))
    return f"{symptom.code}  {'  '.join(parts)}"
