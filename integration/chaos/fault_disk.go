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
		{"power loss", powerLoss},
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
	var torn []string // files
	f := &Fault{Target: t.String()}
	f.apply = func(context.Context) error {
		if err := t.node.Kill(); err != nil {
			return err
		}
		for _, topic := range w.Topics {
			for _, p := range topic.partitions() {
				path, err := tear(t.node, p, rng)
				if err != nil {
					return err
				}
				torn = append(torn, path)
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
		for _, path := range torn {
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

// tear adds the beginning of a batch, or as many bytes of any kind, to a log.
func tear(n *fleet.Node, p Partition, rng *rand.Rand) (path string, err error) {
	if path, err = lastSegment(n, p); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	tail := recordBatch([]byte("a record that was never finished"), 1, -1, -1, -1)
	tail = tail[:1+rng.IntN(len(tail)-1)]
	if rng.IntN(2) == 0 {
		for i := range tail {
			tail[i] = byte(rng.Uint32())
		}
	}
	_, err = f.Write(tail)
	return path, err
}

// powerLoss ends a node as a power cut would: the topics whose flushes are left to the operating system lose what was not
// synced, and the next start is in another boot of the machine. The node must know that it may lack what was acknowledged
// (replication.md 14.3), and the others have it.
func powerLoss(ctx context.Context, w *World, rng *rand.Rand) (*Fault, error) {
	t, err := anyNode(ctx, w, rng)
	if err != nil {
		return nil, err
	}
	lost := int64(0)
	f := &Fault{Target: t.String()}
	f.apply = func(context.Context) error {
		if err := t.node.Kill(); err != nil {
			return err
		}
		for i, topic := range w.Topics {
			for _, p := range topic.partitions() {
				if flushMode(i) == "sync" {
					continue
				}
				n, err := loseUnsynced(t.node, p, rng)
				if err != nil {
					return err
				}
				lost += n
			}
		}
		f.Target += fmt.Sprintf(", %d bytes lost", lost)
		boot := fmt.Sprintf(`{"version":0,"bootId":"%08x-0000-4000-8000-000000000000"}`+"\n", rng.Uint32())
		return os.WriteFile(filepath.Join(t.node.DataDir, "log", "chronik.run"), []byte(boot), 0o640)
	}
	f.bites = func(context.Context) error {
		if lost == 0 {
			return errors.New("all was synced")
		}
		return nil
	}
	f.heal = func(ctx context.Context) error { return start(ctx, t.node) }
	return f, nil
}

// loseUnsynced cuts a log anywhere above what its node knew to be synced, and returns how many bytes it took.
func loseUnsynced(n *fleet.Node, p Partition, rng *rand.Rand) (int64, error) {
	synced, err := checkpointed(filepath.Join(n.DataDir, "log", "synced-offset-checkpoint"), p)
	if err != nil {
		return 0, err
	}
	path, err := lastSegment(n, p)
	if err != nil {
		return 0, err
	}
	batches, err := readSegment(path)
	if err != nil && !stillWritten(err) { // the kill may have torn its last write
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	keep := info.Size()
	for _, b := range batches {
		if b.Base >= synced {
			keep = b.Position
			break
		}
	}
	if keep == info.Size() {
		return 0, nil
	}
	cut := keep + rng.Int64N(info.Size()-keep)
	return info.Size() - cut, os.Truncate(path, cut)
}

func lastSegment(n *fleet.Node, p Partition) (string, error) {
	segments, err := filepath.Glob(filepath.Join(n.PartitionDir(p.Topic, p.Index), "*.log"))
	if err == nil && len(segments) == 0 {
		err = fmt.Errorf("node %d has no segment of %v", n.ID, p)
	}
	if err != nil {
		return "", err
	}
	return slices.Max(segments), nil // names are offsets of one length
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
