#!/usr/bin/env bash
# spark-submit with a verb in place of the script. This finds a Python and hands over to
# jobs/session_repair/launch, which sets up what is missing. With SPARK_HOME set, that Spark is used
# and nothing is installed unasked.
set -euo pipefail
ROOT=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
  for python in python3 python3.12 python3.11 python3.10 "${PYSPARK_DRIVER_PYTHON:-}" "${PYSPARK_PYTHON:-}"; do
    ! is_new_enough "$python" || return 0
  done
  echo "spark-submit.sh: no Python 3.10 or newer is on the PATH. Install python3 and python3-venv." >&2
  exit 2
}

python=$ROOT/.venv/bin/python
[[ -x $python ]] || find_python
exec "$python" "$ROOT/jobs/session_repair/launch" "$@"
