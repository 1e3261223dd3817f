package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
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
		if built.path = os.Getenv("CHRONIK_BIN"); built.path != "" {
			built.path, built.err = filepath.Abs(built.path)
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "chronik-bin-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "chronik")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "build", "-o", built.path, "./cmd/chronik")
		cmd.Dir = repoRoot
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build ./cmd/chronik: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// isReference reports whether the broker under test is Apache Kafka, which differs in a few ways that are no fault.
func isReference() bool { return filepath.Base(os.Getenv("CHRONIK_BIN")) == "reference.sh" }
