package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

var update = flag.Bool("update", false, "write docs/clients.md from this run's matrix")

// repoRoot and cacheDir are absolute: rows run their clients in other directories.
var repoRoot, cacheDir string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	wd, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	repoRoot = filepath.Dir(wd)
	cacheDir = filepath.Join(repoRoot, ".cache", "integration")
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// built is the binary under test, made at the first use so that a run of tests without a broker needs none.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// brokerBinary returns the path of the broker's binary, building it once per run.
func brokerBinary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "chronik-bin-"); built.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		built.path, built.err = fleet.Build(ctx, repoRoot, built.dir)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// isReference reports whether the broker under test is Apache Kafka, which differs in a few ways that are no fault.
func isReference() bool { return filepath.Base(os.Getenv("CHRONIK_BIN")) == "reference.sh" }
