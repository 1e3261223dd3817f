package exec

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func sortedTerms(m map[fieldTerm]uint64) []fieldTerm {
	return slices.SortedFunc(maps.Keys(m), func(a, b fieldTerm) int {
		return cmp.Or(cmp.Compare(a.field, b.field), cmp.Compare(a.term, b.term))
	})
}

func appendStates(dst []byte, aggs []dsl.NamedAgg, states []*state) []byte {
	for i, a := range aggs {
		dst = appendState(dst, a, states[i])
	}
	return dst
}

func appendKinds(dst []byte, kinds []shown) []byte {
	for _, k := range kinds {
		dst = appendKinds(append(dst, byte(k.kind)), k.inside)
	}
	return dst
}

func (r *reader) kinds(kinds []shown) {
	for i := range kinds {
		kinds[i].kind = schema.Kind(r.byte())
		r.kinds(kinds[i].inside)
	}
}

// appendState writes what an aggregation has:
//
//	figures      count sum min max
//	cardinality  0 and hashes in order, or 1 and registers
//	percentiles  min max, clusters as mean and weight
//	buckets      other missed unsure, then per bucket key docs missed and the states inside
func appendState(dst []byte, named dsl.NamedAgg, s *state) []byte {
	switch {
	case s.sketch != nil:
		return appendSketch(dst, s.sketch)
	case s.digest != nil:
		return appendDigest(dst, s.digest)
	case s.buckets == nil:
		dst = binary.AppendVarint(dst, s.figures.count)
		return appendFloat(appendFloat(appendFloat(dst, s.figures.sum), s.figures.min), s.figures.max)
	}
	dst = binary.AppendVarint(dst, s.other)
	dst = binary.AppendVarint(dst, s.missed)
	dst = append(dst, byte(oneIf(s.unsure)))
	dst = binary.AppendUvarint(dst, uint64(len(s.buckets)))
	for _, key := range sortedKeys(s.buckets) {
		b := s.buckets[key]
		dst = appendString(dst, key)
		dst = binary.AppendVarint(dst, b.docs)
		dst = binary.AppendVarint(dst, b.missed)
		dst = appendStates(dst, named.Aggs, b.subs)
	}
	return dst
}

func appendSketch(dst []byte, s *sketch) []byte {
	if s.hashes == nil {
		return append(append(dst, 1), s.registers...)
	}
	dst = binary.AppendUvarint(append(dst, 0), uint64(len(s.hashes)))
	for _, hash := range s.sorted() {
		dst = binary.BigEndian.AppendUint64(dst, hash)
	}
	return dst
}

func appendDigest(dst []byte, d *digest) []byte {
	d.settle()
	dst = appendFloat(appendFloat(dst, d.min), d.max)
	dst = binary.AppendUvarint(dst, uint64(len(d.clusters)))
	for _, c := range d.clusters {
		dst = appendFloat(appendFloat(dst, c.mean), c.weight)
	}
	return dst
}

func (r *reader) states(aggs []dsl.NamedAgg) []*state {
	states := make([]*state, len(aggs))
	for i, a := range aggs {
		states[i] = r.state(a)
	}
	return states
}

func (r *reader) state(named dsl.NamedAgg) *state {
	s := newState(named.Agg)
	switch {
	case s.sketch != nil:
		r.sketch(s.sketch)
	case s.digest != nil:
		r.digest(s.digest)
	case s.buckets == nil:
		s.figures = figures{r.varint(), r.float(), r.float(), r.float()}
	default:
		r.readBuckets(named, s)
	}
	return s
}

func (r *reader) sketch(s *sketch) {
	if r.byte() == 1 {
		s.hashes, s.registers = nil, make([]uint8, registers)
		copy(s.registers, r.take(registers))
		for _, rank := range s.registers {
			if rank > 64-registerBits+1 {
				r.fail()
			}
		}
		return
	}
	for range r.count(8) {
		s.add(binary.BigEndian.Uint64(r.take(8)))
	}
}

func (r *reader) digest(d *digest) {
	d.min, d.max = r.float(), r.float()
	count := r.count(16)
	for range count {
		c := cluster{r.float(), r.float()}
		if math.IsNaN(c.mean) || !(c.weight > 0) {
			r.fail()
			return
		}
		d.clusters = append(d.clusters, c)
	}
}

func (r *reader) readBuckets(named dsl.NamedAgg, s *state) {
	s.other, s.missed, s.unsure = r.varint(), r.varint(), r.byte() != 0
	count := r.count(3)
	if r.buckets -= count; r.buckets < 0 {
		r.fail()
		return
	}
	for range count {
		key := r.string()
		b := &bucket{docs: r.varint(), missed: r.varint()}
		b.subs = r.states(named.Aggs)
		if r.failed || !validKey(named.Agg, key) {
			r.fail()
			return
		}
		s.buckets[key] = b
	}
}
