package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Every client writes and reads the same records, so that one check serves all. The scripts in clients/ make them by the
// same rules: a key unless i ends in 9, a value unless i ends in 5, a header n, and times one second apart.
const recordCount = 100

var allCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// rec is a record as any client sees it.
type rec struct {
	offset     int64
	key, value []byte // nil and empty differ
	header     string // the value of header n; "" without one
	ts         int64  // ms since the epoch
}

func recordKey(i int) []byte {
	if i%10 == 9 {
		return nil
	}
	return fmt.Appendf(nil, "key-%d", i)
}

func recordValue(i int) []byte {
	if i%10 == 5 {
		return nil
	}
	return fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("abc", i))
}

func record(i int, t0 int64) rec {
	return rec{offset: int64(i), key: recordKey(i), value: recordValue(i), header: strconv.Itoa(i), ts: t0 + int64(i)*1000}
}

// recordSet is what a client is asked to write.
func recordSet(t0 int64) []rec {
	set := make([]rec, recordCount)
	for i := range set {
		set[i] = record(i, t0)
	}
	return set
}

// fidelity says what of a record a client can carry.
type fidelity struct {
	noHeaders, constHeader bool // constHeader: the same header for all, "all"
	ownTime                bool // it cannot choose a record's time
	legacy                 bool // it writes magic 0 or 1, which the broker converts and may store under another codec
}

// checkRecords compares records with recordSet from index first on.
func checkRecords(got []rec, first int, t0 int64, f fidelity) error {
	for i, r := range got {
		want := record(first+i, t0)
		switch {
		case f.noHeaders:
			want.header = ""
		case f.constHeader:
			want.header = "all"
		}
		if f.ownTime {
			want.ts = r.ts
		}
		if r.offset != want.offset || !equalNil(r.key, want.key) || !equalNil(r.value, want.value) ||
			r.header != want.header || r.ts != want.ts {
			return fmt.Errorf("record %d is %+v, want %+v", first+i, r, want)
		}
	}
	return nil
}

func equalNil(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// stored is what lies in partition 0 of a topic, as franz-go reads it, with the codec of each record's batch.
func stored(ctx context.Context, addr, topic string, n int) (recs []rec, codecs map[string]int, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {0: kgo.NewOffset().AtStart()},
	}))
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	codecs = map[string]int{}
	for len(recs) < n {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return recs, codecs, fmt.Errorf("reading back %s, %d records of %d: %w", topic, len(recs), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			recs = append(recs, fromKgo(r))
			codecs[allCodecs[r.Attrs.CompressionType()]]++
		})
	}
	return recs, codecs, nil
}

func fromKgo(r *kgo.Record) rec {
	out := rec{offset: r.Offset, key: r.Key, value: r.Value, ts: r.Timestamp.UnixMilli()}
	for _, h := range r.Headers {
		if h.Key == "n" {
			out.header = string(h.Value)
		}
	}
	return out
}

// verifyStored proves what a client's produce left behind: every record, whole, and compressed as it was asked to be.
// A client that dislikes the broker's versions may fall back to writing uncompressed without a word.
func verifyStored(ctx context.Context, addr, topic, codec string, t0 int64, f fidelity) error {
	recs, codecs, err := stored(ctx, addr, topic, recordCount)
	if err != nil {
		return err
	}
	if len(recs) != recordCount {
		return fmt.Errorf("%s holds %d records, want %d", topic, len(recs), recordCount)
	}
	if err := checkRecords(recs, 0, t0, f); err != nil {
		return fmt.Errorf("in %s: %w", topic, err)
	}
	if !f.legacy && codecs[codec] != recordCount {
		return fmt.Errorf("%s was to be written as %s and holds %v", topic, codec, codecs)
	}
	return nil
}

// writeFixtures fills FIXTURE-CODEC with recordSet for every codec: what the clients read that they did not write.
func writeFixtures(t *testing.T, e env) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := newFranz(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	for _, codec := range allCodecs {
		topic := e.fixture + "-" + codec
		if err := cl.create(ctx, topic, 1, e.replicas, nil); err != nil {
			t.Fatalf("creating fixture %s: %v", topic, err)
		}
		if err := cl.produce(ctx, topic, codec, recordSet(e.t0)); err != nil {
			t.Fatalf("filling fixture %s: %v", topic, err)
		}
	}
}
