"""``python -m session_repair VERB``: the verbs that need no Spark."""

from session_repair.cli.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
