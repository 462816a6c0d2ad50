#!/usr/bin/env bash
# spark-submit with a verb in place of the script. It sets up what is missing, then hands over.
# With SPARK_HOME set, that Spark is used and nothing is installed unasked.
set -euo pipefail

ROOT=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=setup/functions.sh
source "$ROOT/setup/functions.sh"

declare -A JOBS=([verify]=verify_sessions [fix]=fix_empty_sessions
  [delete-orphans]=delete_orphan_sessions [resume]=resume_run)
declare -a spark_options=() verb_options=()
declare -A option=() conf=() in_file=() # Spark's settings: --name value, --conf key=value, the file's
verb=''

usage() {
  cat <<'USAGE'
usage: ./spark-submit.sh [SPARK OPTIONS] VERB [OPTIONS]

  demo              a MongoDB of its own, filled with broken sessions: verify, fix, verify
  verify            compare the stored sessions with their events and print the report
  fix               show what would be repaired; with --apply, repair it
  delete-orphans    show the empty sessions without events; with --apply, delete them
  apply RUN         carry out a planned run
  resume RUN        finish an interrupted run
  undo RUN          show what a run's undoing would restore; with --apply, restore it
  runs [RUN]        the history, or one run in full
  health            one line of JSON on what is known; --serve PORT answers HTTP
  config            every setting, its value and where that comes from
  setup             install what is missing, and nothing else
  package [FOLDER]  make one folder there of all that a cluster needs, with checksums

./spark-submit.sh VERB --help lists the options of a verb. The address of the database comes from
the variable MONGODB_URI. Spark options are those of spark-submit, such as --master yarn.
USAGE
}

# --- the command line ---

