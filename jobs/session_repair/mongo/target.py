"""Target: the collections that a run works on, under the names of its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from session_repair.settings import Settings

Document = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Where a run reads its plan and writes its corrections."""

    database: Database[Document]
    settings: Settings

    @property
    def journal(self) -> Any:
        return self.database[self.settings.journal]

    def path(self, name: str) -> str:
        return self.settings.session_fields[name]
