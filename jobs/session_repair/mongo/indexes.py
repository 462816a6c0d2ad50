"""Indexes: whether the server can look up by a field, and how to make it able to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database

Document = dict[str, Any]


def can_look_up(database: Database[Document], collection: str, path: str) -> bool:
    """Whether an index begins with the field that every look-up of a string may use."""
    return any(serves(index, path) for index in database[collection].list_indexes())


def serves(index: Mapping[str, Any], path: str) -> bool:
    """Whether the index finds every document by the field: visible, whole and of simple collation.

    A hidden one is not used, a partial one lacks documents, a collation finds other strings.
    """
    first, order = next(iter(index["key"].items()))
    is_ordered = first == path and order in (1, -1)
    is_whole = not index.get("hidden") and "partialFilterExpression" not in index
    return is_ordered and is_whole and "collation" not in index


def create_index_line(database: str, collection: str, path: str) -> str:
    """What to type into mongosh."""
    return (
        f'db.getSiblingDB("{database}").getCollection("{collection}").createIndex({{"{path}": 1}})'
    )
