package log

import "time"

// FlushMode says when appended bytes are synced (replication.md 14.2).
type FlushMode uint8

// The flush modes.
const (
	Sync     FlushMode = iota // before they count as durable, by group commit
	Interval                  // in the background, after FlushInterval or FlushMessages
	OS                        // when a segment is closed, and at a clean stop
)

// Config is what a log acts on, by Kafka's topic configs. It is a value: a change replaces it whole, by
// SetConfig. A zero field means its default, unless it says otherwise.
type Config struct {
	// SegmentBytes closes a segment before an append would take it past this size. Smaller segments make
	// retention finer and recovery shorter, and cost files. Default 1 GiB, at most 2 GiB - 1.
	SegmentBytes int64
	// SegmentMs closes a segment whose first record is this much older than the next. Default 7 days.
	//
	//lint:ignore ST1011 the name is that of Kafka's segment.ms
	SegmentMs time.Duration
	// SegmentJitter shortens SegmentMs by up to this much, differently for each segment, so that the
	// segments of many partitions are not closed at once. 0 is none.
	SegmentJitter time.Duration
	// IndexIntervalBytes is how many bytes of log lie between two index entries at least. Default 4096.
	IndexIntervalBytes int64
	// SegmentIndexBytes bounds each index; a segment whose index is full is closed. Default 10 MiB.
	SegmentIndexBytes int64

	// Delete lets segments go by age and size; without it only what lies below the start offset goes.
	Delete bool
	// Retention is how old the newest record of a segment may be; negative: forever. Not defaulted.
	Retention time.Duration
	// RetentionBytes is how large the log may be; negative: no limit. Not defaulted.
	RetentionBytes int64

	// Compact keeps of all records with one key the newest (cleaner).
	Compact           bool
	MinCompactionLag  time.Duration // records younger than this stay as they are
	MaxCompactionLag  time.Duration // records older than this are compacted; 0: no bound
	DeleteRetention   time.Duration // how long tombstones stay
	MinCleanableRatio float64       // dirty share of the log from which it is compacted; default 0.5

	FlushMode     FlushMode
	FlushMessages int64         // Interval: sync after so many records; 0: never for that reason
	FlushInterval time.Duration // Interval: sync this long after an append at the latest; default 1 s

	// Preallocate reserves the space of a segment when it is created, so that a full disk shows there.
	Preallocate bool
	// FileDeleteDelay is how long removed files stay, renamed, for readers that are at them. Default 1 min.
	FileDeleteDelay time.Duration
	// MaxMessageBytes is for the cleaner's buffers: the largest batch expected. Default 1 MiB.
	MaxMessageBytes int64
	// ProducerExpiration forgets idempotent producers that are silent for so long. Default 1 day.
	ProducerExpiration time.Duration
}

const maxSegmentBytes = 1<<31 - 1

func (c Config) withDefaults() Config {
	orDefault(&c.SegmentBytes, 1<<30)
	c.SegmentBytes = min(c.SegmentBytes, maxSegmentBytes)
	orDefault(&c.SegmentMs, 7*24*time.Hour)
	orDefault(&c.IndexIntervalBytes, 4096)
	orDefault(&c.SegmentIndexBytes, 10<<20)
	orDefault(&c.MinCleanableRatio, 0.5)
	orDefault(&c.FlushInterval, time.Second)
	orDefault(&c.FileDeleteDelay, time.Minute)
	orDefault(&c.MaxMessageBytes, 1<<20)
	orDefault(&c.ProducerExpiration, 24*time.Hour)
	return c
}

// orDefault gives v its default unless it is positive.
func orDefault[T int | int64 | float64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
