"""Compare: expressions of the server that hold a session against its plan, or write it in.

They read a journal row (``plan``, ``before``) beside the session (``found`` or the root), and mean
the same to the steps that change, tell what became of it, and undo.
"""

from __future__ import annotations

from typing import Any

from session_repair.mongo.target import Target
from session_repair.repair.journal import STORED_NAMES

Document = dict[str, Any]


def is_as_planned(target: Target, row: str) -> Document:
    """The document is the one that was kept, and its fields are what the plan observed."""
    same_document = {"$eq": ["$$ROOT", f"{row}.before"]}
    return {"$and": [same_document, *same_as_observed(target, "$$ROOT", f"{row}.plan")]}


def same_as_observed(target: Target, document: str, plan: str) -> list[Document]:
    """The document is of the planned session, its fields as observed: absent, null or equal."""
    observed = [
        {"$eq": [f"{document}.{target.path(name)}", f"{plan}.observed.{name}"]}
        for name in STORED_NAMES.values()
    ]
    return [has_session_id(target, document, plan), *observed]


def has_session_id(target: Target, document: str, plan: str) -> Document:
    """The document still is of the session that the plan was made of."""
    return {"$eq": [f"{document}.{target.path('session_id')}", f"{plan}.session_id"]}


def with_new_fields(target: Target, document: str, row: str) -> Document:
    """The document with the row's planned fields in place, nested ones inside their parents."""
    tree: Document = {}
    for name in STORED_NAMES.values():
        *parents, leaf = target.path(name).split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = f"{row}.plan.new.{name}"
    return merged_tree(tree, document)


def merged_tree(tree: Document, document: str) -> Document:
    fields: Document = {}
    for key, new in tree.items():
        path = f"{document}.{key}"
        if isinstance(new, dict):  # a parent is only made for a field that is written
            untouched = {"$and": [is_missing(leaf) for leaf in leaves(new)]}
            fields[key] = {"$cond": [untouched, path, merged_tree(new, path)]}
        else:
            fields[key] = {"$cond": [is_missing(new), path, new]}
    return {"$mergeObjects": [document, fields]}


def leaves(tree: Document) -> list[str]:
    nested = [leaves(it) if isinstance(it, dict) else [it] for it in tree.values()]
    return [leaf for some in nested for leaf in some]


def is_missing(path: str) -> Document:
    return {"$eq": [{"$type": path}, "missing"]}


def is_untouched(target: Target) -> Document:
    """The session found could have been changed and was not."""
    same_document = {"$eq": ["$found", "$before"]}
    return {"$and": [same_document, *same_as_observed(target, "$found", "$plan")]}


def is_result(target: Target) -> Document:
    """There is a session, and every planned field of it has its planned value."""
    planned = [
        {
            "$or": [
                is_missing(f"$plan.new.{name}"),
                {"$eq": [f"$found.{target.path(name)}", f"$plan.new.{name}"]},
            ]
        }
        for name in STORED_NAMES.values()
    ]
    return {"$and": [has_session_id(target, "$found", "$plan"), *planned]}
