package broker

import (
	"math"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/partition/log"
)

func TestFlushing(t *testing.T) {
	const never = math.MaxInt64
	for _, c := range []struct {
		mode     string
		messages int64
		ms       time.Duration
		want     log.FlushMode
		count    int64
		interval time.Duration
	}{
		{config.FlushSync, never, never, log.Sync, 0, never},
		{config.FlushOS, never, never, log.OS, 0, never},
		{config.FlushOS, never, time.Second, log.Interval, 0, time.Second},
		{config.FlushOS, 100, never, log.Interval, 100, never},
		{config.FlushOS, 1, never, log.Sync, 1, never}, // Kafka's way to say sync
		{config.FlushInterval, never, never, log.Interval, 0, time.Second},
		{config.FlushInterval, 100, never, log.Interval, 100, never},
	} {
		mode, count, interval := flushing(&config.TopicConfig{FlushMode: c.mode, FlushMessages: c.messages, FlushMs: c.ms})
		if mode != c.want || count != c.count || interval != c.interval {
			t.Errorf("flush.mode=%s flush.messages=%d flush.ms=%v: %v, %d, %v", c.mode, c.messages, c.ms, mode, count, interval)
		}
	}
}
