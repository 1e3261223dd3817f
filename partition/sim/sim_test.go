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
	seeds := 2000
	if testing.Short() {
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
