package record

import (
	"fmt"
	"math"
	"sync"
	"unsafe"
)

// Header is one header of a record.
type Header struct {
	Key   []byte // UTF-8, never nil
	Value []byte // nil is null
}

// Record is one record of a batch or message set.
type Record struct {
	Offset    int64 // absolute
	Timestamp int64 // ms since the epoch, or NoTimestamp
	Key       []byte
	Value     []byte // nil is null here and in Key
	Headers   []Header
	// Attributes are the record's own in a batch, where Kafka defines none. In a message set they are
	// those of the entry, and for records inside a compressed entry those of that wrapper.
	Attributes int8
}

// cursor reads the fields of records off the front of b. Once bad it stays bad, so that a caller
// checks once, after a whole record.
type cursor struct {
	b          []byte
	bad        bool
	maxHeaders int // that one record may have; crowded says that one had more
	crowded    bool
}

// newCursor lets the headers of a record take as much memory as its batch may. They need a bound of
// their own: two bytes are enough for one, which takes 48 in a Record.
func newCursor(p []byte, lim Limits) cursor {
	return cursor{b: p, maxHeaders: lim.maxBytes() / int(unsafe.Sizeof(Header{}))}
}

func (c *cursor) long() int64 {
	v, size := varint(c.b)
	if size == 0 {
		c.bad = true
	}
	c.b = c.b[size:]
	return v
}

func (c *cursor) int() int {
	v, size := varint(c.b)
	if size == 0 || size > maxInt32Size || v < math.MinInt32 || v > math.MaxInt32 {
		c.bad = true
		return 0
	}
	c.b = c.b[size:]
	return int(v)
}

// take cuts n bytes off; n < 0 is null.
func (c *cursor) take(n int) []byte {
	if n < 0 || c.bad {
		return nil
	}
	if n > len(c.b) {
		c.bad = true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// nullable reads a length, which must be at least lowest, and that many bytes.
func (c *cursor) nullable(lowest int) []byte {
	n := c.int()
	if n < lowest {
		c.bad = true
	}
	return c.take(n)
}

// body cuts off one record: its length, and what that counts.
func (c *cursor) body() cursor {
	n := c.int()
	if n < 0 {
		c.bad = true
	}
	b := c.take(n)
	return cursor{b: b, bad: c.bad}
}

func (c *cursor) attributes() int8 {
	if len(c.b) == 0 {
		c.bad = true
		return 0
	}
	a := int8(c.b[0])
	c.b = c.b[1:]
	return a
}

// timeline turns the deltas of a batch's records into offsets and times.
type timeline struct {
	baseOffset, baseTime int64
	lastDelta            int32
	appendTime           int64 // of every record, if fixed
	fixed                bool
}

func (b Batch) timeline() timeline {
	return timeline{b.BaseOffset(), b.BaseTimestamp(), b.LastOffsetDelta(), b.MaxTimestamp(), b.IsLogAppendTime()}
}

func (t timeline) at(delta int64) int64 {
	if t.fixed {
		return t.appendTime
	}
	return t.baseTime + delta
}

// record reads the next record into r, whose Headers array is used again.
func (c *cursor) record(r *Record, t timeline) {
	body := c.body()
	r.Attributes = body.attributes()
	r.Timestamp = t.at(body.long())
	r.Offset = t.baseOffset + int64(body.int())
	r.Key = body.nullable(-1)
	r.Value = body.nullable(-1)
	r.Headers = r.Headers[:0]
	n := body.int()
	if n < 0 || n > len(body.b)/2 { // a header takes two bytes
		body.bad = true
	}
	c.crowded = n > c.maxHeaders
	for range n {
		if body.bad || c.crowded {
			break
		}
		r.Headers = append(r.Headers, Header{Key: body.nullable(0), Value: body.nullable(-1)})
	}
	c.bad = c.bad || body.bad || len(body.b) != 0 && !c.crowded
}

// maxPooledHeaders is how many headers a pooled Record keeps room for.
const maxPooledHeaders = 64

// opener is what opening a batch or set needs besides its bytes, kept so that a batch costs no
// allocation. The pool owns it between calls.
type opener struct {
	scratch
	rec Record
}

var openers = sync.Pool{New: func() any { return new(opener) }}

func (o *opener) release() {
	if cap(o.buf) > maxPooled {
		o.buf = nil
	}
	headers := o.rec.Headers[:0]
	clear(headers[:cap(headers)]) // they point into someone's batch
	if cap(headers) > maxPooledHeaders {
		headers = nil
	}
	o.rec = Record{Headers: headers}
	openers.Put(o)
}

// Each calls fn with every record of the batch, in the order of their offsets, which rise and lie
// in [BaseOffset, LastOffset]. Control batches are read like others. The record and all it points to
// are valid only until fn returns: they alias the batch, or a buffer of at most lim's size if the
// batch is compressed. An error of fn ends the walk and is returned as it is.
//
// ErrCorrupt says that the records do not fill the batch exactly, Count of them; records before the
// fault have been handed out by then. ErrTooLarge says that they expand past lim, or that the headers
// of one would take more memory than that. The header is
// believed: call Check first on bytes of unknown origin.
func (b Batch) Each(lim Limits, fn func(*Record) error) error {
	o := openers.Get().(*opener)
	defer o.release()
	c := newCursor(nil, lim)
	if b.Count() > 0 || len(b.Payload()) > 0 {
		payload, err := o.open(b.Codec(), b.Payload(), lim)
		if err != nil {
			return err
		}
		c.b = payload
	}
	return c.each(b.Count(), b.timeline(), &o.rec, fn)
}

func (c *cursor) each(count int32, t timeline, rec *Record, fn func(*Record) error) error {
	last := int64(-1)
	return c.eachIndexed(count, t, rec, func(i int, rec *Record) error {
		delta := rec.Offset - t.baseOffset
		if delta <= last || delta > int64(t.lastDelta) {
			return fmt.Errorf("%w: record %d has offset delta %d after %d, the batch ends at %d",
				ErrCorrupt, i, delta, last, t.lastDelta)
		}
		last = delta
		return fn(rec)
	})
}

// eachIndexed takes offset deltas as they come.
func (c *cursor) eachIndexed(count int32, t timeline, rec *Record, fn func(i int, rec *Record) error) error {
	for i := range int(count) {
		c.record(rec, t)
		if c.bad {
			return fmt.Errorf("%w: record %d of %d is malformed", ErrCorrupt, i, count)
		}
		if c.crowded {
			return fmt.Errorf("%w: record %d of %d has more than %d headers", ErrTooLarge, i, count, c.maxHeaders)
		}
		if err := fn(i, rec); err != nil {
			return err
		}
	}
	if len(c.b) != 0 {
		return fmt.Errorf("%w: %d bytes after the last of %d records", ErrCorrupt, len(c.b), count)
	}
	return nil
}
