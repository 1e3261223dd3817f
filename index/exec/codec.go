package exec

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/chronik-stream/chronik/index/dsl"
)

// version is the first byte of what goes to a peer. A peer that writes another one is not understood.
const version = 1

var errEncoding = errors.New("bytes of a peer are no part of a search's result")

// Append writes p, found for s, behind dst. Numbers are varints, lengths stand in front:
//
//	version size total flags maxScore
//	hits:  count, then per hit topic (empty: as before) partition offset score key
//	kinds: per aggregation of the search, in its order, that of its field, and those inside
//	aggs:  per aggregation, its state (appendState)
func (p *Partial) Append(dst []byte, s *dsl.Search) []byte {
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(p.size))
	dst = binary.AppendVarint(dst, p.Total)
	dst = append(dst, byte(oneIf(p.AtLeast)))
	dst = appendFloat(dst, p.MaxScore)
	dst = binary.AppendUvarint(dst, uint64(len(p.Hits)))
	topic := ""
	for _, h := range p.Hits {
		if h.Topic == topic {
			dst = appendString(dst, "")
		} else {
			topic = h.Topic
			dst = appendString(dst, topic)
		}
		dst = binary.AppendVarint(dst, int64(h.Partition))
		dst = binary.AppendVarint(dst, h.Offset)
		dst = appendFloat(dst, h.Score)
		dst = appendString(dst, string(h.Key))
	}
	return appendStates(appendKinds(dst, p.kinds), s.Aggs, p.aggs)
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// DecodePartial reads what Append wrote for the same search. What data claims to hold is believed only as far as
// data reaches, and no more buckets are made than one answer may hold.
func DecodePartial(s *dsl.Search, limits Limits, data []byte) (*Partial, error) {
	r := reader{rest: data, buckets: liveBuckets * limits.MaxBuckets}
	if r.byte() != version {
		return nil, errEncoding
	}
	p := &Partial{size: int(min(r.uvarint(), math.MaxInt32)), Total: r.varint(), AtLeast: r.byte() != 0, MaxScore: r.float()}
	const leastHit = 1 + 1 + 1 + 8 + 1
	count := r.count(leastHit)
	p.Hits = make([]Hit, 0, count)
	topic := ""
	for range count {
		if named := r.string(); named != "" {
			topic = named
		}
		h := Hit{Topic: topic, Partition: int32(r.varint()), Offset: r.varint(), Score: r.float()}
		h.Key = []byte(r.string())
		p.Hits = append(p.Hits, h)
	}
	p.kinds = unknownKinds(s.Aggs)
	r.kinds(p.kinds)
	p.aggs = r.states(s.Aggs)
	if r.failed || len(r.rest) > 0 {
		return nil, errEncoding
	}
	return p, nil
}

// reader takes values off the front of bytes. Once it has failed all that it gives is zero.
type reader struct {
	rest    []byte
	buckets int // that may still be made
	failed  bool
}

func (r *reader) fail() { r.failed, r.rest = true, nil }

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) float() float64 {
	if b := r.take(8); b != nil {
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

// count is a number of things that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.rest)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) string() string { return string(r.take(r.count(1))) }

// Append writes s behind dst, its fields and terms in order.
func (s *Statistics) Append(dst []byte) []byte {
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(len(s.fields)))
	for _, field := range sortedKeys(s.fields) {
		dst = appendString(dst, field)
		dst = binary.AppendUvarint(dst, s.fields[field].docs)
		dst = binary.AppendUvarint(dst, s.fields[field].tokens)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.terms)))
	for _, t := range sortedTerms(s.terms) {
		dst = appendString(dst, t.field)
		dst = appendString(dst, t.term)
		dst = binary.AppendUvarint(dst, s.terms[t])
	}
	return dst
}

// DecodeStatistics reads what Append wrote.
func DecodeStatistics(data []byte) (*Statistics, error) {
	r := reader{rest: data}
	if r.byte() != version {
		return nil, errEncoding
	}
	s := NewStatistics()
	for range r.count(3) {
		s.fields[r.string()] = fieldStatistics{docs: r.uvarint(), tokens: r.uvarint()}
	}
	for range r.count(3) {
		s.terms[fieldTerm{r.string(), r.string()}] = r.uvarint()
	}
	if r.failed || len(r.rest) > 0 {
		return nil, errEncoding
	}
	return s, nil
}
