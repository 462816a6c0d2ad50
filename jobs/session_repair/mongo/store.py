"""Store: the database of a command, its four collections, and the paths of a session's fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from session_repair.mongo.bson_types import RAW, all_parents
from session_repair.settings import Settings

Document = dict[str, Any]


@dataclass(frozen=True)
class Store:
    """Where a command reads and writes, under the names of its settings.

    Reads what a majority has, and waits until a majority has what it writes.
    """

    database: Database[Document]
    settings: Settings

    @property
    def client(self) -> MongoClient[Document]:
        return self.database.client

    @property
    def sessions(self) -> Collection[Document]:
        return self.database[self.settings.sessions]

    @property
    def events(self) -> Collection[Document]:
        return self.database[self.settings.events]

    @property
    def journal(self) -> Collection[Document]:
        return self.database[self.settings.journal]

    @property
    def runs(self) -> Collection[Document]:
        return self.database[self.settings.runs]

    @property
    def collections(self) -> tuple[Collection[Document], ...]:
        """All that a run reads or writes."""
        return self.sessions, self.events, self.journal, self.runs

    @property
    def parents(self) -> list[str]:
        """The paths on the way to nested fields of a session, the outermost first."""
        return all_parents(self.settings.written_fields)

    def path(self, name: str) -> str:
        """Where a session keeps the field."""
        return self.settings.written_fields[name]

    def using(self, settings: Settings) -> Store:
        """The same database under other settings."""
        return replace(self, settings=settings)


def raw(collection: Collection[Document]) -> Any:
    """The collection, its documents as the bytes that they are."""
    return collection.with_options(codec_options=RAW)
