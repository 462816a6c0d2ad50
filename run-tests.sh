#!/usr/bin/env bash
# Sets up what is missing, then checks style, types and shell, and runs the tests.
#   ./run-tests.sh [--faults] [PYTEST OPTIONS]
# --faults adds the long tests that kill, stall or starve a real run.
set -euo pipefail
ROOT=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cd "$ROOT"
unset SPARK_HOME SPARK_CONF_DIR MONGODB_URI # the tests bring their own
# shellcheck source=setup/functions.sh
source setup/functions.sh

options=() workers=(-n 2 --dist loadfile) # each with a MongoDB and a Spark of its own
for argument in "$@"; do
  if [[ $argument == --faults ]]; then
    options+=(-m "faults or not faults")
  else
    options+=("$argument") workers=()
  fi
done

set_up
install requirements-test

# For a Spark that starts inside pytest what the command gives to one of its own.
PYSPARK_SUBMIT_ARGS="--driver-memory 2g --jars $(printf %q "$(connector_jars)") pyspark-shell"
export PYSPARK_SUBMIT_ARGS SPARK_LOCAL_IP=127.0.0.1
SPARK_SUBMIT_OPTS+=' -XX:TieredStopAtLevel=1' # the tests' frames are small
unset SPARK_HOME # a test of the command must find it as a user has it

python=$VENV/bin/python
failed=()
step() {
  echo "== $*"
  "${@:2}" || failed+=("$1")
}
code=()
for folder in jobs demo docs tests benchmarks dags; do [[ ! -d $folder ]] || code+=("$folder"); done
step shellcheck "$VENV/bin/shellcheck" spark-submit.sh setup/functions.sh run-tests.sh .ci/run
step lint "$python" -m ruff check
step format "$python" -m ruff format --check
step types "$python" -m mypy setup/pem_to_jks.py setup/load_classes.py setup/package.py "${code[@]}"
step tests "$python" -m pytest "${workers[@]}" "${options[@]}"

if ((${#failed[@]})); then
  echo "run-tests.sh: failed: ${failed[*]}" >&2
  exit 1
fi
