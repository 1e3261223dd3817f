package log

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

var testNow = time.UnixMilli(1_700_000_000_000)

// producedBatch is a batch of count records of an idempotent producer.
func producedBatch(t interface{ Fatal(...any) }, offset int64, p record.Producer, count int, transactional bool) record.Batch {
	builder := record.NewBuilder(record.Spec{BaseOffset: offset, Producer: &p, Transactional: transactional})
	for i := range count {
		must(t, builder.Add(&record.Record{Offset: offset + int64(i), Timestamp: testNow.UnixMilli() + offset, Value: []byte("v")}))
	}
	b, err := builder.Build(nil)
	must(t, err)
	return b
}

func marker(t interface{ Fatal(...any) }, offset int64, p record.Producer, m record.Marker) record.Batch {
	b, err := record.AppendMarker(nil, p, m, testNow.UnixMilli()+offset)
	must(t, err)
	record.Batch(b).Stamp(offset, 0)
	return b
}

// sentBatch is a batch in the naive model: the whole history of a producer.
type sentBatch struct {
	epoch       int16
	first, last int32
	offset      int64
}

// verdictOf is what replication.md 16 says, over the whole history.
func verdictOf(history []sentBatch, epoch int16, first, last int32) (dupOffset int64, err error) {
	if len(history) == 0 {
		return -1, nil
	}
	newest := history[len(history)-1]
	switch {
	case epoch < newest.epoch:
		return -1, ErrInvalidProducerEpoch
	case epoch > newest.epoch && first == 0:
		return -1, nil
	case epoch > newest.epoch:
		return -1, ErrOutOfOrderSequence
	}
	for i := len(history) - 1; i >= max(0, len(history)-rememberedBatches); i-- {
		if h := history[i]; h.epoch == epoch && h.first == first && h.last == last {
			return h.offset, nil
		}
	}
	if first == int32((int64(newest.last)+1)&0x7fffffff) {
		return -1, nil
	}
	return -1, ErrOutOfOrderSequence
}

func TestProducersAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p producerStates
		history := map[int64][]sentBatch{}
		offset := int64(0)
		send := func(t *rapid.T, id int64, epoch int16, first int32, count int) {
			b := producedBatch(t, offset, record.Producer{ID: id, Epoch: epoch, Sequence: first}, count, false)
			last := b.LastSequence()
			wantDup, wantErr := verdictOf(history[id], epoch, first, last)
			dup, err := p.check(b)
			if !errors.Is(err, wantErr) || (dup != nil) != (wantDup >= 0) || dup != nil && dup.firstOffset() != wantDup {
				t.Fatalf("producer %d epoch %d [%d, %d]: %+v, %v, want %d, %v", id, epoch, first, last, dup, err, wantDup, wantErr)
			}
			if dup != nil || err != nil {
				return
			}
			must(t, p.update(b, testNow))
			history[id] = append(history[id], sentBatch{epoch, first, last, offset})
			offset += int64(count)
		}
		ids := rapid.Int64Range(0, 3)
		t.Repeat(map[string]func(*rapid.T){
			"next": func(t *rapid.T) {
				id, count := ids.Draw(t, "id"), rapid.IntRange(1, 4).Draw(t, "count")
				epoch, first := int16(0), rapid.SampledFrom([]int32{0, 5, 1<<31 - 3}).Draw(t, "first")
				if h := history[id]; len(h) > 0 {
					epoch, first = h[len(h)-1].epoch, int32((int64(h[len(h)-1].last)+1)&0x7fffffff)
				}
				send(t, id, epoch, first, count)
			},
			"again": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				if h := history[id]; len(h) > 0 {
					b := rapid.SampledFrom(h[max(0, len(h)-8):]).Draw(t, "batch")
					count := int((int64(b.last)-int64(b.first))&0x7fffffff) + 1
					send(t, id, b.epoch, b.first, max(1, count+rapid.IntRange(-1, 1).Draw(t, "other size")))
				}
			},
			"anything": func(t *rapid.T) {
				send(t, ids.Draw(t, "id"), rapid.Int16Range(0, 3).Draw(t, "epoch"), rapid.Int32Range(0, 12).Draw(t, "first"), rapid.IntRange(1, 3).Draw(t, "count"))
			},
			"restart": func(t *rapid.T) {
				again, err := decodeSnapshot(p.encodeSnapshot(), offset, testNow)
				must(t, err)
				if diff := cmp.Diff(p, again, cmp.AllowUnexported(producerStates{}, producerState{}, seenBatch{}, txnSpan{})); diff != "" {
					t.Fatal(diff)
				}
				p = again
			},
			"": func(t *rapid.T) {
				for _, info := range p.list() {
					h := history[info.ID]
					if newest := h[len(h)-1]; info.Epoch != newest.epoch || info.LastSequence != newest.last ||
						info.LastTimestamp != testNow.UnixMilli()+newest.offset || info.TxnStartOffset != -1 {
						t.Fatalf("%+v after %+v", info, newest)
					}
				}
			},
		})
	})
}

