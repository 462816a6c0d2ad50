"""A machine that has nothing: the two commands of the README bring all that they need."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.harness.bare import BareMachine, bare_machine
from tests.harness.commands import Ended

# One test of each kind of part: rules, a whole command, the browser, mongosh, the notebook's
# kernel, a wheel that pip builds, a Spark in a process of its own.
OF_EACH_KIND = (
    "tests/unit/test_envelope.py",
    "tests/e2e/test_repair.py",
    "tests/e2e/test_page_in_browser.py",
    "tests/e2e/test_notebook.py",
    "tests/e2e/test_wheel.py",
    "tests/e2e/test_logs.py",
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareMachine]:
    """No Java, no compiler, no library beyond those of Python and git; the home is empty."""
    with bare_machine(tmp_path_factory.mktemp("bare")) as machine:
        for missing in ("java", "gcc", "node", "mongod", "curl"):
            assert machine.run(f"command -v {missing}").out == ""
        assert "libcurl.so.4" not in machine.run("ldconfig -p; ls /usr/lib/*/libcurl*").out
        yield machine


def test_without_a_network_it_says_what_is_not_reached(bare: BareMachine) -> None:
    ended = bare.run("./spark-submit.sh demo", network=False)
    assert (ended.code, ended.out) == (1, "")
    assert "the package registry is not reached (" in ended.err.splitlines()[-1]


@pytest.fixture(scope="module")
def story(bare: BareMachine) -> Ended:
    """The first command."""
    return bare.run("./spark-submit.sh demo")


def test_the_first_command_tells_its_story(story: Ended) -> None:
    assert story.code == 0, story.err
    for line in ("Total sessions: 45291", "Fixed 12545 sessions", "All fixable sessions have been"):
        assert line in story.out
    assert "no version information" not in story.told


def test_the_second_command_sets_up_and_runs_a_test_of_each_kind(
    bare: BareMachine, story: Ended
) -> None:
    ended = bare.run(f"./run-tests.sh -m 'not faults' {' '.join(OF_EACH_KIND)}", minutes=40)
    assert ended.code == 0, ended.told[-5_000:]
    (summary,) = re.findall(r"^=+ (\d+ passed.*) in .*=$", ended.out, re.MULTILINE)
    assert re.fullmatch(r"\d+ passed", summary), summary
