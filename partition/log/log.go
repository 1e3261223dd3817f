package log

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Ident names a partition. Its directory is TOPIC-P, in @TENANT for a tenant that is not the default.
type Ident struct {
	Tenant, Topic string
	Partition     int32
	TopicID       uuid.ID // a directory belongs to one topic id for ever
}

// String is the name for people.
func (id Ident) String() string {
	return fmt.Sprintf("%s-%d", checkpointTopic(id.Tenant, id.Topic), id.Partition)
}

func (id Ident) key() checkpointKey {
	return checkpointKey{checkpointTopic(id.Tenant, id.Topic), id.Partition}
}

// Log is one partition on disk. Its methods may be called from any goroutine. Offsets it returns are
// exclusive ends where they are ends.
type Log struct {
	dir  *Dir
	id   Ident
	key  checkpointKey
	path string
	cfg  atomic.Pointer[Config]

	// Read without a lock. They change under mu, start and hw excepted.
	start  atomic.Int64
	end    atomic.Int64
	synced atomic.Int64 // the batches below are on disk
	// recovery is the recovery point: what is below is on disk with its indexes, leader epochs and a
	// snapshot of the producers.
	recovery atomic.Int64
	hw       atomic.Int64
	// segments is replaced, never changed: in order, the last one active. It has at least one, unless
	// the log is quarantined.
	segments   atomic.Pointer[[]*segment]
	listener   atomic.Pointer[func()]
	quarantine atomic.Pointer[error] // why, if so
	suspect    atomic.Bool
	unstable   atomic.Bool // producers has transactions that may hold back the last stable offset

	structure sync.Mutex // one structural change at a time; held during I/O
	saving    sync.Mutex // held while the leader epochs are written, and while the directory is renamed
	// layout is held for reading while segment files are looked up and opened by name, for writing while
	// they are renamed.
	layout sync.RWMutex

	mu          sync.Mutex // guards the fields below
	closed      bool
	truncating  bool  // appends are refused
	generation  int64 // counts truncations, so that a sync that overlaps one does not count
	epochs      epochCache
	epochsDirty bool  // epochs is not saved yet
	namesDirty  int64 // counts new segment files ...
	namesSynced int64 // ... of which so many are known to be durable
	unflushed   int64 // records since the last sync (flush.messages)
	producers   producerStates
	snapshots   []int64          // offsets of the producer snapshots on disk
	pending     map[int64][]byte // snapshots taken when segments were closed, not on disk yet

	commit commitState // guarded by the committer
}

// Ident returns the log's name.
func (l *Log) Ident() Ident { return l.id }

// Path is the log's directory.
func (l *Log) Path() string { return l.path }

func (l *Log) config() *Config { return l.cfg.Load() }

// SetConfig replaces the config. Sizes of segments and indexes apply from the next segment on.
func (l *Log) SetConfig(cfg Config) {
	cfg = cfg.withDefaults()
	if old := l.cfg.Swap(&cfg); old != nil && old.FlushMode != Sync && cfg.FlushMode == Sync {
		l.dir.commits.add(l, true) // what was appended so far must become durable without a further append
	}
}

// StartOffset is the first offset of the log.
func (l *Log) StartOffset() int64 { return l.start.Load() }

// EndOffset is the offset that the next record will get: all below it was accepted by write.
func (l *Log) EndOffset() int64 { return l.end.Load() }

// DurableOffset is what this replica may count towards the high watermark (replication.md 8.1): in
// mode sync the end of what is on disk, in the other modes the end. It falls only with the end, and
// when the mode changes to sync.
func (l *Log) DurableOffset() int64 {
	if l.config().FlushMode == Sync {
		return l.synced.Load()
	}
	return l.end.Load()
}

// HighWatermark is what SetHighWatermark said last, or what the checkpoint did at open, in
// [start, end].
func (l *Log) HighWatermark() int64 { return l.hw.Load() }

// SetHighWatermark tells the log how far its records are committed. It bounds deletion and compaction
// and is written to a checkpoint every few seconds.
func (l *Log) SetHighWatermark(hw int64) {
	if l.hw.Swap(hw) != hw {
		l.dir.changed(highWatermarkFile)
	}
}

// SetListener sets the function to be called, without any lock held and from any goroutine, after
// DurableOffset or StartOffset rose or the log failed. Calls may be fewer than changes; one always
// comes after the last of them while Dir.Run runs.
func (l *Log) SetListener(f func()) { l.listener.Store(&f) }

func (l *Log) notify() {
	if f := l.listener.Load(); f != nil {
		(*f)()
	}
}

// Failed returns why the log serves no appends and acknowledges nothing, or nil: ErrQuarantined,
// ErrDirFailed.
func (l *Log) Failed() error {
	if err := l.quarantine.Load(); err != nil {
		return *err
	}
	return l.dir.Failed()
}

