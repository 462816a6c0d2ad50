"""What the launcher hands over to: in this process where it can, for a second Python costs time."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from session_repair.errors import Refused

# Like python -m, without the current folder on the path, where a file of the user's could be taken
# for one of ours (python -P does the same from 3.11 on).
RUN_MODULE = """\
import runpy, sys
del sys.path[0], sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Command:
    """Another program, which takes the place of this one."""

    words: list[str]
    environment: Mapping[str, str]

    def run(self) -> NoReturn:
        try:
            os.execvpe(self.words[0], self.words, dict(self.environment))
        except OSError as error:
            raise Refused(f"{self.words[0]} cannot be run: {error.strerror}.") from None


@dataclass(frozen=True)
class Module:
    """A Python module, run as a script, that finds others in these folders."""

    name: str
    words: list[str]
    folders: list[str]
    environment: Mapping[str, str]

    @property
    def python_path(self) -> dict[str, str]:
        """The environment with the folders."""
        given = self.environment.get("PYTHONPATH")
        path = os.pathsep.join([*self.folders, *([given] if given else [])])
        return {**self.environment, **({"PYTHONPATH": path} if path else {})}

    def run(self) -> None:
        """In this process. It ends as the module ends, mostly by SystemExit."""
        os.environ.clear()
        os.environ.update(self.python_path)
        sys.path[:0] = self.folders
        sys.argv[1:] = self.words
        runpy.run_module(self.name, run_name="__main__", alter_sys=True)

    def by(self, python: str) -> Command:
        """In a process of another Python."""
        return Command([python, "-c", RUN_MODULE, self.name, *self.words], self.python_path)
