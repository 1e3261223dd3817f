package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/bench/host"
)

// report is a whole run.
type report struct {
	seed    uint64
	command string
	machine host.Machine
	load    load
	rows    []row
	facts   []fact // of the mode partitions
}

// row is what one producer saw of one fault, or a part of where the time went.
type row struct {
	mode, what string
	values     []time.Duration
}

// fact is a figure that was measured once.
type fact struct{ name, value string }

func (r *report) add(mode string, samples []sample) {
	collect := func(what string, of func(s sample) (time.Duration, bool)) {
		var values []time.Duration
		for _, s := range samples {
			if v, ok := of(s); ok {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			r.rows = append(r.rows, row{mode, what, values})
		}
	}
	for _, name := range []string{"stock", "quick"} {
		collect("gap, "+name+" producer", func(s sample) (time.Duration, bool) { v, ok := s.gaps[name]; return v, ok })
	}
	collect("fault to new controller", func(s sample) (time.Duration, bool) { return s.elected, s.elected > 0 })
	collect("fault to new leader committed", func(s sample) (time.Duration, bool) { return s.decided, s.decided > 0 })
	if faults[mode].whole {
		return
	}
	collect("gap while the node comes back", func(s sample) (time.Duration, bool) { v, ok := s.healing["quick"]; return v, ok })
}

func (r *report) write(w io.Writer) error {
	var b strings.Builder
	if len(r.rows) > 0 {
		b.WriteString("| fault | what | samples | p50 ms | p90 ms | p99 ms | max ms |\n| --- | --- | --: | --: | --: | --: | --: |\n")
	}
	for _, row := range r.rows {
		slices.Sort(row.values)
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d |\n", row.mode, row.what, len(row.values),
			percentile(row.values, 50), percentile(row.values, 90), percentile(row.values, 99), percentile(row.values, 100))
	}
	if len(r.facts) > 0 {
		b.WriteString("\n| figure | value |\n| --- | --: |\n")
	}
	for _, f := range r.facts {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.value)
	}
	fmt.Fprintf(&b, "\n%s. `%s`, seed %d. The machine was %.0f %% busy, by all that ran on it.\n", r.machine, r.command, r.seed, 100*r.load.busy())
	_, err := io.WriteString(w, b.String())
	return err
}

// percentile is in milliseconds, the smallest value that p percent do not exceed.
func percentile(sorted []time.Duration, p int) int64 {
	i := (len(sorted)*p + 99) / 100
	return sorted[max(i, 1)-1].Milliseconds()
}

// load is how much of the machine was in use up to a moment, or between two.
type load struct {
	at   time.Time
	span time.Duration
	used time.Duration
}

func readLoad() (load, error) {
	used, err := host.MachineCPU()
	return load{at: time.Now(), used: used}, err
}

func (l load) since(before load) load {
	return load{at: l.at, span: l.at.Sub(before.at), used: l.used - before.used}
}

func (l load) busy() float64 {
	if l.span <= 0 {
		return 0
	}
	return l.used.Seconds() / (l.span.Seconds() * float64(runtime.NumCPU()))
}
