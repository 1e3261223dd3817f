package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheToolOperatesACluster does on one node what one node can do.
func TestTheToolOperatesACluster(t *testing.T) {
	_, flags := node(t)
	with := func(args ...string) []string { return append(args, flags...) }
	refused := func(says string, args ...string) {
		t.Helper()
		if r := command(t, "", with(args...)...); r.code != 1 || !strings.Contains(r.stderr, says) {
			t.Errorf("chronik %s: %+v, want exit 1 and %q", strings.Join(args, " "), r, says)
		}
	}
	ok(t, "", with("topic", "create", "t", "--partitions", "2", "--replication-factor", "1")...)
	refused("there are 1 brokers", "topic", "create", "u", "--replication-factor", "3")

	if got := ok(t, "", with("status", "--check")...); !strings.Contains(got, "Controller:  broker 1\n") || !strings.Contains(got, "2, 0 without a leader, 0 under-replicated") {
		t.Errorf("status: %q", got)
	}
	var status struct {
		Healthy bool
		Brokers []brokerState
	}
	if err := json.Unmarshal([]byte(ok(t, "", with("status", "--json")...)), &status); err != nil || !status.Healthy || len(status.Brokers) != 1 {
		t.Errorf("status in JSON: %+v, %v", status, err)
	}
	if got := ok(t, "", "cluster", "brokers"); !regexp.MustCompile(`(?m)^1\*\s+active\s+127\.0\.0\.1:\d+\s+2\s+2\s+no$`).MatchString(got) {
		t.Errorf("brokers: %q", got)
	}

	if got := ok(t, "", with("cluster", "elect")...); !strings.Contains(got, "preferred leaders") {
		t.Errorf("elect: %q", got)
	}
	if got := ok(t, "", with("cluster", "elect", "t:1", "--unclean", "--json")...); !strings.Contains(got, `"not needed"`) {
		t.Errorf("elect uncleanly: %q", got)
	}
	refused("1 of 1 partitions", "cluster", "elect", "t:5")
	refused("no other voter", "cluster", "transfer-leadership")
	refused("not registered", "cluster", "transfer-leadership", "--to", "9")

	refused("cluster drain 1 --wait", "cluster", "remove", "1")
	refused("not registered", "cluster", "remove", "9")
	ok(t, "", with("cluster", "drain", "1")...)
	if got := ok(t, "", "cluster", "brokers"); !strings.Contains(got, "yes") {
		t.Errorf("brokers while one drains: %q", got)
	}
	refused("2 leaders", "cluster", "drain", "1", "--wait", "--wait-timeout", "1ms")
	ok(t, "", with("cluster", "drain", "1", "--undo")...)
	refused("not registered", "cluster", "drain", "9")
}

func TestTheToolReassigns(t *testing.T) {
	_, flags := node(t)
	with := func(args ...string) []string { return append(args, flags...) }
	ok(t, "", with("topic", "create", "t", "--partitions", "2")...)
	if got := ok(t, "", with("cluster", "reassign", "t", "--replicas", "1", "--wait")...); got != "Moves started: 2.\n" {
		t.Errorf("reassign: %q", got)
	}
	if r := command(t, "", with("cluster", "reassign", "t:1", "--replicas", "1,9")...); r.code != 1 || !strings.Contains(r.stderr, "t:1: broker 9 is not registered") {
		t.Errorf("to a stranger: %+v", r)
	}
	if r := command(t, "", with("cluster", "reassign", "t:0", "--cancel")...); r.code != 1 || !strings.Contains(r.stderr, "no reassignment is in progress") {
		t.Errorf("cancel nothing: %+v", r)
	}
	if got := ok(t, "", with("cluster", "reassign", "--cancel")...); got != "Moves cancelled: 0.\n" {
		t.Errorf("cancel all of nothing: %q", got)
	}
	if got := ok(t, "", with("cluster", "reassign", "--list", "--json")...); strings.TrimSpace(got) != "[]" {
		t.Errorf("list: %q", got)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[1],"log_dirs":["any"]}]}`)
	if got := ok(t, "", with("cluster", "reassign", "--file", file, "--json")...); !strings.Contains(got, `"partition": 1`) {
		t.Errorf("from a file: %q", got)
	}
	write(`{"version":1,"partitions":[]}`)
	if r := command(t, "", with("cluster", "reassign", "--file", file)...); r.code != 1 || !strings.Contains(r.stderr, "replicas") {
		t.Errorf("from an empty file: %+v", r)
	}
	if got := ok(t, "", with("topic", "describe", "t")...); !strings.Contains(got, "ELR") || !strings.Contains(got, "MOVING") {
		t.Errorf("describe: %q", got)
	}
}

// TestRecoverCommand: it needs a stopped node, shows before it acts, and leaves a node that starts with what
// it had.
func TestRecoverCommand(t *testing.T) {
	dataDir := t.TempDir()
	flags, stop := nodeOn(t, dataDir)
	ok(t, "", append([]string{"topic", "create", "kept"}, flags...)...)
	if r := command(t, "", "cluster", "recover", "--data-dir", dataDir, "--yes"); r.code != 1 || !strings.Contains(r.stderr, "stop the node first") {
		t.Errorf("on a running node: %+v", r)
	}
	stop()
	if r := command(t, "", "cluster", "recover", "--data-dir", dataDir); r.code != 1 || !strings.Contains(r.stdout, "this node") || !strings.Contains(r.stderr, "--yes") {
		t.Errorf("without --yes: %+v", r)
	}
	if r := command(t, "", "cluster", "recover", "--data-dir", dataDir, "--yes"); r.code != 0 || !strings.Contains(r.stderr, "whole cluster") {
		t.Errorf("with --yes: %+v", r)
	}
	flags, stop = nodeOn(t, dataDir)
	if got := ok(t, "", append([]string{"topic", "list"}, flags...)...); !strings.Contains(got, "kept") {
		t.Errorf("topics after the recovery: %q", got)
	}
	stop()
	if r := command(t, "", "cluster", "recover", "--data-dir", dataDir, "--rejoin", "--yes"); r.code != 0 || !strings.Contains(r.stderr, "--join") {
		t.Errorf("to rejoin: %+v", r)
	}
	for name, want := range map[string]bool{"raft": false, "pledge": false, "raft.forgotten": true, "log": true, "meta.properties": true} {
		if _, err := os.Stat(filepath.Join(dataDir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if r := command(t, "", "cluster", "recover", "--data-dir", dataDir, "--yes"); r.code != 1 || !strings.Contains(r.stderr, "no metadata log") {
		t.Errorf("recover what was forgotten: %+v", r)
	}
}
