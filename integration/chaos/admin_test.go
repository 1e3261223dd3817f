package chaos

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

// changesBetween two faults must be acknowledged, so that each of them meets a history that it could break.
const changesBetween = 15

// TestAdminIsLinearizable has several clients change topics through any broker while controllers are killed, paused and
// cut off, and looks for an order that explains all answers; what was acknowledged is there in the end (I21).
func TestAdminIsLinearizable(t *testing.T) {
	w, ctx := newWorld(t, 3)
	s := seed(t)
	load, err := StartWorkload(ctx, w.Fleet.Bootstrap(), nil, w.Ledger, rand.New(rand.NewPCG(s, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer load.Stop()
	for i, draw := range []drawFault{kill9(controller), pause(controller), isolate(controller, toAndFro), isolate(controller, onlyFro)} {
		f, err := draw(ctx, w, rand.New(rand.NewPCG(s, uint64(i+1))))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.apply(ctx); err != nil {
			t.Fatal(err)
		}
		held := &run{world: w}
		if err := held.hold(ctx, f, 2*time.Second); err != nil {
			t.Errorf("fault %d, %s, did not bite: %v", i, f.Target, err)
		}
		if err := f.heal(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.AwaitWhole(ctx); err != nil {
			t.Fatalf("%v\n%s", err, w.state(ctx))
		}
		changed := w.Ledger.adminChanges() + changesBetween
		if err := fleet.Eventually(ctx, func() error {
			if n := w.Ledger.adminChanges(); n < changed {
				return fmt.Errorf("%d changes are acknowledged, %d are waited for", n, changed)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.AwaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
	if err := load.SettledReads(ctx, w.ids()); err != nil {
		t.Fatal(err)
	}
	load.Stop()
	h := w.Ledger.History()
	t.Logf("%d operations, %d changes were acknowledged", len(h.Admin), w.Ledger.adminChanges())
	for _, v := range CheckAdmin(h.Admin, adminPatience) {
		t.Error(v)
	}
}
