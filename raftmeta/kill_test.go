package raftmeta

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// victimEnv makes the test binary the process that TestKilledNodeKeepsWhatItAnswered kills.
const victimEnv = "RAFTMETA_VICTIM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		if err := runVictim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runVictim commits offsets from several groups as fast as it can, and prints each commit once it
// has been answered, until it is killed.
func runVictim(dir string) error {
	ctx := context.Background() // this process is ended by a kill
	n, err := Open(Options{
		Dir: dir, ServerID: "1-test", Bootstrap: []Server{{ID: "1-test"}}, SnapshotThreshold: 20, TrailingLogs: 5,
		SnapshotInterval: 10_000_000, // 10 ms: be killed in the middle of snapshots too
	})
	if err != nil {
		return err
	}
	if err := n.Ready(ctx); err != nil {
		return err
	}
	if n.Image().TopicCount() == 0 { // a victim killed while settling leaves a part, which may be repeated
		if _, err := settleWith(ctx, n); err != nil {
			return err
		}
	}
	var group sync.WaitGroup
	var out sync.Mutex
	for g := range 4 {
		group.Go(func() {
			name := fmt.Sprint("g", g)
			o, _ := n.Image().Offset("", name, testID(1), 0)
			for i := o.Offset + 1; ; i++ {
				if _, err := n.Propose(ctx, commitOf(name, testID(1), i)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				out.Lock()
				fmt.Println(name, i)
				out.Unlock()
			}
		})
	}
	group.Wait()
	return nil
}

func TestKilledNodeKeepsWhatItAnswered(t *testing.T) {
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	answered := map[string]int64{}
	for range rounds {
		killAfter(t, dir, 20+random.IntN(400), answered)
		n := openReady(t, aloneOptions(t, dir))
		for group, want := range answered {
			if o, ok := n.Image().Offset("", group, testID(1), 0); !ok || o.Offset < want {
				t.Fatalf("group %s is at %d (%v) after the crash, and %d had been answered", group, o.Offset, ok, want)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs a victim until it has printed some lines, kills it, and notes what it had answered.
func killAfter(t *testing.T, dir string, lines int, answered map[string]int64) {
	t.Helper()
	victim := exec.CommandContext(testContext(t), os.Args[0])
	victim.Env = append(os.Environ(), victimEnv+"="+dir)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	seen := 0
	for scanner.Scan() {
		group, text, _ := strings.Cut(scanner.Text(), " ")
		if offset, err := strconv.ParseInt(text, 10, 64); err == nil { // the last line may be torn
			answered[group] = max(answered[group], offset)
		}
		if seen++; seen == lines {
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := victim.Wait(); err == nil || seen < lines {
		t.Fatalf("the victim ended by itself after %d lines: %v", seen, err)
	}
}
