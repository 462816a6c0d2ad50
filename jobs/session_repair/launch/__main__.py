"""``python jobs/session_repair/launch VERB …``: what spark-submit.sh hands over to."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder: the one of the jobs

from session_repair.launch.command import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
