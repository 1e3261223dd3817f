package groups

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Config holds the settings that an operator may change while the coordinator runs. The names in
// the comments are Kafka's. No field has a default: zero means zero. Start from DefaultConfig.
type Config struct {
	// MinSessionTimeout and MaxSessionTimeout bound what a member may ask for, both inclusive
	// (group.min.session.timeout.ms, group.max.session.timeout.ms).
	MinSessionTimeout time.Duration
	MaxSessionTimeout time.Duration
	// InitialRebalanceDelay is how long the first round of an empty group waits for more members.
	// Longer saves rounds when a fleet starts, and makes a lone consumer wait
	// (group.initial.rebalance.delay.ms).
	InitialRebalanceDelay time.Duration
	// MaxSize bounds the members of a group (group.max.size).
	MaxSize int
	// OffsetsRetention is how long offsets outlive the use of their group (offsets.retention.minutes).
	OffsetsRetention time.Duration
	// OffsetsRetentionCheckInterval is the pause between two sweeps for expired offsets
	// (offsets.retention.check.interval.ms).
	OffsetsRetentionCheckInterval time.Duration
	// OffsetMetadataMaxBytes bounds the text a client may attach to an offset (offset.metadata.max.bytes).
	OffsetMetadataMaxBytes int
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		MinSessionTimeout:             6 * time.Second,
		MaxSessionTimeout:             30 * time.Minute,
		InitialRebalanceDelay:         3 * time.Second,
		MaxSize:                       1<<31 - 1,
		OffsetsRetention:              7 * 24 * time.Hour,
		OffsetsRetentionCheckInterval: 10 * time.Minute,
		OffsetMetadataMaxBytes:        4096,
	}
}

// Options is what a Coordinator is made of. A zero field means its default, if it has one.
type Options struct {
	// Store keeps groups and offsets. Required.
	Store Store
	// TopicName resolves the id of a committed offset, for the check whether a Stable group still
	// subscribes to the topic. It must not block. Required.
	TopicName func(tenant string, id uuid.ID) (name string, ok bool)
	// Leased tells whether this broker may still count as the owner of its shards although it has not
	// looked: see Coordinator.Fetch. It is asked at every use and must not block. Default always.
	Leased func() bool
	// Config is asked at every use and must not block. Default DefaultConfig.
	Config func() Config
	// Now is the clock. Its time must pass as the runtime's timers see it. Default time.Now.
	Now func() time.Time
	// Logger gets rebalances at debug level and failures at warn level. Default none.
	Logger *slog.Logger
	// Registerer gets the metrics. Default none.
	Registerer prometheus.Registerer
	// NewMemberID makes a unique member id that starts with the prefix: the client id, or the
	// instance id of a static member. Default prefix + "-" + a random version 4 UUID.
	NewMemberID func(prefix string) string
	// SaveTimeout bounds one write to the Store on behalf of a group. While it lasts the group
	// stands still. Default 10 s.
	SaveTimeout time.Duration
	// MaxConcurrentSaves bounds the writes in flight for all groups together. More let the Store
	// merge more of them into one disk write. Default 256.
	MaxConcurrentSaves int
}

func (o *Options) validate() error {
	var errs []error
	if o.Store == nil {
		errs = append(errs, errors.New("no Store"))
	}
	if o.TopicName == nil {
		errs = append(errs, errors.New("no TopicName"))
	}
	if o.SaveTimeout < 0 {
		errs = append(errs, fmt.Errorf("SaveTimeout %v is negative", o.SaveTimeout))
	}
	if o.MaxConcurrentSaves < 0 {
		errs = append(errs, fmt.Errorf("MaxConcurrentSaves %d is negative", o.MaxConcurrentSaves))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Config == nil {
		o.Config = DefaultConfig
	}
	if o.Leased == nil {
		o.Leased = func() bool { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NewMemberID == nil {
		o.NewMemberID = randomMemberID
	}
	if o.SaveTimeout == 0 {
		o.SaveTimeout = 10 * time.Second
	}
	if o.MaxConcurrentSaves == 0 {
		o.MaxConcurrentSaves = 256
	}
}
