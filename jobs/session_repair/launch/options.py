"""The command line: Spark's options, a verb, the verb's own options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from session_repair.errors import Refused
from session_repair.home import COMMAND

WITHOUT_VALUE = ("-v", "--verbose", "--supervise", "--version")
HELP = ("-h", "--help")


@dataclass
class CommandLine:
    """What was typed; of an option that is repeated the last value counts, as for Spark."""

    spark: list[str] = field(default_factory=list)  # all that stands before the verb
    named: dict[str, str] = field(default_factory=dict)  # of it, --name: value
    conf: dict[str, str] = field(default_factory=dict)  # of it, --conf key=value
    is_help: bool = False
    verb: str = ""
    options: list[str] = field(default_factory=list)


def parse(words: Sequence[str]) -> CommandLine:
    """Raises Refused where a Spark option has no value."""
    line, rest = CommandLine(), list(words)
    while rest:
        word = rest.pop(0)
        if word in HELP:
            line.is_help = True
            return line
        if word in WITHOUT_VALUE:
            line.spark.append(word)
            line.named[word] = ""
            continue
        if not word.startswith("-"):
            line.verb, line.options = word, rest
            return line
        name, is_joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not is_joined:
            if not rest:
                raise Refused(
                    f"{word} has no value, and no verb follows. {COMMAND} --help shows the usage."
                )
            value = rest.pop(0)
        name = "--conf" if name == "-c" else name
        line.spark += [name, value]
        line.named[name] = value
        if name == "--conf" and "=" in value:
            key, _, line.conf[key] = value.partition("=")
    return line


def without_option(words: Sequence[str], option: str) -> tuple[list[str], str | None]:
    """The words without that option, and its last value; None where it is not given."""
    kept, value, rest = [], None, list(words)
    while rest:
        word = rest.pop(0)
        if word == option:
            value = rest.pop(0) if rest else ""
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
        else:
            kept.append(word)
    return kept, value
