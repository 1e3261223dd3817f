#!/usr/bin/env bash
# Runs the three-node compose cluster for real and uses it from this machine, through the published loopback
# ports: produce and consume through each node, kill one, go on, let it come back at another IP, then stop and
# start all. `make compose-test` runs it. It needs a running container engine and docker-compose, and says so
# where there are none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

docker info >/dev/null 2>&1 || { echo 'no container engine answers: start one (Debian: apt-get install docker.io docker-compose; dockerd &)' >&2; exit 1; }
command -v docker-compose >/dev/null || { echo 'docker-compose is not installed (Debian: apt-get install docker-compose)' >&2; exit 1; }

export CHRONIK_IMAGE=${CHRONIK_IMAGE:-chronik:$(git describe --tags --always --dirty)}
compose() { docker-compose -p chronik-test -f deploy/compose/docker-compose.yml "$@"; }
chronik() { bin/chronik "$@"; }
all=127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092
finish() {
  code=$?
  [[ $code == 0 ]] || compose logs --tail 60 >&2
  docker rm -fv chronik-test-squatter >/dev/null 2>&1
  compose down -v --timeout 30 >/dev/null 2>&1 || code=1
  exit $code
}
trap finish EXIT

compose down -v >/dev/null 2>&1 || true
compose up -d
wait_for() { # DESCRIPTION COMMAND...
  local what=$1; shift
  for _ in $(seq 60); do "$@" >/dev/null 2>&1 && return; sleep 1; done
  echo "after a minute: $what" >&2
  return 1
}
healthy() { [[ $(docker ps -q --filter label=com.docker.compose.project=chronik-test --filter health=healthy | wc -l) == "$1" ]]; }
wait_for 'not all three nodes are healthy' healthy 3

chronik topic create orders --partitions 6 --replication-factor 3 --bootstrap-server 127.0.0.1:19092
for port in 19092 29092 39092; do # any node bootstraps; clients follow the leaders
  seq 1000 | sed "s/^/$port-/" | chronik produce orders --bootstrap-server 127.0.0.1:$port
done
count() { chronik consume orders --bootstrap-server "$1" | sort -u | wc -l; }
same() { [[ $(count "$1") == "$2" ]] || { echo "bootstrapping from $1: $(count "$1") records, want $2" >&2; return 1; }; }
for port in 19092 29092 39092; do same 127.0.0.1:$port 3000; done

address() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }
node2=$(compose ps -q node2)
old=$(address "$node2")
docker kill "$node2" >/dev/null # restart: unless-stopped leaves alone what was killed by hand
seq 1000 | sed 's/^/after-/' | chronik produce orders --bootstrap-server $all
same $all 4000

# The engine gives out the lowest free IP. Something else takes the one of the dead node, so that its name must be
# resolved again.
docker run -d --name chronik-test-squatter --network chronik-test_cluster "$CHRONIK_IMAGE" >/dev/null
[[ $(address chronik-test-squatter) == "$old" ]] || { echo "the IP $old of node2 was not taken" >&2; exit 1; }
compose start node2 >/dev/null
[[ $(address "$node2") != "$old" ]] || { echo "node2 came back at the same IP" >&2; exit 1; }
wait_for 'the killed node is not healthy again' healthy 3
docker rm -fv chronik-test-squatter >/dev/null
in_sync() { # six rows of PARTITION LEADER EPOCH REPLICAS ISR with three in the last
  chronik topic describe orders --bootstrap-server 127.0.0.1:29092 | awk '$1 ~ /^[0-9]+$/ && split($5, isr, ",") == 3 { n++ } END { exit n != 6 }'
}
wait_for 'not every partition has three replicas in sync again' in_sync
same 127.0.0.1:29092 4000

compose stop >/dev/null 2>&1
for node in node3 node2 node1; do compose start $node >/dev/null 2>&1; done # another order, so other IPs
wait_for 'the nodes are not healthy after a stop of all' healthy 3
for port in 19092 29092 39092; do same 127.0.0.1:$port 4000; done
chronik status --bootstrap-server $all --http http://127.0.0.1:16092
echo '1 passed, 0 failed'
