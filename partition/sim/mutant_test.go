//go:build mutant

package sim

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chronik-stream/chronik/internal/mutant"
)

var update = flag.Bool("update", false, "write the table of seeded bugs in docs/reliability.md")

// mutantSeeds is within how many seeds a bug must be caught.
const mutantSeeds = 5000

// TestMutants plays with every seeded bug in force until an invariant fails (I49), and compares what
// caught it with the table in docs/reliability.md.
func TestMutants(t *testing.T) {
	defer mutant.Select("")
	rules := rulesOfBugs(t)
	table := "| seeded bug | breaks | caught by | seeds |\n| --- | --- | --- | --- |\n"
	for _, bug := range mutant.All {
		mutant.Select(bug)
		seed, v := hunt()
		if v == nil {
			t.Errorf("%s: not caught in %d seeds", bug, mutantSeeds)
			continue
		}
		t.Logf("%s: %s at seed %d: %s", bug, v.Invariant, seed, v.Detail)
		table += fmt.Sprintf("| `%s` | %s | %s | %d |\n", bug, rules[bug], v.Invariant, seed)
	}
	compareTable(t, table)
}

// hunt plays seeds until one fails, and returns the lowest that does.
func hunt() (uint64, *Violation) {
	var next, found atomic.Uint64
	found.Store(mutantSeeds + 1)
	var mu sync.Mutex
	var first *Violation
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1)
				if seed >= found.Load() {
					return
				}
				if v := Play(seed, false).Violation; v != nil {
					mu.Lock()
					if seed < found.Load() {
						found.Store(seed)
						first = v
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return found.Load(), first
}

// rulesOfBugs reads what stands behind each bug in the source: the rule that it breaks.
func rulesOfBugs(t *testing.T) map[mutant.Bug]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../internal/mutant/mutant.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[mutant.Bug]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || spec.Comment == nil {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			name, _ := strconv.Unquote(literal.Value)
			rules[mutant.Bug(name)] = strings.TrimSpace(spec.Comment.Text())
		}
		return true
	})
	return rules
}

func compareTable(t *testing.T, table string) {
	t.Helper()
	const path, begin, end = "../../docs/reliability.md", "<!-- seeded bugs: begin -->\n", "<!-- seeded bugs: end -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(page), begin)
	old, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", path)
	}
	switch {
	case old == table:
	case *update && !t.Failed():
		if err := os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is out of date: go test -tags mutant ./partition/sim -run TestMutants -update", path)
	}
}
