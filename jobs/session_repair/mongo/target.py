"""Target: the collections that a run works on, under the names of its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from session_repair.mongo.bson_types import all_parents
from session_repair.settings import Settings

Document = dict[str, Any]

# What the primary has now, and no wait for the others.
LATEST: Any = {"read_concern": ReadConcern("local"), "write_concern": WriteConcern(1)}


@dataclass(frozen=True)
class Target:
    """Where a run reads its plan and writes its corrections."""

    database: Database[Document]
    settings: Settings

    @property
    def journal(self) -> Collection[Document]:
        """The journal: reads what a majority has, waits until a majority has what it writes."""
        return self.database[self.settings.journal]

    @property
    def latest_journal(self) -> Collection[Document]:
        """The journal: reads what the primary has at this moment, and waits for nobody."""
        return self.journal.with_options(**LATEST)

    @property
    def parents(self) -> list[str]:
        return all_parents(self.settings.session_fields)

    def path(self, name: str) -> str:
        return self.settings.session_fields[name]
