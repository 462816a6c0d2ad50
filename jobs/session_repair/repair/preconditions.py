"""Preconditions: what is refused before a run begins, goes on or is undone. All of it, in order:

    every verb          the address, the files for TLS, the server's version: ``connected``
    what writes         rights; sessions that can grow; text compared by its bytes; no documents of
                        others; a lag that can be seen; transactions, to delete: ``require_ready``
    what goes on        its state, format and settings; its age; once the lease is had, its state
                        again, and its seal: the rest of this file
    what reads          the right to: ``starting_spark``; then ``preflight.before_plan``: time for a
                        second look; no stale reads; both collections, that can be counted; a window
                        and its indexes, a way to read; some event; each field by its name
    what begins         the lease, a folder for ``--report``; only then the run's document
    what has a plan     no more than the limits allow: ``bounds``

Whatever is found wrong after that is a row's, and decided in its batch.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from session_repair import __version__
from session_repair.errors import Refused
from session_repair.kinds import format_duration, show_duration
from session_repair.mongo.connection import (
    hello_of,
    refuse_unwritable,
    require_bytewise,
    require_transactions,
    server_time,
)
from session_repair.mongo.pace import require_lag
from session_repair.mongo.rights import (
    TO_SEE_LAG,
    Rights,
    require_rights,
)
from session_repair.mongo.runs import JOURNAL_FORMAT, UNDONE, Run, refuse_foreign
from session_repair.mongo.store import Store
from session_repair.repair.changes import CHANGE_OF_VERB
from session_repair.repair.journal import Plan, plan_digest
from session_repair.settings import SEMANTIC, Settings, as_made, describe, revived
from session_repair.written import as_written, text_of

Document = dict[str, Any]


def require_ready(store: Store, verb: str, *more: Rights) -> None:
    """Raise Refused, before anything is started, unless the server lets a run of the verb write."""
    change = CHANGE_OF_VERB[verb]
    require_rights(store, change.rights, *more, *of_lag(store.settings))
    require_writable(store)
    require_bytewise(store.events)
    if change.needs_transactions:
        require_transactions(hello_of(store))


def require_ready_to_undo(store: Store, verb: str) -> None:
    """Raise Refused unless the server lets what a run of the verb did be taken back."""
    require_rights(store, CHANGE_OF_VERB[verb].rights_to_undo, *of_lag(store.settings))
    require_writable(store)


def of_lag(settings: Settings) -> list[Rights]:
    """What a run needs that is to obey the replicas' lag."""
    return [] if settings.max_lag is None else [TO_SEE_LAG]


def require_writable(store: Store) -> None:
    """Raise Refused where the collections cannot be written to, or the lag cannot be obeyed."""
    refuse_unwritable(store)
    require_bytewise(store.sessions, store.journal, store.runs)
    refuse_foreign(store)
    require_lag(store)


def require_state(run: Run, document: Document, states: tuple[str, ...]) -> None:
    """Raise Refused unless the run is in one of the states."""
    if document["state"] not in states:
        raise Refused(
            f"run {run.run_id} is {document['state']}, not {' or '.join(states)}. "
            f"See {run.typed('runs')}"
        )


def require_not_undone(document: Document) -> None:
    """Raise Refused when the run was undone: whoever wrote the same values since is not it."""
    if document["state"] == UNDONE:
        raise Refused(
            f"run {document['_id']} was undone before. What its sessions hold now was written "
            "since then, and stays."
        )


def require_known_format(document: Document) -> None:
    """Raise Refused when another version made the run, and keeps its journal in another way."""
    if document.get("journal_format") != JOURNAL_FORMAT:
        made_by = document.get("versions", {}).get("session_repair", "an unknown version")
        raise Refused(
            f"run {document['_id']} was made by session-repair {made_by}, whose journal version "
            f"{__version__} does not read. Finish or undo it with that one, or plan again."
        )


def settings_of_run(
    document: Document, settings: Settings, deciding: tuple[str, ...] = (*SEMANTIC, "journal")
) -> Settings:
    """The settings to go on with a run: what its command line asked for, the rest as of now.

    Raises Refused when one of the ``deciding`` settings is another now than in its plan.
    """
    require_known_format(document)
    made_with, asked = as_made(document["settings"]), document["asked"]
    if "only" in asked:  # of a scope, which the config file of then may have named
        asked = {**asked, **{name: made_with[name] for name in ("scope", "allow_shrink")}}
    # What is given now wins; of what decides, it has to be the same.
    kept = {name: value for name, value in asked.items() if name not in settings.asked}
    # A plan holds the aggregates that it was made with, whatever is declared since.
    declared = revived({"aggregates": made_with["aggregates"]})
    again = replace(settings, **revived(kept), **declared, asked=(*settings.asked, *kept))
    described = describe(again)
    then, now = (as_written({it: of.get(it) for it in deciding}) for of in (made_with, described))
    for name in now:
        if then.get(name) != now[name]:
            was, is_now = text_of(then.get(name)), text_of(now[name])
            raise Refused(
                f"run {document['_id']} was planned with {name} = {was}, now it is {is_now}. "
                "Use the settings of the plan."
            )
    return again


def require_intact_plan(store: Store, run: Run) -> None:
    """Raise Refused unless the plan in the journal is the one that was sealed."""
    document = run.read()
    plan, planned = Plan.of(document), document["planned"]
    if plan_digest(store, plan, planned) != document["digest"]:
        raise Refused(f"the plan of run {run.run_id} was edited since it was made. Plan again.")


def require_young_plan(store: Store, run: Run) -> None:
    """Raise Refused when the plan is older than ``--plan-ttl``."""
    age: timedelta = server_time(store) - run.read()["planned_at"]
    if age > store.settings.plan_ttl:
        raise Refused(
            f"the plan of run {run.run_id} is {show_duration(age)} old, --plan-ttl allows "
            f"{format_duration(store.settings.plan_ttl)}. Plan again."
        )
