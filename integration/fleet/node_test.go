package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standIn tells the test binary to be a node instead: it prints a ready line and serves a few paths.
const standIn = "CHRONIK_FLEET_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(standIn) != "" {
		os.Exit(beNode(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func beNode(args []string) int {
	flags := map[string]string{}
	for i := 1; i+1 < len(args); i += 2 {
		flags[strings.TrimPrefix(args[i], "--")] = args[i+1]
	}
	fmt.Fprintln(os.Stderr, "here is node", flags["node-id"])
	if _, err := os.Stat(filepath.Join(flags["data-dir"], "bad")); err == nil {
		return 3
	}
	kafka, err := net.Listen("tcp", flags["kafka-listen"])
	if err != nil {
		return 2
	}
	if _, err := net.Listen("tcp", flags["peer-listen"]); err != nil {
		return 2
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/raft", func(w http.ResponseWriter, _ *http.Request) {
		state := map[bool]string{true: RaftLeader, false: RaftFollower}[flags["node-id"] == "2"]
		fmt.Fprintf(w, `{"state":%q,"term":7,"servers":[{"id":"3-c","suffrage":"nonvoter"},{"id":"2-b","suffrage":"voter"},{"id":"1-a","suffrage":"voter"}]}`, state)
	})
	mux.HandleFunc("/v1/topics/t", func(w http.ResponseWriter, _ *http.Request) {
		epoch := map[string]int{"1": 4, "2": 5, "3": 5}[flags["node-id"]]
		fmt.Fprintf(w, `{"partition":[{"partition":0,"leader":3,"leader_epoch":%d,"isr":[3],"high_watermark":%s}]}`, epoch, flags["node-id"])
	})
	go func() { _ = http.ListenAndServe(flags["http-listen"], mux) }() // ends with the process
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGTERM)
	fmt.Printf("chronik ready node=%s kafka=%s\n", flags["node-id"], kafka.Addr())
	<-over
	return 0
}

func standInFleet(t *testing.T, nodes int) *Fleet {
	t.Helper()
	t.Setenv(standIn, "1")
	f, err := New(Options{Binary: os.Args[0], Dir: t.TempDir(), Nodes: nodes, Settings: []string{"a=b"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func TestFleetStartsAndStops(t *testing.T) {
	f, ctx := standInFleet(t, 3), deadline(t)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Nodes() {
		conn, err := net.Dial("tcp", n.Kafka)
		if err != nil {
			t.Fatalf("node %d does not serve where it said: %v", n.ID, err)
		}
		conn.Close()
	}
	if err := f.Stop(ctx); err != nil {
		t.Error(err)
	}
	for _, n := range f.Nodes() {
		if n.Running() {
			t.Errorf("node %d still runs", n.ID)
		}
	}
}

func TestNodeComesBackAtTheSamePlace(t *testing.T) {
	f, ctx := standInFleet(t, 1), deadline(t)
	n := f.Node(1)
	for life := 1; life <= 3; life++ {
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", n.peerAdvertise); err != nil {
			t.Errorf("the way to a node that is up: %v", err)
		} else {
			conn.Close()
		}
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("tcp", n.peerAdvertise); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the way to a node that is down: %v", err)
		}
		if log := n.LogTail(5); !strings.Contains(log, "here is node 1") || !strings.Contains(log, fmt.Sprintf("life-%03d", life)) {
			t.Errorf("the log of life %d: %q", life, log)
		}
	}
}

func TestANodeThatCannotStartSaysSo(t *testing.T) {
	f, ctx := standInFleet(t, 1), deadline(t)
	n := f.Node(1)
	if err := os.MkdirAll(filepath.Join(n.DataDir, "bad"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("starting gave %v", err)
	}
	if err := n.Wipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		t.Errorf("after a wipe: %v", err)
	}
	if err := n.Wipe(); err == nil {
		t.Error("the data of a running node were wiped")
	}
}

func TestAPausedNodeAnswersNothing(t *testing.T) {
	f, ctx := standInFleet(t, 1), deadline(t)
	n := f.Node(1)
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, func() error { _, err := n.Raft(ctx); return err })
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Raft(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused node gave %v", err)
	}
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	await(t, func() error { _, err := n.Raft(ctx); return err })
}

func TestStatusBelievesTheHighestEpochAndTheLeader(t *testing.T) {
	f, ctx := standInFleet(t, 3), deadline(t)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Nodes() {
		await(t, func() error { _, err := n.Raft(ctx); return err })
	}
	if id, term, err := f.Controller(ctx); err != nil || id != 2 || term != 7 {
		t.Errorf("controller %d, term %d, %v", id, term, err)
	}
	if voters, err := f.Voters(ctx); err != nil || len(voters) != 2 || voters[0] != 1 || voters[1] != 2 {
		t.Errorf("voters %v, %v", voters, err)
	}
	partitions, err := f.Topic(ctx, "t")
	if err != nil || len(partitions) != 1 {
		t.Fatal(partitions, err)
	}
	if p := partitions[0]; p.LeaderEpoch != 5 || p.HighWatermark != 3 {
		t.Errorf("believed %+v", p)
	}
}

func TestNodesDieWithTheirParent(t *testing.T) {
	p, err := Launch(exec.Command("sleep", "60"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if p.cmd.SysProcAttr.Pdeathsig != syscall.SIGKILL {
		t.Error("it would outlive this process")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.AwaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting gave %v", err)
	}
	if err := p.Kill(); err != nil || p.Err() == nil {
		t.Errorf("killing gave %v, and it ended with %v", err, p.Err())
	}
}

func TestASmallFileSystemFills(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := MountSmall(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := Unmount(dir); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 2<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing twice its size gave %v", err)
	}
}
