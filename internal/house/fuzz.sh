#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME (default 10s), one after another. A number of inputs (20000x)
# is what CI wants: with a duration Go's fuzzer now and then reports its own deadline as the target's failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
grep -rl --include='*_test.go' '^func Fuzz' . | grep -v '/\.' | xargs -n1 dirname | sort -u | while read -r pkg; do
  grep -rhoE '^func (Fuzz[A-Za-z0-9_]+)' "$pkg"/*_test.go | awk '{print $2}' | sort -u | while read -r target; do
    echo "fuzz $pkg $target"
    go test "$pkg" -run '^$' -fuzz "^${target}\$" -fuzztime "${FUZZTIME:-10s}" </dev/null
  done
done
