package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Step is one cycle as the seed drew it.
type Step struct {
	Kind FaultKind
	Seed uint64 // of what the fault draws: its target, its size
	Hold time.Duration
}

const (
	shortestHold = 500 * time.Millisecond
	longestHold  = 3 * time.Second
)

// Schedule draws n steps. Every kind comes once in each run of as many steps as there are kinds, in an order of its own.
// Each step has a seed of its own, so that it is the same whatever the steps before it made of theirs.
func Schedule(seed uint64, kinds []FaultKind, n int) []Step {
	rng := rand.New(rand.NewPCG(seed, 1))
	var steps []Step
	for len(steps) < n {
		for _, k := range rng.Perm(len(kinds)) {
			steps = append(steps, Step{kinds[k], rng.Uint64(), shortestHold + time.Duration(rng.Int64N(int64(longestHold-shortestHold)))})
		}
	}
	return steps[:n]
}

func (s Step) String() string { return fmt.Sprintf("%s for %v", s.Kind.Name, ms(s.Hold)) }

// describe is a schedule for people.
func describe(steps []Step) string {
	var lines []string
	for i, s := range steps {
		lines = append(lines, fmt.Sprintf("%4d  %v", i+1, s))
	}
	return strings.Join(lines, "\n")
}
