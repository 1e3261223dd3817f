package raftmeta

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

type fatalfer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func snapshotOf(t fatalfer, im *Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeSnapshot(&b, im); err != nil {
		t.Fatalf("write: %v", err)
	}
	return b.Bytes()
}

func snapshotAndBack(t fatalfer, im *Image) *Image {
	t.Helper()
	data := snapshotOf(t, im)
	back, err := readSnapshot(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if back.Hash() != im.Hash() || !bytes.Equal(snapshotOf(t, back), data) {
		t.Fatalf("image after a snapshot: %s", cmp.Diff(describe(im), describe(back)))
	}
	return back
}

// exampleImage holds something of everything.
func exampleImage(t fatalfer) *Image {
	im := worldForFuzzing()
	for _, cmd := range []Command{
		&InitCluster{testID(200)},
		&SetConfig{BrokerResource, "", ConfigChange{Ops: []ConfigOp{{Key: "x", Value: "1"}}}},
		&CreateTopic{ID: testID(3), Name: "gone", Assignments: [][]int32{{1, 2}}},
		&DeleteTopic{testID(3)},
		&AllocateProducerIDs{1, 1, 1000},
		&PutGroup{firstOwner, exampleGroup()},
		commitOf("simple", testID(1), 7),
	} {
		next, _, err := Apply(im, im.Index()+500, 3, cmd)
		if err != nil {
			t.Fatalf("%T: %v", cmd, err)
		}
		im = next
	}
	e := newEdit(im)
	if !e.admit(stamp{1, 1, 7}) {
		t.Fatalf("an entry of broker 1 is refused")
	}
	return e.done()
}

func TestSnapshotBytes(t *testing.T) {
	im := exampleImage(t)
	golden(t, "snapshot.golden", hex.Dump(snapshotOf(t, im)))
	golden(t, "image.golden", describe(snapshotAndBack(t, im)))
}

// TestSameLogSameHash applies one log on two nodes. One of them takes the entries one by one; the other
// in batches, through a snapshot somewhere (I20).
func TestSameLogSameHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var logs []*raft.Log
		one := newTestFSM(t)
		drawLog(t, NewImage(), func(index uint64, cmd Command, _ *Image) *Image {
			b, err := appendCommand(nil, cmd)
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, &raft.Log{Index: index, Term: 1 + index/1000, Type: raft.LogCommand, Data: appendToEntry(beginEntry(drawStamp(t, one.feed.image.Load())), b)})
			if err, ok := one.Apply(logs[len(logs)-1]).(error); ok {
				t.Fatal(err)
			}
			return one.feed.image.Load()
		})
		other := newTestFSM(t)
		for rest := logs; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			other.ApplyBatch(rest[:n])
			rest = rest[n:]
			if rapid.Bool().Draw(t, "snapshot") {
				third := newTestFSM(t)
				data := snapshotOf(t, other.feed.image.Load())
				if err := third.Restore(io.NopCloser(bytes.NewReader(data))); err != nil {
					t.Fatal(err)
				}
				other = third
			}
		}
		a, b := one.feed.image.Load(), other.feed.image.Load()
		if a.Hash() != b.Hash() || a.Audit() != b.Audit() {
			t.Fatalf("two nodes differ: %s", cmp.Diff(describe(a), describe(b)))
		}
	})
}

func newTestFSM(t fatalfer) *fsm {
	return &fsm{feed: newFeed(), metrics: newMetrics(nil), fatal: func(err error) { t.Fatalf("fatal: %v", err) }}
}

