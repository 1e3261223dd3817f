#!/usr/bin/env bash
# Starts a broker on free loopback ports with a throw-away data directory, lets a stock client produce
# and consume real data, shows what the broker knows about it, and stops the broker. `make demo` runs it.
# CHRONIK_BIN names another binary than bin/chronik.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=${CHRONIK_BIN:-bin/chronik}
python=.cache/integration/venv/bin/python # what integration/setup.sh installs
data_file=/etc/services
topic=demo
group=demo-readers

[[ -x $bin ]] || { echo "$bin is not there: run \`make build\` first" >&2; exit 1; }
if ! [[ -r $data_file ]]; then data_file=go.sum; fi
if command -v kcat >/dev/null; then
  client=kcat
elif [[ -x $python ]] && "$python" -c 'import kafka' 2>/dev/null; then
  client=python
else
  cat >&2 <<'EOF'
The demo needs a Kafka client that is not ours. Install one of
  kcat          Debian, Ubuntu: apt-get install kcat     macOS: brew install kcat
  kafka-python  ./integration/setup.sh puts it, and all other clients of the tests, under .cache/integration
EOF
  exit 1
fi

dir=$(mktemp -d)
pid=
cleanup() {
  if [[ -n $pid ]]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap cleanup EXIT

step() { printf '\n== %s\n' "$*"; }
show() {
  printf '$ %s\n' "$*"
  "$@"
}

step "Start a broker in $dir"
"$bin" serve --data-dir "$dir/data" --kafka-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 \
  --set group.initial.rebalance.delay.ms=0 >"$dir/ready" 2>"$dir/log" &
pid=$!
for _ in {1..200}; do
  grep -q '^chronik ready' "$dir/ready" && break
  if ! kill -0 "$pid" 2>/dev/null; then
    cat "$dir/log" >&2
    exit 1
  fi
  sleep 0.05
done
ready=$(grep '^chronik ready' "$dir/ready") || { echo 'the broker was not ready after 10 s' >&2; cat "$dir/log" >&2; exit 1; }
echo "$ready"
kafka=${ready##* kafka=} kafka=${kafka%% *}
http=${ready##* http=} http=${http%% *}
export CHRONIK_BOOTSTRAP_SERVER=$kafka CHRONIK_HTTP=http://$http

step "Create a topic with our command line"
show "$bin" topic create "$topic" --partitions 3 -c retention.ms=3600000

lines=$(grep -c . "$data_file")
step "Produce the $lines lines of $data_file, and consume them, with $client"
case $client in
kcat)
  printf '$ grep . %s | kcat -P -b %s -t %s -z lz4\n' "$data_file" "$kafka" "$topic"
  grep . "$data_file" | kcat -q -P -b "$kafka" -t "$topic" -z lz4
  printf '$ kcat -C -b %s -t %s -e -f %s\n' "$kafka" "$topic" "'%p:%o %s\\n'"
  kcat -q -C -b "$kafka" -t "$topic" -e -f '%p:%o %s\n' >"$dir/consumed"
  printf '$ kcat -b %s -G %s %s -e   # the same as a member of a group\n' "$kafka" "$group" "$topic"
  kcat -q -b "$kafka" -G "$group" -X auto.offset.reset=earliest -e "$topic" >"$dir/group"
  ;;
python)
  "$python" - "$kafka" "$topic" "$group" "$data_file" "$dir" <<'EOF'
import sys
from kafka import KafkaConsumer, KafkaProducer

kafka, topic, group, path, dir = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=kafka, compression_type="gzip", linger_ms=20)
count = 0
for line in open(path, "rb"):
    if line.strip():
        producer.send(topic, line.rstrip(b"\n"))
        count += 1
producer.flush()
for name, g in (("consumed", None), ("group", group)):
    consumer = KafkaConsumer(topic, bootstrap_servers=kafka, group_id=g, auto_offset_reset="earliest", consumer_timeout_ms=3000)
    with open(f"{dir}/{name}", "w") as out:
        for n, r in enumerate(consumer, 1):
            out.write(f"{r.partition}:{r.offset} {r.value.decode()}\n")
            if n == count:
                break
    consumer.close()
EOF
  ;;
esac
head -n 3 "$dir/consumed"
echo "... $(wc -l <"$dir/consumed") lines came back"
if cmp -s <(cut -d ' ' -f 2- "$dir/consumed" | sort) <(grep . "$data_file" | sort); then
  echo "They are the lines of $data_file, each once."
else
  echo "They are not the lines of $data_file" >&2
  exit 1
fi
[[ $(wc -l <"$dir/group") -eq $lines ]] || { echo "the group read $(wc -l <"$dir/group") of $lines lines" >&2; exit 1; }

step "What the broker knows"
show "$bin" topic describe "$topic"
echo
show "$bin" group describe "$group"
echo
show "$bin" status

step "Stop it (SIGTERM), and look at a segment file"
kill "$pid"
wait "$pid"
pid=
segment=$(find "$dir/data/log" -path "*/$topic-*" -name '*.log' -size +0 | sort | head -n 1)
"$bin" log dump "$segment" | tail -n 3
