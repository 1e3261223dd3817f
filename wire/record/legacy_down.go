package record

import (
	"errors"
	"fmt"
)

// DownConvert turns the batches at the front of batches into a message set of magic toMagic, 0 or 1,
// for fetches below v4. Control batches, headers and producer fields have no place there and are left
// out; offsets stay. In an uncompressed batch the records below fetchOffset are left out too, while
// a compressed one stays whole, as one wrapper in its own codec.
//
// It stops before a batch that would take the result past maxBytes, but always converts the first
// one with records to see, so that a reader can go on. A partial batch at the end is ignored. The
// result is new memory, and empty if there are no records to see. Both what a batch decompresses to
// and what is made of it, for entries are larger than records, are bounded by lim.MaxBytes.
//
// If a batch cannot be converted, because of zstd (ErrUnsupported), its size (ErrTooLarge) or its
// bytes (ErrCorrupt), the set of those before it is returned, and the error only if there are none.
func DownConvert(batches []byte, toMagic int8, fetchOffset int64, maxBytes int, lim Limits) ([]byte, error) {
	if toMagic != 0 && toMagic != 1 {
		return nil, fmt.Errorf("%w: no message sets of magic %d", ErrUnsupported, toMagic)
	}
	d := downConverter{magic: toMagic, from: fetchOffset, lim: lim}
	for {
		b, rest, err := Next(batches)
		if errors.Is(err, ErrIncomplete) {
			return d.out, nil
		}
		before := len(d.out)
		if err == nil && !b.IsControl() {
			err = d.add(b)
		}
		if err != nil {
			if before == 0 {
				return nil, err
			}
			return d.out[:before], nil
		}
		switch {
		case len(d.out) > maxBytes && before > 0:
			return d.out[:before], nil
		case len(d.out) >= maxBytes && len(d.out) > 0:
			return d.out, nil
		}
		batches = rest
	}
}

type downConverter struct {
	magic int8
	from  int64
	lim   Limits
	out   []byte
	inner []byte // the entries of one wrapper
}

func (d *downConverter) add(b Batch) error {
	switch codec := b.Codec(); {
	case codec == None:
		out, _, err := d.appendEntries(d.out, b, 0, d.from)
		d.out = out
		return err
	case codec > LZ4:
		return fmt.Errorf("%w: %v has no place in magic %d", ErrUnsupported, codec, d.magic)
	}
	return d.wrap(b)
}

// wrap appends b as one compressed entry. Its offset and timestamp are those that innerBase and the
// readers of magic 1 expect: the last record's, and the largest.
//
// A wrapper that ends below the fetch offset is left out. It comes up after compaction took the last
// records of a batch: the reader goes on behind the last one it saw, which is still in this batch,
// and would be given the same wrapper for ever.
func (d *downConverter) wrap(b Batch) error {
	base := int64(0)
	if d.magic == 1 {
		base = b.BaseOffset()
	}
	inner, w, err := d.appendEntries(d.inner[:0], b, base, 0)
	d.inner = inner
	if err != nil || len(inner) == 0 || w.offset+base < d.from {
		return err
	}
	value, err := d.compress(b.Codec(), inner)
	if err != nil {
		return err
	}
	w.offset, w.key, w.value = w.offset+base, nil, value
	w.attributes |= int8(b.Codec())
	d.out = w.appendTo(d.out)
	return nil
}

// appendEntries appends b's records from the given offset on, with base subtracted from theirs. last
// is the last of them, but for the timestamp, which is the largest.
func (d *downConverter) appendEntries(dst []byte, b Batch, base, from int64) (out []byte, last entry, err error) {
	start, newest := len(dst), NoTimestamp
	err = b.Each(d.lim, func(rec *Record) error {
		if rec.Offset < from {
			return nil
		}
		last = entry{offset: rec.Offset - base, magic: d.magic, timestamp: rec.Timestamp, key: rec.Key, value: rec.Value}
		if d.magic == 1 && b.IsLogAppendTime() {
			last.attributes = attrLogAppendTime
		}
		dst = last.appendTo(dst)
		newest = max(newest, rec.Timestamp)
		if len(dst)-start > d.lim.maxBytes() {
			return fmt.Errorf("%w: batch takes more than %d bytes in magic %d", ErrTooLarge, d.lim.maxBytes(), d.magic)
		}
		return nil
	})
	last.timestamp = newest
	return dst, last, err
}

func (d *downConverter) compress(codec Codec, inner []byte) ([]byte, error) {
	if codec == LZ4 && d.magic == 0 {
		return lz4ed(0, inner, nil, lz4ChecksumMagic0)
	}
	return Compress(codec, 0, inner, nil)
}