parse() {
  local name
  while (($#)); do
    case $1 in
      -h | --help) usage; exit 0 ;;
      -v | --verbose | --supervise | --version) spark_options+=("$1"); option[$1]=yes; shift; continue ;;
      --?*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
      -*) (($# > 1)) || fail "$1 has no value, and no verb follows. ./spark-submit.sh --help shows the usage." ;;
      *) verb=$1; verb_options=("${@:2}"); return ;;
    esac
    name=$1
    [[ $name != -c ]] || name=--conf
    option[$name]=$2
    [[ $name != --conf || $2 != *=* ]] || conf[${2%%=*}]=${2#*=}
    spark_options+=("$name" "$2")
    shift 2
  done
}

# --- settings ---

# Prints a properties file as key, tab, value; a backslash is written twice there.
properties() {
  sed -nE 's/^[[:space:]]*([^#![:space:]=:]+)[[:space:]]*[[:space:]=:][[:space:]]*(.*[^[:space:]])[[:space:]]*$/\1\t\2/p' |
    sed 's/\\\\/\\/g'
}

# Spark reads one properties file. Where that is not ours, our settings go as --conf, but only those
# that are not set there. The user's options come later in the command, and win.
read_settings() {
  local file=${option[--properties-file]:-${SPARK_CONF_DIR:-$SPARK/conf}/spark-defaults.conf} key value ours
  our_settings=()
  [[ $file != "$CONF/spark-defaults.conf" ]] || return 0
  if [[ -r $file ]]; then
    while IFS=$'\t' read -r key value; do in_file[$key]=$value; done < <(properties <"$file")
  fi
  ours=$(sed "${gateway:+/^# Only without a cluster/,\$d}" "$CONF/spark-defaults.conf" | properties)
  while IFS=$'\t' read -r key value; do
    [[ -v in_file[$key] ]] || our_settings+=(--conf "$key=$value")
  done <<<"$ours"
}

# setting OPTION KEY: the value that counts, of --option, --conf or the file.
setting() { echo "${option[$1]:-${conf[$2]:-${in_file[$2]:-}}}"; }
join() { echo "${1:+$1,}$2"; }

brings_own_connector() {
  [[ "${spark_options[*]} ${in_file[*]}" == *mongo-spark-connector* ]] ||
    compgen -G "$SPARK/jars/*mongo-spark-connector*.jar" >/dev/null
}

# --- the verbs ---

use_local_spark() {
  set_up
  read_settings
  # A Spark on one machine talks to itself alone; a host name that does not resolve must not stop it.
  [[ $(setting --master spark.master) != @(|local*) ]] || export SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
}

# Where nothing is installed unasked: the user's Spark, with .venv for the driver if it is there.
use_gateway_spark() {
  read_settings
  find_connector
  brings_own_connector || connector_is_cached ||
    fail "the MongoDB connector is not in $JARS. Run './spark-submit.sh setup', or pass --packages $(coordinates)"
  [[ $(setting --deploy-mode spark.submit.deployMode) != cluster ]] || return 0 # the driver runs elsewhere
  if [[ -z ${PYSPARK_PYTHON:-}${PYSPARK_DRIVER_PYTHON:-} ]] && installed requirements; then
    export PYSPARK_DRIVER_PYTHON=$VENV/bin/python
  fi
}

# What the driver needs that does not run in this folder: the package and the packages it imports,
# and the settings. --config names the file as it lies beside that driver.
pack_for_the_cluster() {
  local config=$CONF/session_repair.toml kept=() zips
  [[ $(setting --master spark.master) != spark://* ]] ||
    fail "a standalone cluster runs no Python driver on its workers. Leave out --deploy-mode cluster."
  set -- "${verb_options[@]}"
  while (($#)); do
    case $1 in
      --config=*) config=${1#*=} ;;
      --config) config=${2:-}; set -- "${@:2}" ;;
      *) kept+=("$1") ;;
    esac
    set -- "${@:2}"
  done
  [[ -r $config || $config == *://* ]] || fail "--config $config cannot be read. Name a readable TOML file."
  verb_options=("${kept[@]}" --config "${config##*/}")
  [[ -n $gateway ]] || { install requirements-cluster; unset PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON; } # paths of this machine
  { installed requirements && installed requirements-cluster; } ||
    fail "the packages that the driver imports are not in .venv. Run './spark-submit.sh setup'."
  mkdir -p "$CACHE"
  zips=$("$VENV/bin/python" "$ROOT/setup/package.py" zips "$CACHE" | paste -sd ,)
  options+=(--py-files "$(join "$(setting --py-files spark.submit.pyFiles)" "$zips")")
  options+=(--files "$(join "$(setting --files spark.files)" "$config")")
}

# For shlex.split of Python, which reads PYSPARK_SUBMIT_ARGS.
quoted() { printf "'%s' " "${@//\'/\'\"\'\"\'}"; }

# The driver's Python, beside the Spark in use.
driver_python() {
  if [[ -z $gateway ]]; then
    python=$VENV/bin/python
    return
  fi
  use_pyspark_of_the_gateway
  python=${PYSPARK_DRIVER_PYTHON:-${PYSPARK_PYTHON:-python3}}
}

use_pyspark_of_the_gateway() {
  local py4j
  py4j=$(compgen -G "$SPARK/python/lib/py4j-*-src.zip" | head -n 1) || true
  export PYTHONPATH=$SPARK/python${py4j:+:$py4j}${PYTHONPATH:+:$PYTHONPATH}
}

run_job() {
  local script=$ROOT/jobs/${JOBS[$verb]}.py python
  [[ -f $script ]] || fail "$verb: $script does not exist."
  if [[ -n $gateway ]]; then use_gateway_spark; else use_local_spark; fi
  local options=("${our_settings[@]}" "${spark_options[@]}")
  # Of a repeated option only the last one counts, so ours goes after the user's and holds its values too.
  brings_own_connector || options+=(--jars "$(join "$(setting --jars spark.jars)" "$(connector_jars)")")
  if [[ $(setting --deploy-mode spark.submit.deployMode) == cluster ]]; then
    pack_for_the_cluster
    exec "$SPARK/bin/spark-submit" "${options[@]}" "$script" "${verb_options[@]}"
  fi
  # spark-submit would pour the driver's stderr into its stdout. Started by Python instead of
  # starting it, it leaves both to the user, and a refused command does not wait for Java.
  driver_python
  export SPARK_HOME=$SPARK PYSPARK_SUBMIT_ARGS
  PYSPARK_SUBMIT_ARGS="$(quoted "${options[@]}")pyspark-shell"
  exec "$python" "$script" "${verb_options[@]}"
}

# run_module MODULE ARGUMENT…: like python -m, without the current folder on the path, where a file
# of the user's could be taken for one of ours (python -P does the same from 3.11 on).
run_module() {
  ((${#spark_options[@]} == 0)) || fail "$verb does not start Spark, so ${spark_options[*]} has no effect. Leave it out."
  [[ -d $ROOT/$1 || -d $ROOT/jobs/$1 ]] || fail "$verb: $ROOT has no Python package $1."
  local python=$VENV/bin/python
  if [[ -z $gateway ]]; then
    install requirements
  elif ! installed requirements; then
    python=${PYSPARK_DRIVER_PYTHON:-${PYSPARK_PYTHON:-python3}}
    use_pyspark_of_the_gateway # the verbs without Spark share modules with the others
    "$python" -c 'import click, dns, pymongo' 2>/dev/null ||
      fail "$verb: $python lacks pymongo, dnspython or click. Run './spark-submit.sh setup', or install them."
  fi
  export PYTHONPATH=$ROOT:$ROOT/jobs${PYTHONPATH:+:$PYTHONPATH}
  exec "$python" -c 'import runpy, sys; del sys.path[0], sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)' "$@"
}

setup() {
  ((${#verb_options[@]} == 0)) || fail "setup takes no options, got ${verb_options[*]}."
  [[ ! -v option[--repositories] ]] || fetch_options+=(--repositories "${option[--repositories]}")
  [[ ! -v conf[spark.jars.ivySettings] ]] || fetch_options+=(--conf "spark.jars.ivySettings=${conf[spark.jars.ivySettings]}")
  set_up
  install requirements-cluster
  echo "Python     $("$VENV/bin/python" --version | cut -d ' ' -f 2) in $VENV"
  echo "Spark      $SPARK"
  [[ -n $gateway ]] || echo "Java       $JAVA_HOME"
  echo "Connector  $JARS"
}

package() {
  ((${#verb_options[@]} <= 1)) || fail "package takes one folder, got ${verb_options[*]}."
  local jars
  set_up
  install requirements-cluster
  IFS=, read -ra jars <<<"$(connector_jars)"
  exec "$VENV/bin/python" "$ROOT/setup/package.py" folder "${verb_options[0]:-.}" "${JARS##*-}" "${jars[@]}"
}

main() {
  parse "$@"
  [[ -z $gateway || -x $SPARK/bin/spark-submit ]] ||
    fail "SPARK_HOME is $SPARK, which has no bin/spark-submit. Correct it, or unset it to use a Spark of our own."
  case $verb in
    '')
      [[ -n ${spark_options[*]} ]] || { usage >&2; exit 2; }
      [[ -v option[--version] ]] || fail "no verb after ${spark_options[*]}. Spark options stand before the verb, its own after it."
      [[ -n $gateway ]] || set_up
      exec "$SPARK/bin/spark-submit" --version ;;
    verify | fix | delete-orphans | resume) run_job ;;
    demo) run_module demo "${verb_options[@]}" ;;
    apply | undo | runs | health | config) run_module session_repair "$verb" "${verb_options[@]}" ;;
    setup) setup ;;
    package) package ;;
    *) fail "unknown verb '$verb'. ./spark-submit.sh --help lists the verbs." ;;
  esac
}

main "$@"