func TestTransactionsHoldBackTheStableOffset(t *testing.T) {
	var p producerStates
	unstable := func(hw, want int64) {
		t.Helper()
		got, ok := p.firstUnstable(hw)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("first unstable offset at hw %d = %d, want %d", hw, got, want)
		}
	}
	one, two := record.Producer{ID: 1, Epoch: 4}, record.Producer{ID: 2}
	unstable(0, -1)
	must(t, p.update(producedBatch(t, 0, two, 1, false), testNow))
	must(t, p.update(producedBatch(t, 1, one, 2, true), testNow))
	two.Sequence = 1
	must(t, p.update(producedBatch(t, 3, two, 1, true), testNow))
	unstable(4, 1)
	if _, err := p.check(producedBatch(t, 4, record.Producer{ID: 1, Epoch: 4, Sequence: 2}, 1, false)); !errors.Is(err, ErrInvalidTxnState) {
		t.Errorf("plain batch in a transaction: %v", err)
	}
	if n := p.expire(testNow.Add(time.Hour), time.Minute); n != 0 {
		t.Errorf("%d producers expired inside transactions", n)
	}

	again, err := decodeSnapshot(p.encodeSnapshot(), 4, testNow)
	must(t, err)
	p = again
	unstable(4, 1)

	for _, c := range []struct {
		producer record.Producer
		epoch    int32
		want     error
	}{
		{record.Producer{ID: 1, Epoch: 3}, 7, ErrInvalidProducerEpoch},
		{record.Producer{ID: 1, Epoch: 5}, 7, nil},
		{record.Producer{ID: 9}, 7, nil},
	} {
		if err := p.checkMarker(marker(t, 4, c.producer, record.Marker{Commit: true, CoordinatorEpoch: c.epoch})); !errors.Is(err, c.want) {
			t.Errorf("marker of %+v: %v, want %v", c.producer, err, c.want)
		}
	}
	must(t, p.update(marker(t, 4, record.Producer{ID: 1, Epoch: 5}, record.Marker{CoordinatorEpoch: 7}), testNow))
	if err := p.checkMarker(marker(t, 5, record.Producer{ID: 1, Epoch: 5}, record.Marker{CoordinatorEpoch: 6})); !errors.Is(err, ErrCoordinatorFenced) {
		t.Errorf("marker of an older coordinator: %v", err)
	}
	unstable(4, 1) // the marker itself is not committed yet
	unstable(5, 3)
	must(t, p.update(marker(t, 5, two, record.Marker{Commit: true, CoordinatorEpoch: 1}), testNow))
	unstable(6, -1)

	// The marker's epoch is that of the next transaction, which starts its sequences again.
	if _, err := p.check(producedBatch(t, 6, record.Producer{ID: 1, Epoch: 5, Sequence: 2}, 1, true)); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Errorf("sequence 2 after a marker with a new epoch: %v", err)
	}
	if _, err := p.check(producedBatch(t, 6, record.Producer{ID: 1, Epoch: 5}, 1, true)); err != nil {
		t.Errorf("sequence 0 after a marker with a new epoch: %v", err)
	}
	want := []ProducerInfo{
		{ID: 1, Epoch: 5, LastSequence: -1, LastTimestamp: testNow.UnixMilli() + 4, CoordinatorEpoch: 7, TxnStartOffset: -1},
		{ID: 2, Epoch: 0, LastSequence: 1, LastTimestamp: testNow.UnixMilli() + 5, CoordinatorEpoch: 1, TxnStartOffset: -1},
	}
	if diff := cmp.Diff(want, p.list()); diff != "" {
		t.Error(diff)
	}
	again, err = decodeSnapshot(p.encodeSnapshot(), 6, testNow)
	must(t, err)
	if diff := cmp.Diff(want, again.list()); diff != "" {
		t.Error(diff)
	}
}

