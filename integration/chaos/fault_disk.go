package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/chronik-stream/chronik/integration/fleet"
)

func diskFaults() []FaultKind {
	return []FaultKind{
		{"full disk", fullDisk},
		{"torn tail", tornTail},
		{"wiped directory", wipe},
	}
}

// fullDisk fills the small file system to its last byte. The node may go on without appending or end itself, as one that
// cannot write its metadata must; then it is started again when there is space.
func fullDisk(_ context.Context, w *World, _ *rand.Rand) (*Fault, error) {
	if w.SmallDisk.Node == 0 {
		return nil, errors.New("no node has a small file system")
	}
	n := w.Fleet.Node(w.SmallDisk.Node)
	filler := filepath.Join(w.SmallDisk.Dir, "filler")
	return &Fault{
		Target: fmt.Sprintf("node %d", n.ID),
		apply:  func(context.Context) error { return fill(filler) },
		bites: func(ctx context.Context) error {
			if !n.Running() {
				return nil
			}
			return w.outOfISR(ctx, n.ID)
		},
		heal: func(ctx context.Context) error {
			if err := os.Remove(filler); err != nil {
				return err
			}
			if !n.Running() {
				return start(ctx, n)
			}
			return nil
		},
	}, nil
}

// fill writes until there is no space.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return err
		}
	}
	return nil
}

// outOfISR is nil when a partition does without a node, or is led by another because of it.
func (w *World) outOfISR(ctx context.Context, id int32) error {
	for _, t := range w.Topics {
		known, err := w.Fleet.Topic(ctx, t.Name)
		if err != nil {
			return err
		}
		for _, p := range known {
			if slices.Contains(p.Replicas, id) && !slices.Contains(p.ISR, id) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: node %d is in every ISR", errNotNoticed, id)
}

// tornTail ends a node and leaves at the end of its logs what an unfinished write leaves: the beginning of a batch, or
// bytes that are none. What was acknowledged lies before it and must survive.
func tornTail(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	t, err := anyNode(ctx, w, rng)
	if err != nil {
		return nil, err
	}
	torn := map[string]int64{} // the size to which recovery has to cut each file, or less than what it had
	f := &Fault{Target: t.String()}
	f.apply = func(context.Context) error {
		if err := t.node.Kill(); err != nil {
			return err
		}
		for _, topic := range w.Topics {
			for _, p := range topic.partitions() {
				if err := tear(t.node, p, rng, torn); err != nil {
					return err
				}
			}
		}
		return nil
	}
	f.bites = func(context.Context) error {
		if len(torn) == 0 {
			return errors.New("no log was torn")
		}
		return nil
	}
	f.heal = func(ctx context.Context) error { return start(ctx, t.node) }
	f.proves = func(context.Context) error {
		// The log goes on where it was cut, so the file is whole batches again.
		for path := range torn {
			if _, err := readSegment(path); err != nil && !stillWritten(err) {
				return fmt.Errorf("the torn tail was not cut off: %w", err)
			}
		}
		return nil
	}
	return f, nil
}

// stillWritten tells a batch that is being written from one that is torn.
func stillWritten(err error) bool { return strings.Contains(err.Error(), "unexpected EOF") }

func tear(n *fleet.Node, p Partition, rng *rand.Rand, torn map[string]int64) error {
	segments, err := filepath.Glob(filepath.Join(n.PartitionDir(p.Topic, p.Index), "*.log"))
	if err != nil || len(segments) == 0 {
		return err
	}
	slices.Sort(segments)
	path := segments[len(segments)-1]
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tail := recordBatch([]byte("a record that was never finished"), 1, -1, -1, -1)
	tail = tail[:1+rng.IntN(len(tail)-1)]
	if rng.IntN(2) == 0 {
		for i := range tail {
			tail[i] = byte(rng.Uint32())
		}
	}
	torn[path] = info.Size()
	_, err = f.Write(tail)
	return err
}

// wipe ends a node and takes all its data, as a new disk would. It comes back with its old id and nothing else.
func wipe(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	t, err := anyNode(ctx, w, rng)
	if err != nil {
		return nil, err
	}
	identity := filepath.Join(t.node.DataDir, "meta.properties")
	var before []byte
	return &Fault{
		Target: t.String(),
		apply: func(context.Context) error {
			if err := t.node.Kill(); err != nil {
				return err
			}
			var err error
			if before, err = os.ReadFile(identity); err != nil {
				return err
			}
			return t.node.Wipe()
		},
		bites: func(context.Context) error {
			if entries, err := os.ReadDir(t.node.DataDir); err != nil || len(entries) > 0 {
				return fmt.Errorf("%d entries are left: %w", len(entries), err)
			}
			return nil
		},
		heal: func(ctx context.Context) error { return start(ctx, t.node) },
		proves: func(context.Context) error {
			after, err := os.ReadFile(identity)
			if err != nil || string(after) == string(before) {
				return fmt.Errorf("the node has its old identity: %w", err)
			}
			return nil
		},
	}, nil
}
