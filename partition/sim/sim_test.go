package sim

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSeeds plays as many seeds as CHRONIK_SIM_SEEDS says, or the one that CHRONIK_SIM_SEED names, with
// all its events.
func TestSeeds(t *testing.T) {
	if text := os.Getenv("CHRONIK_SIM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		result := Play(seed, true)
		t.Logf("%d steps, hash %x, %+v", result.Steps, result.Hash, result.Stats)
		if result.Violation != nil {
			t.Fatal(result.Violation)
		}
		return
	}
	seeds := 4000
	if testing.Short() || raceEnabled { // a world has one goroutine
		seeds = 300
	}
	if text := os.Getenv("CHRONIK_SIM_SEEDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		seeds = n
	}
	playAll(t, seeds)
}

func playAll(t *testing.T, seeds int) {
	var next, steps, failed atomic.Int64
	var mu sync.Mutex
	var total Stats
	began := time.Now()
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for failed.Load() < 3 {
				seed := next.Add(1)
				if seed > int64(seeds) {
					return
				}
				result := Play(uint64(seed), false)
				steps.Add(int64(result.Steps))
				mu.Lock()
				total.add(&result.Stats)
				mu.Unlock()
				if result.Violation != nil {
					failed.Add(1)
					t.Error(result.Violation)
				}
			}
		})
	}
	wg.Wait()
	perSecond := float64(steps.Load()) / time.Since(began).Seconds() / float64(workers)
	t.Logf("%d seeds, %d steps, %.0f steps/s a core: %+v", seeds, steps.Load(), perSecond, total)
}

// TestASeedPlaysTheSame (I49): a failure can be played again, event by event.
func TestASeedPlaysTheSame(t *testing.T) {
	for seed := range uint64(20) {
		first, second := Play(seed, true), Play(seed, false)
		if first.Hash != second.Hash || first.Steps != second.Steps {
			t.Errorf("seed %d: %d steps with hash %x, then %d with %x", seed, first.Steps, first.Hash, second.Steps, second.Hash)
		}
	}
	if Play(1, false).Hash == Play(2, false).Hash {
		t.Error("two seeds play the same")
	}
}

// TestARunGoesThroughEnough: what never happens is not tested.
func TestARunGoesThroughEnough(t *testing.T) {
	var total Stats
	for seed := range uint64(200) {
		result := Play(seed, false)
		total.add(&result.Stats)
	}
	if total.Elections < 200 || total.ISRChanges < 200 || total.Crashes < 200 || total.Losses < 50 || total.Truncations < 50 ||
		total.Acked < 5000 || total.Read < 5000 || total.Resent < 1000 || total.Moves < 20 || total.Unclean < 5 {
		t.Errorf("200 seeds went through no more than %+v", total)
	}
}

// BenchmarkSteps plays seeds one after the other and reports how many steps that is a second.
func BenchmarkSteps(b *testing.B) {
	steps, seed := 0, uint64(0)
	for b.Loop() {
		seed++
		steps += Play(seed, false).Steps
	}
	b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
}
