package record

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
)

// Rules are a topic's conditions for what may be produced to it, at one moment.
type Rules struct {
	MaxMessageBytes int  // largest batch as stored, header included: max.message.bytes
	Compacted       bool // cleanup.policy has compact: null keys are refused

	LogAppendTime bool  // message.timestamp.type
	Now           int64 // ms; the append time, or what the limits below count from
	BeforeMax     int64 // ms that a record may be older than Now; Now and above, as MaxInt64, is no limit
	AfterMax      int64 // ms that a record may be newer than Now; math.MaxInt64 is no limit

	ForceCodec bool // compression.type is not "producer": store with Codec and Level
	Codec      Codec
	Level      int // as in Compress

	Limits Limits // for the batches that must be opened
}

// noLimit is how the timestamp limits say that there is none.
const noLimit = math.MaxInt64

// Validated is what may be appended.
type Validated struct {
	// Batch is one batch of magic 2 and base offset 0, ready for the log but for Stamp. It aliases the
	// records that were validated, with their header changed in place where the rules ask for it; or
	// it is new memory, if it had to be rebuilt. It is nil if a request below v3 had nothing to append.
	Batch        Batch
	Count        int32 // records; also the number of offsets they take
	MaxTimestamp int64 // ms, or NoTimestamp
	AppendTime   int64 // what the response says: NoTimestamp unless Rules.LogAppendTime
}

// ValidateProduce checks the records of one partition in a produce request of the given version, and
// makes of them the batch to store. Every error is a *ProduceError.
//
// A compressed batch is opened only if the rules cannot be decided by its header: for null keys on a
// compacted topic, for a finite BeforeMax, for another codec. Otherwise its header is believed; that
// is where Kafka spends most of its time on the produce path. An uncompressed one is always walked,
// which is cheap, and proves its count, offsets and largest timestamp. Neither allocates if the batch
// is stored as it came.
//
// Below v3 message sets of magic 0 and 1 are taken too, and converted.
func ValidateProduce(records []byte, apiVersion int16, rules Rules) (Validated, error) {
	first, rest, err := nextEntry(records)
	if err != nil {
		return Validated{}, err
	}
	switch {
	case first == nil && apiVersion < 3:
		return Validated{MaxTimestamp: NoTimestamp, AppendTime: NoTimestamp}, nil
	case first == nil:
		return Validated{}, refuse(ErrInvalid, "no record batch")
	case first[posMagic] == 2:
		if second, _, err := nextEntry(rest); second != nil || err != nil {
			return Validated{}, refuse(ErrInvalid, "more than one record batch")
		}
		return validateBatch(first, apiVersion, rules)
	case apiVersion >= 3:
		return Validated{}, refuse(ErrInvalid, "records of magic %d in a request that needs magic 2", first[posMagic])
	}
	return upConvert(records, rules)
}

// minEntry is the least that a length field may say: what follows it in an empty entry of magic 0.
const minEntry = 14

// nextEntry cuts one batch or message, of any magic, off buf. A partial one at the end counts as
// none, since old producers leave them there; entry is nil then.
func nextEntry(buf []byte) (entry, rest []byte, err error) {
	if len(buf) <= posMagic {
		return nil, nil, nil
	}
	size := int64(int32(binary.BigEndian.Uint32(buf[posLength:])))
	switch magic := int8(buf[posMagic]); {
	case size < minEntry:
		return nil, nil, refuse(ErrCorrupt, "length field %d", size)
	case magic < 0 || magic > 2:
		return nil, nil, refuse(ErrCorrupt, "magic %d", magic)
	}
	size += PrefixSize
	if size > int64(len(buf)) {
		return nil, nil, nil
	}
	return buf[:size:size], buf[size:], nil
}

func validateBatch(b Batch, apiVersion int16, rules Rules) (Validated, error) {
	if len(b) > rules.MaxMessageBytes {
		return Validated{}, refuse(ErrTooLarge, "batch of %d bytes, the topic allows %d", len(b), rules.MaxMessageBytes)
	}
	switch err := b.Check(); {
	case errors.Is(err, ErrInvalid): // its bytes are as they were sent: sending them again does not help
		return Validated{}, refuseAs(ErrInvalid, err)
	case err != nil:
		return Validated{}, refuseAs(ErrCorrupt, err)
	}
	if err := b.checkHeader(apiVersion); err != nil {
		return Validated{}, err
	}
	if err := rules.checkHeaderTime(b); err != nil {
		return Validated{}, err
	}
	b, err := rules.applyToRecords(b)
	if err != nil {
		return Validated{}, err
	}
	v := Validated{Batch: b, Count: b.Count(), AppendTime: NoTimestamp}
	if rules.LogAppendTime {
		b.SetLogAppendTime(rules.Now)
		v.AppendTime = rules.Now
	}
	v.MaxTimestamp = b.MaxTimestamp()
	return v, nil
}

