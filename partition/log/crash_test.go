package log

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// seedFlag replays a failed run.
var seedFlag = flag.Uint64("log.seed", 0, "seed of TestCrashAtEveryOperation; 0 draws one")

// checkRecovered holds the open log against the model: nothing acknowledged is missing, nothing is there
// that was not written, and all that is derived agrees with the batches.
func (w *logWorld) checkRecovered(mostStart int64) error {
	l := w.l
	if err := l.Failed(); err != nil {
		return err
	}
	if l.EndOffset() < w.durable && w.cfg.FlushMode == Sync {
		return fmt.Errorf("log ends at %d, everything below %d was acknowledged", l.EndOffset(), w.durable)
	}
	if l.StartOffset() < w.start || l.StartOffset() > mostStart {
		return fmt.Errorf("log starts at %d, want [%d, %d]", l.StartOffset(), w.start, mostStart)
	}
	if l.EndOffset() > max(w.end(), l.StartOffset()) {
		return fmt.Errorf("log ends at %d, only [0, %d) was written", l.EndOffset(), w.end())
	}
	if l.DurableOffset() != l.EndOffset() {
		return fmt.Errorf("recovery made [0, %d) of [0, %d) durable", l.DurableOffset(), l.EndOffset())
	}
	if hw := l.HighWatermark(); hw < l.StartOffset() || hw > l.EndOffset() {
		return fmt.Errorf("high watermark %d of [%d, %d)", hw, l.StartOffset(), l.EndOffset())
	}
	if err := checkContent(l, &w.history, 900); err != nil {
		return err
	}
	return checkDerived(l)
}

// TestCrashAtEveryOperation runs a workload and takes a crash at each of its file operations: the file
// system as it may be left is recovered and compared with what the model says at that moment (I29, I30).
func TestCrashAtEveryOperation(t *testing.T) {
	operations := 2000
	if testing.Short() || raceEnabled {
		operations = 400
	}
	for _, mode := range []FlushMode{Sync, OS} {
		t.Run(fmt.Sprintf("mode=%d", mode), func(t *testing.T) {
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64()
			}
			rng, crashes := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
			cfg := testConfig()
			cfg.FlushMode = mode
			w, err := newLogWorld(cfg)
			must(t, err)
			var failed error
			mostStart := int64(0)
			w.m.OnOp(func(op vfs.Op) error {
				if failed == nil && op.Kind.Mutates() {
					if err := w.crashNow(crashes, mostStart); err != nil {
						failed = fmt.Errorf("crash before operation %d, %v: %w", w.m.Ops(), op, err)
					}
				}
				return nil
			})
			weights := []string{"append", "append", "append", "append", "append", "append", "append", "append", "sync", "sync", "roll", "epoch", "delete before", "retain", "truncate", "settle", "checkpoint", "reopen"}
			for w.m.Ops() < operations && failed == nil {
				step := weights[rng.IntN(len(weights))]
				mostStart = w.end()
				t.Logf("operation %d: %s, log [%d, %d) durable %d", w.m.Ops(), step, w.start, w.end(), w.durable)
				if err := w.step(step, rng); err != nil {
					t.Fatalf("seed %d, %s: %v", seed, step, err)
				}
				if failed != nil {
					t.Fatalf("seed %d, during %s: %v", seed, step, failed)
				}
			}
		})
	}
}

// crashNow recovers what a power loss now may leave, and what the death of the process would.
func (w *logWorld) crashNow(rng *rand.Rand, mostStart int64) error {
	for _, after := range []*vfs.Mem{w.m.Crash(rng), w.m.CrashKeepAll(), w.m.CrashLoseAll()} {
		c := &logWorld{m: after, cfg: w.cfg, now: w.now, history: w.clone()}
		if err := c.open(); err != nil {
			return err
		}
		if err := c.checkRecovered(mostStart); err != nil {
			return err
		}
		if err := c.goOn(rng); err != nil {
			return fmt.Errorf("afterwards: %w", err)
		}
	}
	return nil
}

// goOn uses a recovered log, stops it cleanly and looks at it once more.
func (w *logWorld) goOn(rng *rand.Rand) error {
	w.start = w.l.StartOffset()
	w.cut(w.l.EndOffset())
	if w.end() != w.l.EndOffset() { // it begins anew above all that was written
		w.batches = nil
	}
	w.epoch = max(w.epoch, w.l.LatestEpoch())
	if err := w.append(rng); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	again := &logWorld{m: w.m.CrashLoseAll(), cfg: w.cfg, now: w.now, history: w.clone()}
	if err := again.open(); err != nil {
		return err
	}
	if err := again.checkRecovered(w.start); err != nil {
		return fmt.Errorf("second crash: %w", err)
	}
	if again.l.EndOffset() != w.end() {
		return fmt.Errorf("log ends at %d after a second crash, not at %d", again.l.EndOffset(), w.end())
	}
	if err := w.d.Close(); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	if !w.d.PreviousStop().Clean {
		return fmt.Errorf("previous stop is %+v", w.d.PreviousStop())
	}
	if err := w.checkRecovered(w.start); err != nil {
		return err
	}
	if w.l.EndOffset() != w.end() {
		return fmt.Errorf("log ends at %d after a clean stop, not at %d", w.l.EndOffset(), w.end())
	}
	return w.d.Close()
}
