#!/usr/bin/env bash
# Sets up what is missing, then checks style, types and shell, and runs the tests.
#   ./run-tests.sh [--faults] [PYTEST OPTIONS]
# --faults adds the long tests that kill, stall or starve a real run.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
unset SPARK_HOME SPARK_CONF_DIR MONGODB_URI # the tests bring their own

options=() workers=(-n 2 --dist loadfile) # each with a MongoDB and a Spark of its own
for argument in "$@"; do
  if [[ $argument == --faults ]]; then
    options+=(-m "faults or not faults")
  else
    options+=("$argument") workers=()
  fi
done

# For a Spark that starts inside pytest what the command gives to one of its own.
environment=$(./spark-submit.sh env requirements-test)
eval "$environment"
SPARK_SUBMIT_OPTS+=' -XX:TieredStopAtLevel=1' # the tests' frames are small
unset SPARK_HOME # a test of the command must find it as a user has it

bin=.venv/bin
failed=()
step() {
  echo "== $*"
  "${@:2}" || failed+=("$1")
}
code=()
for folder in jobs demo docs tests benchmarks dags; do [[ ! -d $folder ]] || code+=("$folder"); done
step shellcheck "$bin/shellcheck" spark-submit.sh run-tests.sh .ci/run
step lint "$bin/python" -m ruff check
step format "$bin/python" -m ruff format --check
step types "$bin/python" -m mypy "${code[@]}"
step tests "$bin/python" -m pytest "${workers[@]}" "${options[@]}"

if ((${#failed[@]})); then
  echo "run-tests.sh: failed: ${failed[*]}" >&2
  exit 1
fi