// checkHeader holds b against the rules that are the same for all topics.
func (b Batch) checkHeader(apiVersion int16) error {
	pid := b.ProducerID()
	switch {
	case b.BaseOffset() != 0:
		return refuse(ErrInvalid, "base offset %d of a produced batch", b.BaseOffset())
	case b.Count() <= 0 || int64(b.Count()) != int64(b.LastOffsetDelta())+1:
		return refuse(ErrInvalid, "%d records with a last offset delta of %d", b.Count(), b.LastOffsetDelta())
	case b.IsControl():
		return refuse(ErrInvalid, "clients cannot write control records")
	case b.HasDeleteHorizon():
		return refuse(ErrInvalid, "clients cannot set a delete horizon")
	case pid < NoProducer || pid >= 0 && (b.ProducerEpoch() < 0 || b.BaseSequence() < 0):
		return refuse(ErrInvalid, "producer id %d with epoch %d and sequence %d", pid, b.ProducerEpoch(), b.BaseSequence())
	case b.IsTransactional() && pid == NoProducer:
		return refuse(ErrInvalid, "transactional records without a producer id")
	case b.Codec() > Zstd:
		return refuse(ErrUnsupported, "codec %d", b.Codec())
	case b.Codec() == Zstd && apiVersion < 7:
		return refuse(ErrUnsupported, "zstd needs produce version 7, not %d", apiVersion)
	case b.IsLogAppendTime():
		return refuse(ErrTimestamp, "producers cannot set the timestamp type LogAppendTime")
	}
	return nil
}

// checkHeaderTime is the limit on times to come, for which the header's largest time is enough. If
// that is past the limit the records are opened, to name those at fault.
func (r Rules) checkHeaderTime(b Batch) error {
	newest := max(b.BaseTimestamp(), b.MaxTimestamp())
	if r.LogAppendTime || !r.tooNew(newest) {
		return nil
	}
	e := refuse(ErrTimestamp, "timestamp %d is outside the range that the topic allows", newest)
	err := b.eachProduced(r.Limits, func(i int, rec *Record) error {
		r.blameTime(e, i, rec.Timestamp)
		return nil
	})
	if err != nil {
		return refuseRecords(err)
	}
	return e
}

func (r Rules) tooNew(t int64) bool {
	return r.AfterMax != noLimit && t != NoTimestamp && t > r.Now && uint64(t)-uint64(r.Now) > uint64(r.AfterMax)
}

// limitsAge is false if the limit lies before 1970: no time is older, and no batch need be opened
// for it. It is asked this way because the default may reach us through a type of less range.
func (r Rules) limitsAge() bool { return !r.LogAppendTime && r.BeforeMax < r.Now }

func (r Rules) tooOld(t int64) bool {
	return r.limitsAge() && t != NoTimestamp && t < r.Now && uint64(r.Now)-uint64(t) > uint64(r.BeforeMax)
}

// blameTime adds record i to e if its time is not allowed.
func (r Rules) blameTime(e *ProduceError, i int, t int64) {
	if !r.LogAppendTime && (r.tooNew(t) || r.tooOld(t)) {
		e.blame(i, "timestamp is outside the range that the topic allows")
	}
}

// applyToRecords opens b as far as the rules need it, and rebuilds it if it cannot be stored as it is.
func (r Rules) applyToRecords(b Batch) (Batch, error) {
	recode := r.ForceCodec && r.Codec != b.Codec()
	if b.Codec() != None && !recode && !r.Compacted && !r.limitsAge() {
		return b, nil
	}
	s := getScratch()
	defer s.release()
	raw, err := s.open(b.Codec(), b.Payload(), r.Limits)
	if err != nil {
		return nil, refuseRecords(err)
	}
	base := b.BaseTimestamp()
	seen, ok := skimRecords(raw, b.Count(), NoTimestamp-base)
	if !ok || seen.overflows(base) {
		return nil, refuse(ErrInvalid, "the batch does not hold its %d records exactly", b.Count())
	}
	if err := r.checkSeen(b, seen, base); err != nil {
		return nil, err
	}
	target := b.Codec()
	if recode {
		target = r.Codec
	}
	if !seen.dense || recode {
		return r.rebuild(b, raw, seen, target)
	}
	if newest := seen.newest(base); newest != b.MaxTimestamp() && !r.LogAppendTime {
		b.setMaxTimestamp(newest)
	}
	return b, nil
}

