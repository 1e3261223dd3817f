package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/bench/load"
)

// experiment is a case of a workload: it runs on a target that was made for it and not yet started.
type experiment interface {
	run(context.Context, *lab, Target, *workload) ([]Row, error)
}

// catalogue lists all experiments in the order in which they run.
func catalogue() []workload {
	var all []workload
	add := func(id string, quick bool, name string, e experiment, modes ...flushMode) {
		for _, mode := range modes {
			all = append(all, workload{ID: id, Case: name, Flush: mode, Quick: quick, Owned: strings.HasPrefix(id, "R"), run: e.run})
		}
	}
	for _, size := range []int{100, 1024} {
		for _, acks := range []int16{1, -1} {
			// In os mode an ack of the only replica costs nothing more, so --quick has one of the two.
			p := produceCase{valueBytes: size, batchBytes: 16 << 10, acks: acks, partitions: 12, connections: 4, inFlight: 5}
			name := fmt.Sprintf("%d B, 16 KiB batches, 12 partitions, acks=%s", size, ackName(acks))
			add("P1", acks == 1, name, p, flushOS)
			add("P1", acks == -1, name, p, flushSync)
		}
	}
	for _, acks := range []int16{1, -1} {
		p := produceCase{valueBytes: 100, acks: acks, partitions: 12, connections: 4, inFlight: 5}
		name := fmt.Sprintf("100 B, one record per request, 12 partitions, acks=%s", ackName(acks))
		add("P2", true, name, p, map[int16]flushMode{1: flushOS, -1: flushSync}[acks])
	}
	for _, codec := range []load.Codec{load.LZ4, load.Zstd} {
		p := produceCase{valueBytes: 100, batchBytes: 1 << 20, codec: codec, acks: 1, partitions: 12, connections: 4, inFlight: 5}
		add("P3", false, fmt.Sprintf("100 B, 1 MiB batches in %s, 12 partitions, acks=1", codec), p, flushOS)
	}
	add("C1", true, "catch up, warm, 1 consumer", catchUpCase{consumers: 1}, flushOS)
	add("C1", false, "catch up, warm, 8 consumers", catchUpCase{consumers: 8}, flushOS)
	for _, rate := range []int{10_000, 50_000} {
		e := endToEndCase{rate: rate, perBatch: 10, valueBytes: 100}
		name := fmt.Sprintf("end to end, %dk msg/s in batches of 10, acks=all", rate/1000)
		add("L1", rate == 10_000, name, e, flushOS)
		add("L1", rate == 10_000, name, e, flushSync)
	}
	add("R1", true, "start on an empty directory", emptyStartCase{times: 5}, flushSync)
	add("R1", true, "start after kill -9", killedStartCase{times: 3}, flushOS)
	add("N1", true, "1,000 idle connections", idleCase{connections: 1000}, flushSync)
	return all
}

func ackName(acks int16) string {
	if acks == -1 {
		return "all"
	}
	return fmt.Sprint(acks)
}

// choose narrows the catalogue down to what the options ask for.
func choose(o options) ([]workload, error) {
	all := catalogue()
	var ids []string
	for _, w := range all {
		ids = append(ids, w.ID)
	}
	for _, id := range o.Only {
		if !slices.Contains(ids, id) {
			return nil, fmt.Errorf("--only: there is no workload %q, only %s", id, strings.Join(slices.Compact(ids), ", "))
		}
	}
	kept := slices.DeleteFunc(all, func(w workload) bool {
		switch {
		case len(o.Only) > 0 && !slices.Contains(o.Only, w.ID),
			len(o.Only) == 0 && o.Quick && !w.Quick,
			len(o.Modes) > 0 && o.Broker == "" && !slices.Contains(o.Modes, w.Flush),
			o.Broker != "" && w.Owned:
			return true
		}
		return false
	})
	if o.Broker != "" {
		kept = withoutModes(kept)
	}
	return kept, nil
}

// withoutModes is what is left for a broker whose mode bench does not choose: each case once.
func withoutModes(list []workload) []workload {
	var once []workload
	for _, w := range list {
		w.Flush = flushAsIs
		if !slices.ContainsFunc(once, func(o workload) bool { return o.ID == w.ID && o.Case == w.Case }) {
			once = append(once, w)
		}
	}
	return once
}
