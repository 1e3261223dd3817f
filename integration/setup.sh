#!/usr/bin/env bash
# Installs the clients of the integration matrix into .cache/integration of this repository. Each part leaves a stamp
# named after the hash of what pins it, so a second run costs milliseconds and a changed pin installs again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(dirname "$here")/.cache/integration
mkdir -p "$cache"

log=$cache/setup.log
: >"$log"

# part NAME FILE... -- COMMAND...: runs COMMAND unless it already ran for these bytes of FILE. What the command prints
# is kept in the log and shown only when it fails.
part() {
  local name=$1 files=()
  shift
  while [[ $1 != -- ]]; do
    files+=("$1")
    shift
  done
  shift
  local stamp
  stamp=$cache/.$name.$(cat "${files[@]}" | sha256sum | cut -c1-16)
  [[ -e $stamp ]] && return 0
  echo "integration: installing $name" >&2
  rm -f "$cache/.$name".*
  local out=$cache/setup-$name.log
  # In the background, because bash ignores set -e inside whatever stands in an if.
  "$@" >"$out" 2>&1 &
  if ! wait $!; then
    echo "integration: installing $name failed:" >&2
    tail -n 30 "$out" >&2
    return 1
  fi
  touch "$stamp"
}

# apt's packages live outside the cache, so they are looked for and never stamped.
apt_packages() {
  local missing=()
  command -v kcat >/dev/null || missing+=(kcat)
  command -v java >/dev/null && command -v javac >/dev/null || missing+=(default-jdk-headless)
  command -v mvn >/dev/null || missing+=(maven)
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  command -v python3 >/dev/null || missing+=(python3)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  ((${#missing[@]})) || return 0
  echo "integration: installing ${missing[*]} from Debian" >&2
  local sudo=()
  ((EUID == 0)) || sudo=(sudo)
  {
    "${sudo[@]}" apt-get update -q
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
  } >>"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    return 1
  }
}

venv() { # venv DIR REQUIREMENTS
  rm -rf "$1"
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check --no-deps -r "$2"
  "$1/bin/python" -m compileall -q "$1/lib"
}

node_modules() {
  mkdir -p "$cache/node"
  cp "$here/clients/node/package.json" "$here/clients/node/package-lock.json" "$cache/node/"
  (cd "$cache/node" && npm ci --ignore-scripts --no-audit --no-fund)
}

jars() {
  rm -rf "$cache/jars"
  mvn -q -B -f "$here/clients/java/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/jars"
}

# classes compiles the driver that runs Kafka's tools in one JVM, and archives what such a JVM loads, which halves its start.
classes() {
  rm -rf "$cache/classes" "$cache/driver.jsa"
  javac --release 17 -cp "$cache/jars/*" -d "$cache/classes" "$here"/clients/java/src/*.java
  local cp
  cp=$(printf '%s:' "$cache"/jars/*.jar)$cache/classes.jar
  (cd "$cache/classes" && jar -c -f "$cache/classes.jar" .)
  echo warm | java -Xmx512m -XX:ArchiveClassesAtExit="$cache/driver.jsa" -cp "$cp" Driver
}

apt_packages
part venv "$here/clients/python/requirements.txt" -- venv "$cache/venv" "$here/clients/python/requirements.txt"
part venv-legacy "$here/clients/python/requirements-legacy.txt" -- venv "$cache/venv-legacy" "$here/clients/python/requirements-legacy.txt"
part node "$here/clients/node/package-lock.json" -- node_modules
part jars "$here/clients/java/pom.xml" -- jars
part classes "$here/clients/java/pom.xml" "$here"/clients/java/src/*.java -- classes