// Suspect tells whether recovery cut off a tail that may have been acknowledged: the log must not count
// as complete until it has caught up with its peers (replication.md 14.4).
func (l *Log) Suspect() bool { return l.suspect.Load() }

// readable returns why the log cannot be read, or nil. A failed directory can still be read.
func (l *Log) readable() error {
	if err := l.quarantine.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *Log) list() []*segment {
	if p := l.segments.Load(); p != nil {
		return *p
	}
	return nil
}

// floorIndex is the index of the segment that holds or would hold offset, or -1 if it is before all.
func floorIndex(segments []*segment, offset int64) int {
	n, found := slices.BinarySearchFunc(segments, offset, func(s *segment, at int64) int { return cmp.Compare(s.base, at) })
	if found {
		return n
	}
	return n - 1
}

// active is the segment that grows. The caller holds mu.
func (l *Log) activeLocked() *segment {
	list := l.list()
	return list[len(list)-1]
}

// setSegmentsLocked publishes a new list.
func (l *Log) setSegmentsLocked(list []*segment) { l.segments.Store(&list) }

// SegmentOffsets lists the base offsets of the segments, the first one raised to the start offset.
func (l *Log) SegmentOffsets() []int64 {
	list := l.list()
	offsets := make([]int64, len(list))
	for i, s := range list {
		offsets[i] = s.base
	}
	if len(offsets) == 0 {
		return []int64{l.StartOffset()}
	}
	offsets[0] = max(offsets[0], l.StartOffset())
	return offsets
}

// Size is the bytes of all batches in the log.
func (l *Log) Size() int64 {
	size := int64(0)
	for _, s := range l.list() {
		size += s.size.Load()
	}
	return size
}

// EpochEnd answers OffsetForLeaderEpoch: the largest known leader epoch that is not above the asked one
// and the offset at which it ends, or (-1, -1).
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.endFor(epoch, l.end.Load())
}

// EpochAt is the leader epoch in which offset was or would be written, or -1.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.epochAt(offset)
}

// LatestEpoch is the newest leader epoch the log knows, or -1.
func (l *Log) LatestEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	epoch, _, _ := l.epochs.latest()
	return epoch
}

// StartEpoch records that this replica leads in epoch from the end of the log on. It must return before
// anything is served in that epoch (replication.md 10.7). An epoch older than one that the log has
// seen is ErrStaleEpoch.
//
// It is on disk before a batch of the epoch is durable, and not sooner: writing it at once would sync a
// file for each of ten thousand partitions at every start. An epoch that is lost was one in which nothing
// was durable. A replica that has followers may not rely on that, since they may have learned of the
// epoch: it has to Sync before it answers them.
func (l *Log) StartEpoch(epoch int32) error {
	if err := l.Failed(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	latest, _, _ := l.epochs.latest()
	if epoch < latest {
		return fmt.Errorf("%w: %d, the log has %d", ErrStaleEpoch, epoch, latest)
	}
	if epoch > latest && l.epochs.assign(epoch, l.end.Load()) {
		l.epochsDirty = true
	}
	return nil
}

// ForgetEmptyEpochs drops the leader epochs in which nothing was written here: a replica that follows
// again goes by the history of its records, and the next leader may never have heard of such an epoch.
func (l *Log) ForgetEmptyEpochs() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epochs.truncateFrom(l.end.Load()) {
		l.epochsDirty = true
	}
}

// saveState makes the names in the log's directory durable if asked to, and writes the leader epochs
// unless the file has them.
func (l *Log) saveState(names bool) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	if l.closed { // the directory may be another's by now
		l.mu.Unlock()
		return nil
	}
	dirty, epochs := l.epochsDirty, l.epochs
	if dirty {
		epochs = l.epochs.clone()
	}
	l.epochsDirty = false
	l.mu.Unlock()
	if names {
		if err := l.dir.syncNames(l.path); err != nil {
			return err
		}
	}
	if !dirty {
		return nil
	}
	if err := epochs.save(l.dir.fs, l.path); err != nil {
		l.mu.Lock()
		l.epochsDirty = true
		l.mu.Unlock()
		return l.dir.stateError(err)
	}
	return nil
}

// Producers describes the idempotent producers that the log knows, by id.
func (l *Log) Producers() []ProducerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.list()
}

// FirstUnstableOffset is the first offset of the oldest transaction that is open, or whose marker is
// not below the high watermark; the end of the log if there is none.
func (l *Log) FirstUnstableOffset() int64 {
	if !l.unstable.Load() {
		return l.end.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset, ok := l.producers.firstUnstable(l.hw.Load()); ok {
		return offset
	}
	l.unstable.Store(len(l.producers.txns) > 0)
	return l.end.Load()
}
