package raftmeta

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Limits of single values. They hold when encoding (ErrTooLarge) and, before anything is allocated,
// when decoding (ErrCorrupt).
const (
	maxName   = 1<<15 - 1 // tenants, names, ids, hosts, config keys: Kafka's STRING
	maxBlob   = 1 << 20   // config values, offset metadata, subscriptions, assignments
	maxItems  = 1 << 20   // elements of one list
	maxTenant = 255
)

// coder walks an encoded value in either direction, so that what is written and what is read are one
// piece of code. The form is canonical: exactly one encoding exists for a value, and any other is
// refused. Integers are varints (zigzag where they may be negative), strings and lists carry their
// length in front, maps are sorted by key.
//
// Encoding appends to buf, decoding consumes it. The first error sticks and makes the rest a no-op.
type coder struct {
	buf      []byte
	decoding bool
	err      error
}

// finish ends decoding: everything must have been consumed.
func (c *coder) finish() error {
	if c.err == nil && len(c.buf) != 0 {
		c.corrupt("%d bytes too many", len(c.buf))
	}
	return c.err
}

func (c *coder) corrupt(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
}

func (c *coder) uint64(v *uint64) {
	if c.err != nil {
		return
	}
	if !c.decoding {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	got, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.corrupt("bad varint")
		return
	}
	if n > 1 && c.buf[n-1] == 0 {
		c.corrupt("varint is longer than needed")
		return
	}
	*v, c.buf = got, c.buf[n:]
}

func (c *coder) int64(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.uint64(&u)
	if c.decoding && c.err == nil {
		*v = int64(u>>1) ^ -int64(u&1)
	}
}

func (c *coder) int32(v *int32) {
	wide := int64(*v)
	c.int64(&wide)
	if c.decoding && c.err == nil {
		if int64(int32(wide)) != wide {
			c.corrupt("%d does not fit 32 bits", wide)
			return
		}
		*v = int32(wide)
	}
}

func (c *coder) byte(v *byte) {
	switch {
	case c.err != nil:
	case !c.decoding:
		c.buf = append(c.buf, *v)
	case len(c.buf) == 0:
		c.corrupt("unexpected end")
	default:
		*v, c.buf = c.buf[0], c.buf[1:]
	}
}

func (c *coder) bool(v *bool) {
	var b byte
	if *v {
		b = 1
	}
	c.byte(&b)
	if c.decoding && c.err == nil {
		if b > 1 {
			c.corrupt("%d is no boolean", b)
			return
		}
		*v = b == 1
	}
}

func (c *coder) id(v *uuid.ID) { c.fixed(v[:]) }

func (c *coder) fixed(v []byte) {
	switch {
	case c.err != nil:
	case !c.decoding:
		c.buf = append(c.buf, v...)
	case len(c.buf) < len(v):
		c.corrupt("unexpected end")
	default:
		c.buf = c.buf[copy(v, c.buf):]
	}
}

// length walks a count of things of at least size encoded bytes each. It returns 0 after an error.
func (c *coder) length(n, limit, size int) int {
	if c.err == nil && !c.decoding && n > limit {
		c.err = fmt.Errorf("%w: length %d exceeds %d", ErrTooLarge, n, limit)
	}
	u := uint64(n)
	c.uint64(&u)
	if c.err != nil {
		return 0
	}
	if c.decoding && (u > uint64(limit) || u*uint64(size) > uint64(len(c.buf))) {
		c.corrupt("length %d exceeds %d or what is left", u, limit)
		return 0
	}
	return int(u)
}

func (c *coder) string(v *string, limit int) {
	n := c.length(len(*v), limit, 1)
	switch {
	case c.err != nil:
	case !c.decoding:
		c.buf = append(c.buf, *v...)
	default:
		*v, c.buf = string(c.buf[:n]), c.buf[n:]
	}
}

func (c *coder) name(v *string) { c.string(v, maxName) }

func (c *coder) bytes(v *[]byte) {
	n := c.length(len(*v), maxBlob, 1)
	switch {
	case c.err != nil:
	case !c.decoding:
		c.buf = append(c.buf, *v...)
	case n == 0:
		*v = nil
	default:
		*v, c.buf = slices.Clone(c.buf[:n]), c.buf[n:]
	}
}

func (c *coder) int32s(v *[]int32) {
	list(c, v, 1, func(c *coder, x *int32) { c.int32(x) })
}

func (c *coder) ids(v *[]uuid.ID) {
	list(c, v, len(uuid.ID{}), func(c *coder, x *uuid.ID) { c.id(x) })
}

// list walks a slice whose elements take at least size bytes each. An empty one decodes to nil.
func list[T any](c *coder, v *[]T, size int, each func(*coder, *T)) {
	n := c.length(len(*v), maxItems, size)
	if c.err != nil {
		return
	}
	if c.decoding {
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		if each(c, &(*v)[i]); c.err != nil {
			return
		}
	}
}

// strings walks a map, sorted by key. An empty one decodes to nil.
func (c *coder) strings(m *map[string]string) {
	n := c.length(len(*m), maxItems, 2)
	if c.err != nil {
		return
	}
	if !c.decoding {
		for _, k := range slices.Sorted(maps.Keys(*m)) {
			v := (*m)[k]
			c.name(&k)
			c.string(&v, maxBlob)
		}
		return
	}
	*m = nil
	if n > 0 {
		*m = make(map[string]string, min(n, 1024))
	}
	last := ""
	for i := range n {
		var k, v string
		c.name(&k)
		c.string(&v, maxBlob)
		if c.err == nil && i > 0 && k <= last {
			c.corrupt("keys out of order")
		}
		if c.err != nil {
			return
		}
		(*m)[k], last = v, k
	}
}