// newest is the largest time of the records that were seen.
func (s skim) newest(base int64) int64 {
	if !s.timed {
		return NoTimestamp
	}
	return base + s.maxDelta
}

// overflows reports whether a time is past what int64 holds, and would wrap to another.
func (s skim) overflows(base int64) bool {
	return base > 0 && s.maxDelta > math.MaxInt64-base || base < 0 && s.minDelta < math.MinInt64-base
}

func (b Batch) setMaxTimestamp(t int64) {
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(t))
	b.Seal()
}

// checkSeen applies the topic's rules to what the walk found, and names the records at fault.
func (r Rules) checkSeen(b Batch, seen skim, base int64) error {
	if r.Compacted && seen.nullKeys {
		e := refuse(ErrInvalid, "one or more records have no key, which a compacted topic needs")
		return r.blameAll(b, e, func(i int, rec *Record) {
			if rec.Key == nil {
				e.blame(i, "a compacted topic does not accept a record without a key")
			}
		})
	}
	if !r.LogAppendTime && seen.timed && (r.tooNew(base+seen.maxDelta) || r.tooOld(base+seen.minDelta)) {
		e := refuse(ErrTimestamp, "one or more timestamps are outside the range that the topic allows")
		return r.blameAll(b, e, func(i int, rec *Record) { r.blameTime(e, i, rec.Timestamp) })
	}
	return nil
}

// blameAll walks the records once more, for the error that is e in any case.
func (r Rules) blameAll(b Batch, e *ProduceError, fn func(i int, rec *Record)) error {
	err := b.eachProduced(r.Limits, func(i int, rec *Record) error {
		fn(i, rec)
		return nil
	})
	if err != nil {
		return refuseRecords(err)
	}
	return e
}

// eachProduced is Each with the records' indexes, for a batch whose offset deltas may be wrong.
func (b Batch) eachProduced(lim Limits, fn func(i int, rec *Record) error) error {
	o := openers.Get().(*opener)
	defer o.release()
	payload, err := o.open(b.Codec(), b.Payload(), lim)
	if err != nil {
		return err
	}
	c := newCursor(payload, lim)
	return c.eachIndexed(b.Count(), b.timeline(), &o.rec, fn)
}

var builders = sync.Pool{New: func() any { return new(Builder) }}

func releaseBuilder(b *Builder) {
	if cap(b.records) > maxPooled {
		b.records = nil
	}
	b.Reset(Spec{})
	builders.Put(b)
}

// rebuild makes a new batch of b's records: with their offset deltas put right, and with codec.
func (r Rules) rebuild(b Batch, raw []byte, seen skim, codec Codec) (Batch, error) {
	h := b.header()
	h.maxTime = seen.newest(b.BaseTimestamp())
	if !seen.dense {
		builder := builders.Get().(*Builder)
		defer releaseBuilder(builder)
		if err := renumber(builder, b, raw, r.Limits); err != nil {
			return nil, refuseRecords(err)
		}
		raw, h.baseTime = builder.records, builder.baseTime
	}
	out, err := h.build(nil, codec, r.Level, raw)
	if err != nil {
		return nil, refuseRecords(err)
	}
	if len(out) > r.MaxMessageBytes {
		return nil, refuse(ErrTooLarge, "batch of %d bytes as %v, the topic allows %d", len(out), codec, r.MaxMessageBytes)
	}
	return out, nil
}

// renumber adds the records of b, opened as raw, to the builder with the offsets 0, 1, 2, …
func renumber(builder *Builder, b Batch, raw []byte, lim Limits) error {
	builder.Reset(Spec{})
	o := openers.Get().(*opener)
	defer o.release()
	c := newCursor(raw, lim)
	return c.eachIndexed(b.Count(), b.timeline(), &o.rec, func(i int, rec *Record) error {
		rec.Offset = int64(i)
		return builder.Add(rec)
	})
}
