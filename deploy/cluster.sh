#!/usr/bin/env bash
# Runs a cluster of three nodes as three processes on loopback, until Ctrl-C. `make cluster` runs it.
# Clients bootstrap from any of 127.0.0.1:9092, 127.0.0.1:9192 and 127.0.0.1:9292.
#
#   CHRONIK_BIN   another binary than bin/chronik
#   CLUSTER_DIR   where the data is kept, default data/cluster
#   CLUSTER_PORT  the first node's Kafka port; each node takes CLUSTER_PORT + 100 * (node - 1) and the three after it
#   CLUSTER_ARGS  more flags for every node, such as "--set default.replication.factor=1"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=${CHRONIK_BIN:-bin/chronik}
dir=${CLUSTER_DIR:-data/cluster}
first=${CLUSTER_PORT:-9092}
[[ -x $bin ]] || { echo "$bin is not there: run \`make build\` first" >&2; exit 1; }

port() { echo $((first + 100 * ($1 - 1) + $2)); }
join=$(for n in 1 2 3; do printf '127.0.0.1:%s,' "$(port $n 2)"; done)
pids=()

stop() {
  trap '' INT TERM
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

mkdir -p "$dir"
for n in 1 2 3; do
  : >"$dir/$n.out" # the last run's ready line must not be taken for this one's
  # shellcheck disable=SC2086 # CLUSTER_ARGS is a list of flags
  "$bin" serve --data-dir "$dir/$n" --node-id $n --rack "rack-$n" \
    --kafka-listen "127.0.0.1:$(port $n 0)" --peer-listen "127.0.0.1:$(port $n 1)" \
    --gossip-listen "127.0.0.1:$(port $n 2)" --http-listen "127.0.0.1:$(port $n 3)" \
    --join "${join%,}" --bootstrap-expect 3 --set default.replication.factor=3 ${CLUSTER_ARGS:-} \
    >"$dir/$n.out" 2>"$dir/$n.log" &
  pids+=($!)
done

for n in 1 2 3; do
  for _ in $(seq 600); do
    grep -q '^chronik ready' "$dir/$n.out" && break
    kill -0 "${pids[n - 1]}" 2>/dev/null || { echo "node $n ended, $dir/$n.log ends:" >&2; tail -n 20 "$dir/$n.log" >&2; exit 1; }
    sleep 0.1
  done
  grep '^chronik ready' "$dir/$n.out" || { echo "node $n is not ready after a minute, see $dir/$n.log" >&2; exit 1; }
done
echo "The cluster is up. Logs are in $dir, Ctrl-C stops it. In another terminal: $bin status --http http://127.0.0.1:$(port 1 3)"
wait
