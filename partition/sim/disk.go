package sim

import (
	"slices"

	"github.com/chronik-stream/chronik/partition/core"
)

// record is one batch of one record. Its value is what producer and seq say.
type record struct {
	epoch    int32
	producer int32 // noProducer in the gap before a log that began anew
	seq      int32
}

const noProducer int32 = -1

// epochStart says that the leader of epoch wrote its first record at start or later.
type epochStart struct {
	epoch int32
	start int64
}

// diskLog is a replica's log with what is on disk of it. It does what partition/log does, in the same
// order; the offset of a record is its index.
type diskLog struct {
	syncMode    bool
	records     []record
	start       int64
	durable     int64 // records below it survive a loss of power
	epochs      []epochStart
	savedEpochs []epochStart // on disk
	checkpoint  int64        // of the high watermark, on disk
	sequences   map[int32]*sequences
	syncing     bool
	cuts        int // truncations: a sync from before one says nothing about what came after
}

// sequences is what a log remembers of an idempotent producer: its last batches (replication.md 16).
type sequences struct{ seen []seen }

type seen struct {
	seq    int32
	offset int64
}

const rememberedBatches = 5

func newDiskLog(syncMode bool) *diskLog {
	return &diskLog{syncMode: syncMode, sequences: map[int32]*sequences{}}
}

var _ core.Log = (*diskLog)(nil)

func (l *diskLog) StartOffset() int64 { return l.start }
func (l *diskLog) EndOffset() int64   { return int64(len(l.records)) }

func (l *diskLog) DurableOffset() int64 {
	if l.syncMode {
		return l.durable
	}
	return l.EndOffset()
}

func (l *diskLog) LatestEpoch() int32 {
	if len(l.epochs) == 0 {
		return -1
	}
	return l.epochs[len(l.epochs)-1].epoch
}

func (l *diskLog) EpochEnd(epoch int32) (int32, int64) {
	if len(l.epochs) == 0 || epoch < 0 {
		return -1, -1
	}
	n := 0
	for n < len(l.epochs) && l.epochs[n].epoch <= epoch {
		n++
	}
	switch {
	case n == 0:
		return epoch, l.epochs[0].start
	case n == len(l.epochs):
		return l.epochs[n-1].epoch, l.EndOffset()
	}
	return l.epochs[n-1].epoch, l.epochs[n].start
}

func (l *diskLog) epochAt(offset int64) int32 {
	at := int32(-1)
	for _, e := range l.epochs {
		if e.start <= offset {
			at = e.epoch
		}
	}
	return at
}

func (l *diskLog) assignEpoch(epoch int32, start int64) {
	if n := len(l.epochs); n > 0 && l.epochs[n-1].epoch == epoch && l.epochs[n-1].start <= start {
		return
	}
	keep := len(l.epochs)
	for keep > 0 && (l.epochs[keep-1].epoch >= epoch || l.epochs[keep-1].start >= start) {
		keep--
	}
	l.epochs = append(l.epochs[:keep:keep], epochStart{epoch, start})
}

func (l *diskLog) truncateEpochs(end int64) {
	for len(l.epochs) > 0 && l.epochs[len(l.epochs)-1].start >= end {
		l.epochs = l.epochs[:len(l.epochs)-1]
	}
}

// startEpoch notes that this replica leads from here on, and syncs: it has followers.
func (l *diskLog) startEpoch(epoch int32) {
	if epoch > l.LatestEpoch() {
		l.assignEpoch(epoch, l.EndOffset())
	}
	l.sync(l.EndOffset())
}

func (l *diskLog) forgetEmptyEpochs() { l.truncateEpochs(l.EndOffset()) }

// sync makes what is below end durable, and the epochs with it.
func (l *diskLog) sync(end int64) {
	l.durable = max(l.durable, min(end, l.EndOffset()))
	l.savedEpochs = slices.Clone(l.epochs)
}

