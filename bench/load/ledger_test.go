package load

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whoever gets which offset, and in whatever order: complete ledgers add up.
func TestLedgerOfACorrectBroker(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := rapid.IntRange(1, 200).Draw(rt, "records per batch")
		counts := rapid.SliceOfN(rapid.IntRange(0, 200), 1, 4).Draw(rt, "batches of each partition")
		conns := rapid.IntRange(1, 4).Draw(rt, "connections")
		ledgers := make([]*Ledger, conns)
		for i := range ledgers {
			ledgers[i] = NewLedger(len(counts), records)
		}
		want := make([]int64, len(counts))
		for p, n := range counts {
			want[p] = int64(n * records)
			for i := range rapid.Permutation(batchNumbers(n)).Draw(rt, "order") {
				conn := rapid.IntRange(0, conns-1).Draw(rt, "connection")
				if err := ledgers[conn].Acked(p, int64(i*records)); err != nil {
					rt.Fatal(err)
				}
			}
		}
		ends, err := mergeAll(ledgers, len(counts), records)
		if err != nil || !slices.Equal(ends, want) {
			rt.Fatalf("ends %v, %v; want %v", ends, err, want)
		}
	})
}

// One acknowledgement lost, moved or given twice is found out, at the latest when all are merged.
func TestLedgerFindsTheFault(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := rapid.IntRange(2, 200).Draw(rt, "records per batch")
		n := rapid.IntRange(2, 300).Draw(rt, "batches")
		victim := rapid.IntRange(0, n-1).Draw(rt, "victim")
		kind := rapid.SampledFrom([]string{"lost", "twice", "moved", "uneven", "negative"}).Draw(rt, "fault")
		ledgers := []*Ledger{NewLedger(1, records), NewLedger(1, records)}
		var errs []error
		ack := func(conn int, base int64) { errs = append(errs, ledgers[conn].Acked(0, base)) }
		for i := range n {
			base, conn := int64(i*records), rapid.IntRange(0, 1).Draw(rt, "connection")
			switch {
			case i != victim:
				ack(conn, base)
			case kind == "lost" && victim < n-1: // the last one lost is a shorter log, which end offsets tell
			case kind == "twice":
				ack(conn, base)
				ack(rapid.IntRange(0, 1).Draw(rt, "again on"), base)
			case kind == "uneven":
				ack(conn, base+1)
			case kind == "negative":
				ack(conn, -base-int64(records))
			default: // moved past the end
				ack(conn, base+int64(n*records))
			}
		}
		_, err := mergeAll(ledgers, 1, records)
		if err := errors.Join(append(errs, err)...); !errors.Is(err, ErrLedger) {
			rt.Fatalf("%s at batch %d of %d: %v", kind, victim, n, err)
		}
	})
}

func mergeAll(ledgers []*Ledger, partitions, records int) ([]int64, error) {
	all := NewLedger(partitions, records)
	for _, l := range ledgers {
		if err := all.Merge(l); err != nil {
			return nil, err
		}
	}
	return all.Ends()
}

func batchNumbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestPlacesAreBatchesOfThePartition(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := rapid.Int64Range(1, 200).Draw(rt, "records")
		end := records * rapid.Int64Range(0, 1000).Draw(rt, "batches")
		start := rapid.Int64Range(0, end).Draw(rt, "start")
		places := rapid.IntRange(1, 10).Draw(rt, "places")
		for i := range places {
			at := placeAt(start, end, records, i, places)
			if whole := end-start >= 2*records; (at != end || whole) && (at%records != 0 || at < start || at+records > end) {
				rt.Fatalf("place %d of %d in [%d, %d) is %d", i, places, start, end, at)
			}
		}
	})
}
