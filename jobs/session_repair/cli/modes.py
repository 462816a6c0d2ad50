"""Modes: how far a verb that changes sessions goes, by two options."""

from __future__ import annotations

from typing import Any

import click

from session_repair.errors import Refused

DRY_RUN, PLAN, APPLY = "dry run", "plan", "apply"


def with_modes(apply: str) -> Any:
    """A decorator that adds ``--plan`` and ``--apply``; the latter with this help."""
    plan = click.option(
        "--plan", "is_plan", is_flag=True, help="Write the plan into the journal only."
    )
    write = click.option("--apply", "is_apply", is_flag=True, help=apply)
    return lambda function: plan(write(function))


def mode_of(is_plan: bool, is_apply: bool) -> str:
    """What was asked for. Raises Refused where that is both."""
    if is_plan and is_apply:
        raise Refused("--plan and --apply exclude each other; --apply plans and applies.")
    return APPLY if is_apply else PLAN if is_plan else DRY_RUN