// TestHashSeesEveryField changes one thing at a time.
func TestHashSeesEveryField(t *testing.T) {
	base := exampleImage(t)
	seen := map[Hash]string{base.Hash(): "nothing"}
	for name, change := range map[string]func(e *edit){
		"cluster":      func(e *edit) { e.base.clusterID[3]++ },
		"level":        func(e *edit) { e.base.featureLevel++ },
		"producer ids": func(e *edit) { e.takeProducerIDs(1) },
		"index":        func(e *edit) { e.base.index++ },
		"shard owner":  func(e *edit) { e.base.shards[7].Owner++ },
		"shard epoch":  func(e *edit) { e.base.shards[7].Epoch++ },
		"audit":        func(e *edit) { e.base.audit.Hash[0]++ },
		"offset":       func(e *edit) { e.putOffset("", "simple", CommittedOffset{TopicID: testID(1), Offset: 8}) },
		"other offset": func(e *edit) { e.putOffset("", "simple", CommittedOffset{TopicID: testID(1), Partition: 1}) },
		"group":        func(e *edit) { e.putGroup(&Group{ID: "simple", Generation: 1}) },
		"broker":       func(e *edit) { e.putBroker(&Broker{ID: 1, Epoch: 9}) },
		"sequence":     func(e *edit) { e.putSequence(1, 8) },
		"no sequence":  func(e *edit) { e.removeSequence(1) },
		"other's":      func(e *edit) { e.putSequence(2, 7) },
		"config":       func(e *edit) { e.putConfig(ConfigKey{BrokerResource, ""}, map[string]string{"x": "2"}) },
		"no config":    func(e *edit) { e.putConfig(ConfigKey{BrokerResource, ""}, nil) },
		"no tombstone": func(e *edit) { x, _ := base.Tombstone(testID(3)); e.removeTombstone(x) },
		"no topic":     func(e *edit) { x, _ := base.TopicByID(testID(1)); e.removeTopic(x) },
	} {
		e := newEdit(base)
		change(e)
		h := e.done().Hash()
		if other, ok := seen[h]; ok {
			t.Errorf("%q has the hash of %q", name, other)
		}
		seen[h] = name
	}
}

func TestSnapshotDamageIsFound(t *testing.T) {
	data := snapshotOf(t, exampleImage(t))
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if _, err := readSnapshot(bytes.NewReader(bad)); err == nil {
			t.Fatalf("bit flip at byte %d went unnoticed", i)
		}
	}
	for n := range data {
		if _, err := readSnapshot(bytes.NewReader(data[:n])); err == nil {
			t.Fatalf("cut to %d bytes went unnoticed", n)
		}
	}
	if _, err := readSnapshot(iotest.OneByteReader(bytes.NewReader(data))); err != nil {
		t.Errorf("short reads: %v", err)
	}
	data[len(snapshotMagic)]++
	if _, err := readSnapshot(bytes.NewReader(data)); !errors.Is(err, ErrUnsupportedCommand) {
		t.Errorf("newer format: %v", err)
	}
}

func TestSnapshotWriteErrorCancels(t *testing.T) {
	sink := &fakeSink{fail: true}
	s := &imageSnapshot{exampleImage(t), newMetrics(nil)}
	if err := s.Persist(sink); !errors.Is(err, errDisk) || !sink.cancelled || sink.closed {
		t.Errorf("%v, %+v", err, sink)
	}
	sink = &fakeSink{}
	if err := s.Persist(sink); err != nil || sink.cancelled || !sink.closed {
		t.Errorf("%v, %+v", err, sink)
	}
}

type fakeSink struct {
	bytes.Buffer
	fail, closed, cancelled bool
}

func (s *fakeSink) Write(b []byte) (int, error) {
	if s.fail {
		return 0, errDisk
	}
	return s.Buffer.Write(b)
}
func (s *fakeSink) Close() error  { s.closed = true; return nil }
func (s *fakeSink) Cancel() error { s.cancelled = true; return nil }
func (s *fakeSink) ID() string    { return "test" }

func FuzzSnapshotRestore(f *testing.F) {
	f.Add(snapshotOf(f, NewImage()))
	f.Add(snapshotOf(f, worldForFuzzing()))
	f.Add(snapshotOf(f, exampleImage(f)))
	f.Add([]byte(snapshotMagic + "\x01\x01\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := readSnapshot(bytes.NewReader(data))
		if err == nil {
			snapshotAndBack(t, im)
		}
	})
}