func TestProducersExpireByTheBrokersClock(t *testing.T) {
	var p producerStates
	must(t, p.update(producedBatch(t, 0, record.Producer{ID: 1}, 1, false), testNow))
	must(t, p.update(producedBatch(t, 1, record.Producer{ID: 2}, 1, false), testNow.Add(time.Minute)))
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{59 * time.Minute, 2}, {time.Hour, 1}, {61 * time.Minute, 0}} {
		p.expire(testNow.Add(c.after), time.Hour)
		if len(p.producers) != c.want {
			t.Errorf("after %v: %d producers, want %d", c.after, len(p.producers), c.want)
		}
	}
	if p.producers != nil {
		t.Error("an empty state keeps its map")
	}
	if dup, err := p.check(producedBatch(t, 2, record.Producer{ID: 1, Sequence: 77}, 1, false)); dup != nil || err != nil {
		t.Errorf("forgotten producer: %v, %v", dup, err)
	}
}

func TestSnapshotBytes(t *testing.T) {
	var p producerStates
	must(t, p.update(producedBatch(t, 10, record.Producer{ID: 0x1122334455667788, Epoch: 3, Sequence: 0}, 2, false), testNow))
	must(t, p.update(producedBatch(t, 12, record.Producer{ID: 0x1122334455667788, Epoch: 3, Sequence: 2}, 1, true), testNow))
	want := "0001" + "3e70dfe8" + "00000002" +
		"1122334455667788" + "0003" + "00000001" + "000000000000000b" + "00000001" + "0000018bcfe5680a" + "ffffffff" + "000000000000000c" +
		"1122334455667788" + "0003" + "00000002" + "000000000000000c" + "00000000" + "0000018bcfe5680c" + "ffffffff" + "000000000000000c"
	if got := hex.EncodeToString(p.encodeSnapshot()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var none producerStates
	if got := hex.EncodeToString(none.encodeSnapshot()); got != "0001"+"48674bc7"+"00000000" {
		t.Errorf("without producers: %s", got)
	}
}

func TestSnapshotFile(t *testing.T) {
	m, dir := testDir(t)
	if _, err := loadSnapshot(m, dir, 5, testNow); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	var p producerStates
	must(t, p.update(producedBatch(t, 3, record.Producer{ID: 1}, 2, false), testNow))
	must(t, vfs.WriteFileAtomic(m, snapshotPath(dir, 5), p.encodeSnapshot()))
	m = m.CrashLoseAll()
	got, err := loadSnapshot(m, dir, 5, testNow)
	must(t, err)
	if !slices.Equal(got.list(), p.list()) {
		t.Errorf("loaded %+v", got.list())
	}
	must(t, vfs.WriteFileAtomic(m, snapshotPath(dir, 4), p.encodeSnapshot())) // claims less than it holds
	if _, err := loadSnapshot(m, dir, 4, testNow); !errors.Is(err, errStateFile) {
		t.Errorf("snapshot with batches past its offset: %v", err)
	}
}

func FuzzSnapshotDecode(f *testing.F) {
	var p producerStates
	f.Add(p.encodeSnapshot())
	for i := range 7 {
		must(f, p.update(producedBatch(f, int64(i), record.Producer{ID: 7, Epoch: 1, Sequence: int32(i)}, 1, i > 5), testNow))
		f.Add(p.encodeSnapshot())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if data = slices.Clone(data); len(data) >= snapshotHeaderSize {
			fixSnapshotCRC(data)
		}
		p, err := decodeSnapshot(data, 1<<40, testNow)
		if err != nil {
			if !errors.Is(err, errStateFile) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := decodeSnapshot(p.encodeSnapshot(), 1<<40, testNow)
		if err != nil || !slices.Equal(again.list(), p.list()) {
			t.Fatalf("%v: %+v, then %+v", err, p.list(), again.list())
		}
	})
}

func BenchmarkProducerCheckAndUpdate(b *testing.B) {
	var p producerStates
	batch := producedBatch(b, 0, record.Producer{ID: 1}, 1, false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.check(batch); err != nil {
			b.Fatal(err)
		}
		if err := p.update(batch, testNow); err != nil {
			b.Fatal(err)
		}
	}
}
