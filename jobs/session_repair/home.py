"""Where this installation has its files, and what its command is called."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
JOBS = PACKAGE.parent  # the jobs stand beside the package, in a checkout and in site-packages
ROOT = JOBS.parent
IS_CHECKOUT = (ROOT / "spark-submit.sh").is_file()
CONF = (ROOT if IS_CHECKOUT else PACKAGE) / "conf"
DEFAULT_CONFIG = CONF / "session_repair.toml"
CONFIG_SCHEMA = CONF / "session_repair.schema.json"  # which the first line of that names
LOG_CONFIG = CONF / "log4j2.properties"  # of Java's log
COMMAND = "./spark-submit.sh" if IS_CHECKOUT else "session-repair"
