package broker

import (
	"testing"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

// TestControllerFor: clients are told of a controller among the brokers that they are told of, whoever leads the
// metadata log or nobody.
func TestControllerFor(t *testing.T) {
	im := raftmeta.NewImage()
	apply := func(index uint64, cmd raftmeta.Command) {
		t.Helper()
		var err error
		if im, _, err = raftmeta.Apply(im, index, 1, cmd); err != nil {
			t.Fatal(err)
		}
	}
	if got := controllerFor(im, 1, 1); got != -1 {
		t.Errorf("of no brokers %d is the controller", got)
	}
	index := uint64(0)
	for id := int32(1); id <= 3; id++ {
		index++
		apply(index, &raftmeta.RegisterBroker{ID: id, Incarnation: uuid.ID{byte(id)}, StorageIDs: []uuid.ID{{byte(id)}}})
		if id == 1 {
			continue // stays fenced
		}
		index++
		apply(index, &raftmeta.ActivateBroker{ID: id, Epoch: int64(index - 1)})
	}
	for _, c := range []struct {
		name               string
		leader, self, want int32
	}{
		{"the leader", 2, 3, 2},
		{"the leader is fenced", 1, 3, 3},
		{"no leader", -1, 2, 2},
		{"no leader, asked of a fenced broker", -1, 1, 2},
	} {
		if got := controllerFor(im, c.leader, c.self); got != c.want {
			t.Errorf("%s: broker %d, want %d", c.name, got, c.want)
		}
	}
}
