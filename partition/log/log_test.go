package log

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLogAgainstModel does everything that can be done to a log, in random order, and compares it with a
// list of batches. Reopening is clean, or a crash that keeps or loses what was not synced.
func TestLogAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.FlushMode = rapid.SampledFrom([]FlushMode{Sync, OS}).Draw(t, "mode")
		cfg.Preallocate = rapid.Bool().Draw(t, "preallocate")
		w, err := newLogWorld(cfg)
		must(t, err)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		weights := []string{"append", "append", "append", "append", "append", "append", "sync", "roll", "epoch", "delete before", "retain", "truncate", "settle", "checkpoint", "reopen", "crash", "check"}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			step := rapid.SampledFrom(weights).Draw(t, "step")
			if err := w.step(step, rng); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
		}
		must(t, w.checkReads(rng))
		must(t, checkDerived(w.l))
		must(t, w.d.Close())
	})
}

// step does one thing to log and model.
func (w *logWorld) step(name string, rng *rand.Rand) error {
	switch name {
	case "append":
		return w.append(rng)
	case "sync":
		return w.sync()
	case "roll":
		return w.l.Roll()
	case "epoch":
		w.epoch++
		return w.l.StartEpoch(w.epoch)
	case "delete before":
		if err := w.sync(); err != nil {
			return err
		}
		to := w.start + rng.Int64N(w.durable-w.start+1)
		if err := w.l.DeleteBefore(to); err != nil {
			return err
		}
		w.start = to
	case "retain":
		if err := w.sync(); err != nil {
			return err
		}
		if rng.IntN(3) == 0 {
			return w.expireAll()
		}
		return w.d.retain()
	case "truncate":
		return w.truncate(rng)
	case "settle":
		return w.l.settle(rng.IntN(2) == 0)
	case "checkpoint":
		return w.d.writeChanged()
	case "reopen":
		if err := w.d.Close(); err != nil {
			return err
		}
		return w.open()
	case "crash":
		return w.crash(rng)
	case "check":
		if err := w.checkReads(rng); err != nil {
			return err
		}
		return checkDerived(w.l)
	}
	return nil
}

// expireAll lets retention by time or size take what it can.
func (w *logWorld) expireAll() error {
	cfg := w.cfg
	cfg.RetentionBytes = 6 << 10
	w.l.SetConfig(cfg)
	err := w.d.retain()
	w.l.SetConfig(w.cfg)
	w.start = w.l.StartOffset()
	w.now = w.now.Add(time.Second)
	return err
}

// crash replaces the file system by what a crash leaves. The model becomes what is there, after checking
// that it is what must be.
func (w *logWorld) crash(rng *rand.Rand) error {
	switch rng.IntN(3) {
	case 0:
		w.m = w.m.CrashKeepAll()
	case 1:
		w.m = w.m.CrashLoseAll()
	default:
		w.m = w.m.Crash(rng)
	}
	return w.recovered()
}

func (w *logWorld) recovered() error {
	if err := w.open(); err != nil {
		return err
	}
	if err := w.checkRecovered(w.start); err != nil {
		return err
	}
	w.start = w.l.StartOffset()
	w.cut(w.l.EndOffset())
	w.durable = w.l.DurableOffset()
	return nil
}
