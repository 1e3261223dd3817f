package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// smallDisk holds a round's data of one node some times over.
const smallDisk = 256 << 20

// built is the binary under test, made once per run.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // what is left is in a temporary directory
	}
	os.Exit(code)
}

func brokerBinary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "chronik-bin-"); built.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		built.path, built.err = fleet.Build(ctx, filepath.Join("..", ".."), built.dir)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// seed is CHRONIK_CHAOS_SEED, or any; it is logged, so that a failure can be replayed (as far as the scheduler allows).
func seed(t testing.TB) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text := os.Getenv("CHRONIK_CHAOS_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHRONIK_CHAOS_SEED: %v", err)
		}
	}
	t.Logf("seed: CHRONIK_CHAOS_SEED=%d", s)
	return s
}

// cycles is CHRONIK_CHAOS_CYCLES, or one for each kind of fault.
func cycles(t testing.TB, kinds []FaultKind) int {
	t.Helper()
	text := os.Getenv("CHRONIK_CHAOS_CYCLES")
	if text == "" {
		return len(kinds)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("CHRONIK_CHAOS_CYCLES: %v", err)
	}
	return n
}

// keptDir is a directory that outlives a failed test, for its logs.
func keptDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chronik-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the logs of the nodes, and their data, are in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestChaos applies every kind of fault at least once to three nodes under load. CHRONIK_CHAOS_SEED replays a schedule,
// CHRONIK_CHAOS_CYCLES makes it longer, CHRONIK_CHAOS_ONLY takes some kinds alone ("torn tail,resets").
func TestChaos(t *testing.T) {
	kinds := Kinds()
	if text := os.Getenv("CHRONIK_CHAOS_ONLY"); text != "" {
		only := strings.Split(text, ",")
		kinds = slices.DeleteFunc(kinds, func(k FaultKind) bool { return !slices.Contains(only, k.Name) })
		if len(kinds) != len(only) {
			t.Fatalf("CHRONIK_CHAOS_ONLY: not all of %q are faults", only)
		}
	}
	n := cycles(t, kinds)
	report, err := Run(t.Context(), Config{Binary: brokerBinary(t), Dir: keptDir(t), Seed: seed(t), Cycles: n, Kinds: kinds,
		SmallDisk: smallDisk, Logf: logf(t)})
	if err != nil {
		t.Error(err)
	}
	if report == nil {
		return
	}
	t.Logf("\n%v", report)
	for _, v := range report.Violations {
		t.Error(v)
	}
	if missing := report.Missing(kinds); n >= len(kinds) && len(missing) > 0 && !t.Failed() {
		t.Errorf("no cycle of these counted: %v", missing)
	}
	if t.Failed() {
		t.Logf("the schedule:\n%s", describe(Schedule(report.Seed, kinds, n+5)))
	}
}

// logf tells of steps as they happen: a run takes hours, and one that hangs must say where.
func logf(t *testing.T) func(format string, args ...any) {
	return func(format string, args ...any) {
		t.Helper()
		if testing.Verbose() {
			fmt.Printf("%s  %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
		}
	}
}
