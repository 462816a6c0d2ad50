"""Fix empty sessions: rebuild them from their events, without ever losing good data."""

from __future__ import annotations

from collections.abc import Sequence

from session_repair.cli.change import Work, change
from session_repair.cli.help import verb
from session_repair.cli.modes import mode_of, with_modes
from session_repair.cli.options import (
    CONNECTION,
    OUTPUT,
    SELECTION,
    WRITING,
    examples,
    run_command,
    with_options,
    with_told_ending,
)
from session_repair.repair.report import Report
from session_repair.reporting.text import dry_run_report, fix_heading
from session_repair.settings import Settings
from session_repair.verbs import FIX

CORRECTION = Work(FIX, fix_heading, dry_run_report)


@verb(
    FIX,
    epilog=examples(
        "fix",
        "fix --apply --max-changes 5% --max-time 2h",
        "fix --plan --scope all --only count_mismatch,pages_missing",
        "--driver-memory 4g fix --apply --since last-success --json /var/log/fix.json",
    ),
)
@with_options(CONNECTION, SELECTION, OUTPUT, WRITING)
@with_modes("Write; without it nothing is written.")
@with_options("only", "max_changes", "confirm_delay", "allow_ttl")
@with_told_ending
def command(settings: Settings, is_plan: bool, is_apply: bool) -> Report:
    """Rebuild empty sessions from their events; a dry run unless --plan or --apply is given."""
    return change(CORRECTION, settings, mode_of(is_plan, is_apply))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