// append adds records as they are.
func (l *diskLog) append(records ...record) {
	for _, r := range records {
		offset := l.EndOffset()
		l.assignEpoch(r.epoch, offset)
		l.records = append(l.records, r)
		l.remember(r, offset)
	}
}

func (l *diskLog) remember(r record, offset int64) {
	if r.producer < firstIdempotent {
		return
	}
	s := l.sequences[r.producer]
	if s == nil {
		s = &sequences{}
		l.sequences[r.producer] = s
	}
	s.seen = append(s.seen, seen{r.seq, offset})
	if len(s.seen) > rememberedBatches {
		s.seen = s.seen[1:]
	}
}

// checkSequence finds out whether a producer's batch is the next one, or a duplicate and of which offset.
func (l *diskLog) checkSequence(producer, seq int32) (duplicate int64, inOrder bool) {
	s := l.sequences[producer]
	if s == nil || producer < firstIdempotent {
		return -1, true
	}
	for _, old := range s.seen {
		if old.seq == seq {
			return old.offset, true
		}
	}
	return -1, s.seen[len(s.seen)-1].seq+1 == seq
}

// truncate removes the records from end on, durably.
func (l *diskLog) truncate(end int64) {
	if end >= l.EndOffset() {
		return
	}
	l.cuts++
	l.records = l.records[:end]
	l.truncateEpochs(end)
	l.rememberAnew()
	l.durable = end
	l.savedEpochs = slices.Clone(l.epochs)
	l.checkpoint = min(l.checkpoint, end)
}

func (l *diskLog) rememberAnew() {
	clear(l.sequences)
	for offset, r := range l.records {
		l.remember(r, int64(offset))
	}
}

// reset empties the log, which goes on at start.
func (l *diskLog) reset(start int64) {
	l.records = slices.Repeat([]record{{epoch: -1, producer: noProducer}}, int(start))
	l.cuts++
	l.start, l.durable, l.checkpoint = start, start, start
	l.epochs, l.savedEpochs = nil, nil
	clear(l.sequences)
}

// deleteBefore raises the start, durably.
func (l *diskLog) deleteBefore(start int64) {
	if start <= l.start {
		return
	}
	l.start = start
	l.trimEpochs()
}

// trimEpochs forgets the epochs that ended before the log's start.
func (l *diskLog) trimEpochs() {
	covering := -1
	for i, e := range l.epochs {
		if e.start <= l.start {
			covering = i
		}
	}
	if covering >= 0 {
		l.epochs = slices.Clone(l.epochs[covering:])
		l.epochs[0].start = l.start
	}
}

// recover is what the next start finds when the records from keep on are gone (replication.md 14.4). It
// reports whether the log shows a loss by itself.
func (l *diskLog) recover(keep int64) (suspect bool) {
	l.records = l.records[:keep]
	if l.start > keep {
		l.reset(l.start)
	}
	l.epochs = slices.Clone(l.savedEpochs)
	l.truncateEpochs(l.EndOffset() + 1)
	l.believeRecords()
	l.trimEpochs()
	l.rememberAnew()
	suspect = l.checkpoint > l.EndOffset()
	l.syncing = false
	l.sync(l.EndOffset())
	return suspect
}

// believeRecords brings the epochs that were saved in line with the records: a later epoch cannot have
// begun before a record of an earlier one.
func (l *diskLog) believeRecords() {
	last := int32(-1)
	for offset := l.start; offset < l.EndOffset(); offset++ {
		e := l.records[offset].epoch
		l.epochs = slices.DeleteFunc(l.epochs, func(s epochStart) bool { return s.epoch > e && s.start <= offset })
		if e > last {
			last = e
			if l.epochAt(offset) != e {
				l.assignEpoch(e, offset)
			}
		}
	}
}

// highWatermark is what a start goes by.
func (l *diskLog) highWatermark() int64 { return min(max(l.checkpoint, l.start), l.EndOffset()) }
