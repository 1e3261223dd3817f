package chaos

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run did and found.
type Report struct {
	Seed       uint64
	Violations []Violation

	bitten int
	kinds  map[string]*kindReport
	totals struct{ sent, acked, refused, unknown, reads, commits, admin int }
}

// kindReport is one line of the table.
type kindReport struct {
	tried, bit int
	wholeIn    time.Duration // the longest from the healing of the fault until the cluster was whole
	waited     time.Duration // the longest that an idempotent producer waited for an answer
}

func newReport(seed uint64) *Report { return &Report{Seed: seed, kinds: map[string]*kindReport{}} }

// add enters a cycle; toothless is why it does not count.
func (r *Report) add(f *Fault, toothless error, wholeIn, waited time.Duration) {
	if r.kinds[f.Name] == nil {
		r.kinds[f.Name] = &kindReport{}
	}
	k := r.kinds[f.Name]
	k.tried++
	if toothless != nil {
		return
	}
	k.bit++
	r.bitten++
	k.wholeIn, k.waited = max(k.wholeIn, wholeIn), max(k.waited, waited)
}

// count adds up what the load of a round did.
func (r *Report) count(h *History) {
	for _, s := range h.Streams {
		for _, a := range s.Attempts {
			r.totals.sent++
			switch a.Outcome {
			case Acked:
				r.totals.acked++
			case Refused:
				r.totals.refused++
			default:
				r.totals.unknown++
			}
		}
	}
	for _, reads := range h.Reads {
		r.totals.reads += len(reads)
	}
	for _, commits := range h.Commits {
		r.totals.commits += len(commits)
	}
	r.totals.admin += len(h.Admin)
}

// Bitten counts the cycles whose fault bit.
func (r *Report) Bitten() int { return r.bitten }

// Missing are the kinds of which no fault bit.
func (r *Report) Missing(kinds []FaultKind) []string {
	var missing []string
	for _, k := range kinds {
		if r.kinds[k.Name] == nil || r.kinds[k.Name].bit == 0 {
			missing = append(missing, k.Name)
		}
	}
	return missing
}

// String is the table of the run. Violations tell of themselves.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d cycles bit\n", r.Seed, r.bitten)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "fault\tapplied\tbit\twhole again after, at most\ta producer waited, at most")
	var names []string
	for name := range r.kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k := r.kinds[name]
		fmt.Fprintf(t, "%s\t%d\t%d\t%v\t%v\n", name, k.tried, k.bit, ms(k.wholeIn), ms(k.waited))
	}
	_ = t.Flush() // into memory
	n := r.totals
	fmt.Fprintf(&b, "records: %d sent, %d acknowledged, %d refused, %d without a clear answer; %d reads, %d commits, %d admin operations\n",
		n.sent, n.acked, n.refused, n.unknown, n.reads, n.commits, n.admin)
	return b.String()
}
