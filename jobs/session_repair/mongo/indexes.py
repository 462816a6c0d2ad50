"""Indexes: whether the server can look up by a field, and how to make it able to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]

BAD_VALUE = 2  # the index of a hint is not there to be used


def can_look_up(collection: Collection[Document], path: str) -> bool:
    """Whether an index begins with the field that every look-up of a string may use.

    None does where the collection has a collation of its own, under which it would be asked.
    """
    if "collation" in collection.options():
        return False
    indexes = collection.list_indexes()
    return any(serves(index, path) and is_built(collection, index["name"]) for index in indexes)


def is_built(collection: Collection[Document], name: str) -> bool:
    """Whether the server may use the index: one that is still being built is listed too.

    The primary is asked; what it has built a majority has in a moment.
    """
    latest = collection.with_options(read_concern=ReadConcern("local"))
    try:
        latest.count_documents({}, hint=name, limit=1)
    except OperationFailure as error:
        if error.code != BAD_VALUE:
            raise
        return False
    return True


def serves(index: Mapping[str, Any], path: str) -> bool:
    """Whether the index finds every document by the field: visible, whole and of simple collation.

    A hidden one is not used, a partial one lacks documents, a collation finds other strings.
    """
    first, order = next(iter(index["key"].items()))
    is_ordered = first == path and order in (1, -1)
    is_whole = not index.get("hidden") and "partialFilterExpression" not in index
    return is_ordered and is_whole and "collation" not in index


def create_index_line(collection: Collection[Document], path: str) -> str:
    """What to type into mongosh."""
    return (
        f'db.getSiblingDB("{collection.database.name}").getCollection("{collection.name}")'
        f'.createIndex({{"{path}": 1}})'
    )
