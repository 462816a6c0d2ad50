"""Compare: expressions of the server that hold a session against its plan, write it in, undo it.

They read a journal row's ``plan`` beside the session, and mean the same to the steps that look,
change, tell what became of it, and undo. A field is the same only if its BSON type is too: to
``$eq`` alone 0, 0L, 0.0 and -0.0 are one. What is written or undone is always a whole document
for ``$replaceWith``: a dotted ``$set`` would make parents even where its guard is false.
"""

from __future__ import annotations

from typing import Any

from session_repair.mongo.store import Store

Document = dict[str, Any]
Tree = dict[str, Any]  # the session's fields by key; a leaf is the name that the plan has for it

# The fields that a run may write, under the names of the plan and of the settings.
FIELDS = ("event_count", "pages", "first_event_at", "last_event_at", "user_id")


def is_missing(path: str) -> Document:
    return {"$eq": [{"$type": path}, "missing"]}


def is_present(path: str) -> Document:
    return {"$ne": [{"$type": path}, "missing"]}


def same(one: Any, other: Any) -> list[Document]:
    """Both are absent, or equal and of one type."""
    return [{"$eq": [one, other]}, {"$eq": [{"$type": one}, {"$type": other}]}]


def is_as_observed(store: Store, document: str, plan: str) -> Document:
    """The session is what the plan saw: its session_id, its five fields, and what they stand in."""
    checks = has_session_id(store, document, plan)
    for name in FIELDS:
        checks += same(f"{document}.{store.path(name)}", f"{plan}.observed.{name}")
    for number, parent in enumerate(store.parents):
        observed = observed_parent(plan, number)
        checks.append({"$eq": [{"$type": f"{document}.{parent}"}, observed]})
    return {"$and": checks}


def is_restored(store: Store, document: str, plan: str) -> Document:
    """The five fields are as the plan saw them; a parent that the run made may have stayed."""
    checks = has_session_id(store, document, plan)
    for name in FIELDS:
        checks += same(f"{document}.{store.path(name)}", f"{plan}.observed.{name}")
    left = zip(store.parents, parents_as_left(store, document, plan), strict=True)
    for number, (parent, is_left) in enumerate(left):
        observed = observed_parent(plan, number)
        checks.append({"$or": [{"$eq": [{"$type": f"{document}.{parent}"}, observed]}, is_left]})
    return {"$and": checks}


def is_result(store: Store, document: str, plan: str) -> Document:
    """Every field that the plan writes has its new value."""
    checks = [*has_session_id(store, document, plan), *parents_as_left(store, document, plan)]
    for name in FIELDS:
        new = f"{plan}.new.{name}"
        written = {"$and": same(f"{document}.{store.path(name)}", new)}
        checks.append({"$or": [is_missing(new), written]})
    return {"$and": checks}


def is_as_left(store: Store, document: str, plan: str) -> Document:
    """All five fields are as the run left them: new where it wrote, else as it found them."""
    checks = [*has_session_id(store, document, plan), *parents_as_left(store, document, plan)]
    for name in FIELDS:
        new, observed = f"{plan}.new.{name}", f"{plan}.observed.{name}"
        left = {"$cond": [is_missing(new), observed, new]}
        checks += same(f"{document}.{store.path(name)}", left)
    return {"$and": checks}


def has_session_id(store: Store, document: str, plan: str) -> list[Document]:
    """The document still is of the session that the plan was made of."""
    return same(f"{document}.{store.path('session_id')}", f"{plan}.session_id")


def observed_parent(plan: str, number: int) -> Document:
    """What the plan saw in the place of a parent: object, null or missing."""
    return {"$arrayElemAt": [f"{plan}.parents", number]}


def parents_as_left(store: Store, document: str, plan: str) -> list[Document]:
    """Each parent is an object where the run wrote below it, else what it was."""
    checks = []
    for number, parent in enumerate(store.parents):
        below = [name for name in FIELDS if store.path(name).startswith(f"{parent}.")]
        left = {"$cond": [is_any_written(plan, below), "object", observed_parent(plan, number)]}
        checks.append({"$eq": [{"$type": f"{document}.{parent}"}, left]})
    return checks


def is_any_written(plan: str, names: list[str]) -> Document:
    return {"$or": [is_present(f"{plan}.new.{name}") for name in names]}


def tree_of(store: Store) -> Tree:
    tree: Tree = {}
    for name in FIELDS:
        *parents, leaf = store.path(name).split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = name
    return tree


def names_in(tree: Tree) -> list[str]:
    nested = [names_in(it) if isinstance(it, dict) else [it] for it in tree.values()]
    return [name for names in nested for name in names]


def corrected(store: Store, document: str, plan: str) -> Document:
    """The document with the plan's new fields, each where it was, or at the end where it was not.

    A parent that is absent or null is only made for a field that is written.
    """
    return merged(tree_of(store), document, plan)


def merged(tree: Tree, path: str, plan: str) -> Document:
    fields: Document = {}
    for key, inner in tree.items():
        if isinstance(inner, dict):
            made, old = merged(inner, f"{path}.{key}", plan), f"{path}.{key}"
            fields[key] = {"$cond": [is_any_written(plan, names_in(inner)), made, old]}
        else:
            fields[key] = f"{plan}.new.{inner}"  # where it is missing, the old one stays
    return {"$mergeObjects": [path, fields]}


def restored(store: Store, document: str, plan: str) -> Document:
    """The document with what the run wrote as it was before, to the byte.

    What was absent is removed again, so is a parent that was made for it and has nothing else in
    it; a parent that was null is null again.
    """
    return unmerged(store, tree_of(store), "", document, plan)


def unmerged(store: Store, tree: Tree, parent: str, path: str, plan: str) -> Any:
    document: Any = path
    for key, inner in tree.items():
        now = f"{path}.{key}"
        if isinstance(inner, dict):
            whole = f"{parent}{key}"
            child = unmerged(store, inner, f"{whole}.", now, plan)
            before = parent_before(child, observed_parent(plan, store.parents.index(whole)))
            value = {"$cond": [is_any_written(plan, names_in(inner)), before, now]}
        else:
            observed = f"{plan}.observed.{inner}"
            value = {"$cond": [is_missing(f"{plan}.new.{inner}"), now, observed]}
        # A value that is missing removes the field, and one that is there keeps its place.
        place = {"field": {"$literal": key}, "input": document, "value": value}
        document = {"$setField": place}
    return document


def parent_before(child: Any, observed: Document) -> Document:
    """What stood in the place of a parent whose fields were restored."""
    nothing = [
        {"case": {"$eq": [observed, "missing"]}, "then": "$$REMOVE"},
        {"case": {"$eq": [observed, "null"]}, "then": None},
    ]
    empty = {"$switch": {"branches": nothing, "default": "$$child"}}
    is_empty = {"$eq": ["$$child", {"$literal": {}}]}
    return {"$let": {"vars": {"child": child}, "in": {"$cond": [is_empty, empty, "$$child"]}}}
