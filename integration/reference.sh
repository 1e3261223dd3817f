#!/usr/bin/env bash
# Apache Kafka dressed as chronik: takes the flags of `chronik serve` and prints its ready line. It answers the question
# whether a failing row is the broker's fault or the suite's:
#
#   CHRONIK_BIN=$PWD/integration/reference.sh go test ./integration
#   CHRONIK_REFERENCE=3.9.1 CHRONIK_BIN=$PWD/integration/reference.sh go test ./integration
#
# The first is the Kafka whose tools the suite runs. Kafka 4.x refuses what clients of the 0.10 era and before send, so
# the rows that are about them need the second, whose jars are fetched at its first use.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(dirname "$here")/.cache/integration
classpath="$cache/jars/*:$cache/classes.jar"

if [[ -n ${CHRONIK_REFERENCE-} ]]; then
  dir=$cache/reference-$CHRONIK_REFERENCE
  if [[ ! -e $dir/classes/ReferenceBroker.class ]]; then
    {
      mvn -q -B -f "$here/clients/java/pom.xml" -Dkafka.version="$CHRONIK_REFERENCE" \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/jars"
      rm -f "$dir"/jars/slf4j-reload4j-*.jar # slf4j-simple is the one that listens to the flags below
      javac --release 17 -cp "$dir/jars/*" -d "$dir/classes" "$here/clients/java/src/ReferenceBroker.java"
    } >&2
  fi
  classpath="$dir/jars/*:$dir/classes"
fi

[[ ${1-} == serve ]] && shift
exec java -Xmx512m -Xshare:auto -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$classpath" ReferenceBroker "$@"
