#!/usr/bin/env bash
# Sets up what is missing, then checks style, types and shell, and runs the tests.
#   ./run-tests.sh [--all | --faults] [--spark 4] [PYTEST OPTIONS]
# Without an option the tests that need nothing but a MongoDB and the Spark of their own process.
# --all adds those that need more: tests/harness/needs.py. --faults adds to these the long ones that
# kill, stall or starve a real run. --spark 4 runs the tests of whole commands on the newest Spark 4
# in place of our own, as if a gateway brought it.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
unset SPARK_HOME SPARK_CONF_DIR MONGODB_URI # the tests bring their own

tier=() # else that of pyproject.toml
options=()
# Each with a MongoDB and a Spark of its own; in the order of tests/harness/longest.py.
workers=(-n 2 --dist loadfile --no-loadscope-reorder)
bin=.venv/bin
while (($#)); do
  case $1 in
    --all) tier=(-m "not faults") ;;
    --faults) tier=(-m "") ;;
    --spark)
      [[ ${2:-} == 4 ]] || { echo "run-tests.sh: --spark takes 4; without it the tests run on 3.5." >&2; exit 2; }
      bin=.venv-spark4/bin
      shift ;;
    *) options+=("$1") workers=() ;;
  esac
  shift
done

# Spark 4 in an environment of its own, found by the command as a gateway's is.
bring_spark_4() {
  if [[ ! $bin/.installed -nt requirements-spark4.lock ]]; then
    rm -rf .venv-spark4
    .venv/bin/python -m venv .venv-spark4
    for lock in requirements-build requirements-spark4; do
      "$bin/python" -m pip install --quiet --require-hashes --no-build-isolation -r "$lock.lock"
    done
    touch "$bin/.installed"
  fi
  SPARK_HOME=$("$bin/python" -c 'import pyspark; print(*pyspark.__path__)')
  export SPARK_HOME SPARK_CONF_DIR=$PWD/conf PYSPARK_PYTHON=$PWD/$bin/python SPARK_LOCAL_IP=127.0.0.1
  export SPARK_UNDER_TEST=$SPARK_HOME # what the tests' commands get as SPARK_HOME
  ./spark-submit.sh setup # the connector for its Scala
}

# For a Spark that starts inside pytest what the command gives to one of its own.
environment=$(./spark-submit.sh env requirements-test)
[[ $bin == .venv/bin ]] || { bring_spark_4; environment=$(./spark-submit.sh env); }
eval "$environment"
unset SPARK_HOME # a test of the command must find it as a user has it

if [[ $bin != .venv/bin ]]; then
  ((${#options[@]})) || options=(tests/unit tests/e2e tests/faults)
  exec "$bin/python" -m pytest "${workers[@]}" "${tier[@]}" "${options[@]}"
fi
code=()
for folder in jobs demo docs tests benchmarks dags; do [[ ! -d $folder ]] || code+=("$folder"); done

# Each step with its name before what it says; the names of those that fail, in a file.
told=$(mktemp -d)
trap 'kill %% 2>/dev/null || :; rm -rf "$told"' EXIT
step() {
  echo "== $*"
  "${@:2}" || echo "$1" >>"$told/failed"
}
checks() {
  step shellcheck "$bin/shellcheck" spark-submit.sh run-tests.sh .ci/run
  step lint "$bin/python" -m ruff check
  step format "$bin/python" -m ruff format --check
  step types "$bin/python" -m mypy "${code[@]}"
}
checks >"$told/checks" 2>&1 & # beside the tests, which wait for MongoDB and Spark at times
step tests "$bin/python" -m pytest "${workers[@]}" "${tier[@]}" "${options[@]}"
wait
cat "$told/checks"

if [[ -s $told/failed ]]; then
  echo "run-tests.sh: failed: $(paste -sd " " "$told/failed")" >&2
  exit 1
fi
