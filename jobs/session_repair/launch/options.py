"""The command line: Spark's options, a verb, the verb's own options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from session_repair.errors import Refused
from session_repair.home import COMMAND

WITHOUT_VALUE = ("-v", "--verbose", "--supervise", "--version")
WITH_VALUE = (
    *("--archives", "--class", "--conf", "--deploy-mode", "--driver-class-path", "--driver-cores"),
    *("--driver-java-options", "--driver-library-path", "--driver-memory", "--exclude-packages"),
    *("--executor-cores", "--executor-memory", "--files", "--jars", "--keytab", "--kill"),
    *("--master", "--name", "--num-executors", "--packages", "--principal", "--properties-file"),
    *("--proxy-user", "--py-files", "--queue", "--remote", "--repositories", "--status"),
    *("--total-executor-cores",),
)
ALIKE = 0.75  # of 1; --uri-file, which is a verb's, is not like --files
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

    @property
    def asks_help(self) -> bool:
        """Whether the verb's options are to be listed."""
        return not set(HELP).isdisjoint(self.options)


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


def meant(word: str, known: Iterable[str]) -> str:
    """What is asked where a known word looks like this one."""
    alike = get_close_matches(word, known, 1, ALIKE)
    return f" Did you mean {alike[0]}?" if alike else ""


def refuse_unknown(line: CommandLine) -> None:
    """Raise Refused on an option before the verb that spark-submit does not have."""
    for name in line.named:
        if name not in (*WITHOUT_VALUE, *WITH_VALUE):
            raise Refused(
                f"Spark has no option {name}.{meant(name, WITH_VALUE)} Spark's own stand before "
                "the verb, the verb's after it."
            )


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
