package cluster

import (
	"slices"

	"github.com/chronik-stream/chronik/raftmeta"
)

// audits compares the fingerprints that brokers report of their metadata at equal log indexes
// (replication.md 4.2, I20).
type audits struct {
	byIndex map[uint64]map[int32]raftmeta.Hash
	indexes []uint64 // in the order they came
}

// auditsKept bounds the indexes that are remembered. Brokers lag each other by less.
const auditsKept = 16

func newAudits() *audits { return &audits{byIndex: map[uint64]map[int32]raftmeta.Hash{}} }

// note takes one broker's fingerprint. It returns the brokers that differ from what more than half of all
// brokers report for that index; with no such majority, differ says that some disagree all the same.
func (a *audits) note(broker int32, audit raftmeta.Audit, brokers int) (minority []int32, differ bool) {
	reports := a.byIndex[audit.Index]
	if reports == nil {
		if len(a.indexes) == auditsKept {
			delete(a.byIndex, a.indexes[0])
			a.indexes = a.indexes[1:]
		}
		reports = map[int32]raftmeta.Hash{}
		a.byIndex[audit.Index] = reports
		a.indexes = append(a.indexes, audit.Index)
	}
	reports[broker] = audit.Hash
	count := map[raftmeta.Hash]int{}
	for _, hash := range reports {
		count[hash]++
	}
	if len(count) == 1 {
		return nil, false
	}
	for hash, n := range count {
		if 2*n <= brokers {
			continue
		}
		for id, other := range reports {
			if other != hash {
				minority = append(minority, id)
			}
		}
		slices.Sort(minority)
	}
	return minority, true
}
