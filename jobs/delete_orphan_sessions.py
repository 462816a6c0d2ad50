"""Delete orphan sessions: those that are empty, old and without any event.

With ``--duplicates``: empty copies, beside the canonical document of their session_id.
"""

from __future__ import annotations

from collections.abc import Sequence

from session_repair.cli.change import Work, change
from session_repair.cli.help import verb
from session_repair.cli.modes import mode_of, with_modes
from session_repair.cli.options import (
    CONNECTION,
    IDENTITY,
    OUTPUT,
    WRITING,
    examples,
    run_command,
    with_options,
    with_told_ending,
)
from session_repair.repair.report import Report
from session_repair.reporting.deletions import deletion_heading, deletion_plan
from session_repair.settings import Settings
from session_repair.verbs import DELETE_ORPHANS

DELETION = Work(DELETE_ORPHANS, deletion_heading, deletion_plan)


@verb(
    DELETE_ORPHANS,
    epilog=examples(
        "delete-orphans",
        "delete-orphans --plan --duplicates",
        "delete-orphans --apply --min-age 7d",
    ),
)
@with_options(CONNECTION, IDENTITY, OUTPUT, WRITING)
@with_modes("Delete; without it nothing is deleted.")
@with_options("duplicates", "min_age", "max_delete")
@with_told_ending
def command(settings: Settings, is_plan: bool, is_apply: bool) -> Report:
    """Delete empty sessions without events, or empty copies; a dry run unless --plan or --apply is
    given.
    """
    return change(DELETION, settings, mode_of(is_plan, is_apply))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
