"""Names: which fields, collections and databases there are, and which look like one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.database import Database

from session_repair.mongo.bson_types import readable
from session_repair.mongo.ends import documents_at_both_ends

Document = dict[str, Any]

NEWEST = 1_000  # documents that are asked for a field before all are
LOOKED_AT = 20  # documents at each end of the _id index
ALIKE = 0.6  # of 1; evnt_count and eventCount are, so is pageList for pages
NAMED = 3
SHOWN = 10  # collections or databases
OF_THE_SERVER = ("admin", "config", "local")


def names_there(database: Database[Document], name: str) -> str:
    """The collections that are there, or where there is none the databases; the likest first."""
    seen = database.list_collection_names(authorizedCollections=True)
    if there := [it for it in seen if not it.startswith("system.")]:
        return f"It holds {shown(there, name)}. "
    there = [it for it in database.client.list_database_names() if it not in OF_THE_SERVER]
    return f"This database is empty; there are {shown(there, database.name)}. " if there else ""


def shown(names: list[str], wanted: str) -> str:
    """Some of the names, the likest first, and how many more there are."""
    ranked = sorted(names, key=lambda name: (-likeness(wanted, name), name))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, ranked[:SHOWN])) + more


def is_in_any(collection: Collection[Document], path: str) -> bool:
    """Whether a document has the field, were it null. A scan, mostly, only where none has.

    The newest are looked at first: what the old ones of years lack, a scan would find last.
    """
    has_field = {path: {"$exists": True}}
    newest: list[Document] = [
        {"$sort": {"_id": pymongo.DESCENDING}},
        {"$limit": NEWEST},
        {"$match": has_field},
        {"$count": "documents"},
    ]
    return any(collection.aggregate(newest)) or collection.count_documents(has_field, limit=1) > 0


def names_like(collection: Collection[Document], path: str, known: Iterable[str]) -> list[str]:
    """The names in some documents that look most like the path, but for those that are known."""
    names: set[str] = set()
    for document in documents_at_both_ends(collection, LOOKED_AT):
        names.update(paths_in(readable(document)))
    ranked = sorted((-likeness(path, name), name) for name in names.difference(known))
    return [name for unlike, name in ranked if -unlike >= ALIKE][:NAMED]


def paths_in(value: Any, path: str = "") -> Iterator[str]:
    """The path of every field, in nested documents too, that is no such document itself."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths_in(inner, f"{path}.{name}" if path else name)
    elif path:
        yield path


def likeness(one: str, other: str) -> float:
    """How alike two paths are, as a whole or in their last names; between 0 and 1."""
    pairs = ((one, other), (one.rpartition(".")[2], other.rpartition(".")[2]))
    return max(SequenceMatcher(None, plain(left), plain(right)).ratio() for left, right in pairs)


def plain(name: str) -> str:
    """The name however its words are set apart."""
    return re.sub(r"[\W_]", "", name).lower()
