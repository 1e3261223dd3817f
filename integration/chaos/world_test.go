package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/integration/fleet"
)

const testDeadline = 3 * time.Minute

// newWorld is a fleet that is up, with an empty ledger and no topics.
func newWorld(t *testing.T, nodes int) (*World, context.Context) {
	t.Helper()
	f, err := fleet.New(fleet.Options{Binary: brokerBinary(t), Dir: keptDir(t), Nodes: nodes, Settings: settings()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), testDeadline)
	t.Cleanup(cancel)
	w := &World{Fleet: f, Ledger: NewLedger()}
	if err := startAll(ctx, f); err != nil {
		t.Fatal(err)
	}
	if err := w.AwaitWhole(ctx); err != nil {
		t.Fatalf("%v\n%s", err, w.state(ctx))
	}
	return w, ctx
}
