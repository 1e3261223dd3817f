//go:build mutant

package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chronik-stream/chronik/internal/mutant"
)

// mutantSeeds is within how many seeds a bug must be caught.
const mutantSeeds = 3000

// TestMutants plays with every seeded bug in force until an invariant fails (I49).
func TestMutants(t *testing.T) {
	defer mutant.Select("")
	for _, bug := range mutant.All {
		mutant.Select(bug)
		seed, v := hunt()
		if v == nil {
			t.Errorf("%s: not caught in %d seeds", bug, mutantSeeds)
			continue
		}
		t.Logf("%-24s %-12s seed %4d: %s", bug, v.Invariant, seed, v.Detail)
	}
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
