package integration

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLedgerSeesFaults hands the auditor logs with one fault each: a checker that finds nothing must not be one that looks
// at nothing.
func TestLedgerSeesFaults(t *testing.T) {
	// Writer 0 sent 0, 1, 2 and has acknowledgements for 0 at offset 0 and 1 at offset 1.
	record := func(offset int64, value string) *kgo.Record { return &kgo.Record{Offset: offset, Value: []byte(value)} }
	for name, c := range map[string]struct {
		log   []*kgo.Record
		fault string
	}{
		"whole":         {[]*kgo.Record{record(0, "0/0/"), record(1, "0/1/"), record(2, "0/2/")}, ""},
		"unacked lost":  {[]*kgo.Record{record(0, "0/0/"), record(1, "0/1/")}, ""},
		"acked lost":    {[]*kgo.Record{record(0, "0/0/")}, "is not there"},
		"twice":         {[]*kgo.Record{record(0, "0/0/"), record(1, "0/1/"), record(2, "0/1/")}, "for the second time"},
		"moved":         {[]*kgo.Record{record(0, "0/1/")}, "acknowledged at offset 1"},
		"out of order":  {[]*kgo.Record{record(0, "0/0/"), record(1, "0/1/"), record(2, "0/2/"), record(3, "0/0/")}, "for the second time"},
		"late":          {[]*kgo.Record{record(0, "0/2/"), record(1, "0/1/")}, "after 0/2"},
		"never sent":    {[]*kgo.Record{record(0, "0/7/")}, "never sent"},
		"nobody's":      {[]*kgo.Record{record(0, "junk")}, "nobody sent"},
		"a gap":         {[]*kgo.Record{record(0, "0/0/"), record(2, "0/1/")}, "follows offset"},
		"not from zero": {[]*kgo.Record{record(1, "0/1/")}, "follows offset"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger("topic", 1)
			for range 3 {
				l.attempt(0, 0)
			}
			l.settle(0, attempt{0, 0}, 0, nil)
			l.settle(0, attempt{0, 1}, 1, nil)
			a := newAuditor(l, "")
			var err error
			for _, r := range c.log {
				if err = a.record(r); err != nil {
					break
				}
			}
			if err == nil {
				err = a.missing(a.l.snapshot())
			}
			switch {
			case c.fault == "" && err != nil:
				t.Errorf("found %v where there is nothing", err)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("found %v, want %q", err, c.fault)
			}
		})
	}
}

// TestOffsetLedgerSeesFaults does the same for the offsets of a group: commits up to 20 were acknowledged, up to 30 tried.
func TestOffsetLedgerSeesFaults(t *testing.T) {
	for found, good := range map[int64]bool{19: false, 20: true, 25: true, 30: true, 31: false, 0: false} {
		o := newOffsetLedger("topic", 1)
		o.parts[0] = partitionOffsets{acked: 20, tried: 30}
		if err := o.judge(append([]partitionOffsets(nil), o.parts...), []int64{found}); (err == nil) != good {
			t.Errorf("a committed offset of %d: %v", found, err)
		}
	}
	for name, c := range map[string]struct {
		offsets []int64
		good    bool
	}{
		"from the commit on":    {[]int64{20, 21, 22}, true},
		"from an unacked one":   {[]int64{30, 31}, true},
		"behind the commit":     {[]int64{19, 20}, false},
		"past all commits":      {[]int64{31}, false},
		"with a gap":            {[]int64{20, 22}, false},
		"the same record again": {[]int64{20, 20}, false},
	} {
		o := newOffsetLedger("topic", 1)
		o.parts[0] = partitionOffsets{acked: 20, tried: 30}
		var records []*kgo.Record
		for _, at := range c.offsets {
			records = append(records, &kgo.Record{Topic: "topic", Offset: at})
		}
		fetches := kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "topic", Partitions: []kgo.FetchPartition{{Records: records}}}}}}
		if err := o.follow(fetches, map[int32]int64{0: -1}, map[int32]int64{0: 20}); (err == nil) != c.good {
			t.Errorf("a reader that is given records %s: %v", name, err)
		}
	}
}
