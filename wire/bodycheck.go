package wire

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxElements bounds the array elements and tagged fields of one request, all levels together. A
// million is what Kafka 4.4 takes in one array.
const maxElements = 1_000_000

// checkBody walks over a request's body before kmsg decodes it. kmsg takes array lengths up to the
// number of bytes left, at some 100 bytes of memory for each, and the count of a tagged-fields section
// without any bound: five bytes can keep it counting to 2^32. The walk allocates nothing and ends at
// the first length that cannot be true. Bytes after the body are left alone; some clients send them.
func checkBody(key, version int16, body []byte) error {
	spec, flexible := bodySpec(key, version)
	w := bodyWalk{Dec: Dec{B: body, Flexible: flexible}, left: maxElements}
	w.structure(spec)
	return w.Err()
}

// structSpec is a struct in one version of its request.
type structSpec struct {
	fields []fieldSpec
	tags   map[uint32]fieldSpec
}

type fieldSpec struct {
	kind byte        // 'f' fixed size, or one of "sd[(?" of the notation
	size int         // of 'f' in bytes; for '[' the least size of an element
	elem *fieldSpec  // of '['
	sub  *structSpec // of '(' and '?'
}

// bodyWalk goes over one body.
type bodyWalk struct {
	Dec
	left int // elements that may still come
}

func (w *bodyWalk) structure(s *structSpec) {
	for i := range s.fields {
		if w.err != nil {
			return
		}
		w.field(&s.fields[i])
	}
	if !w.Flexible {
		return
	}
	n := w.tagCount()
	w.spend(n)
	for ; n > 0 && w.err == nil; n-- {
		w.tag(s)
	}
}

// tag walks a tagged field; those that kmsg knows it decodes, so they are walked like any other.
func (w *bodyWalk) tag(s *structSpec) {
	tag := w.Uvarint()
	value := w.Span(int(w.Uvarint()))
	known, ok := s.tags[tag]
	if !ok || w.err != nil {
		return
	}
	inner := bodyWalk{Dec: Dec{B: value, Flexible: true}, left: w.left}
	inner.field(&known)
	w.left = inner.left
	if inner.err != nil {
		w.fail(inner.err)
	}
}

func (w *bodyWalk) field(f *fieldSpec) {
	switch f.kind {
	case 'f':
		w.Span(f.size)
	case 's':
		w.StringBytes()
	case 'd':
		w.Bytes()
	case '(':
		w.structure(f.sub)
	case '?':
		if w.Int8() != -1 && w.err == nil {
			w.structure(f.sub)
		}
	case '[':
		w.array(f)
	}
}

func (w *bodyWalk) array(f *fieldSpec) {
	n := w.Array(w.left)
	if n <= 0 {
		return
	}
	w.spend(n)
	if n > len(w.B)/f.size {
		w.fail(errShort)
		return
	}
	if f.elem.kind == 'f' {
		w.Span(n * f.elem.size)
		return
	}
	for ; n > 0 && w.err == nil; n-- {
		w.field(f.elem)
	}
}

func (w *bodyWalk) spend(n int) {
	if w.left -= n; w.left < 0 {
		w.fail(errTooMany)
	}
}

// specVersions bounds the versions of a key: more than any API has.
const specVersions = 32

// compiledSpecs is filled per key and version when the first such request comes. Two goroutines may
// compile the same one, which is harmless.
var compiledSpecs [kmsg.MaxKey + 1][specVersions]atomic.Pointer[structSpec]

// bodySpec is defined for the keys and versions that kmsg knows.
func bodySpec(key, version int16) (spec *structSpec, flexible bool) {
	row := &bodySpecs[key]
	flexible = version >= row.flexible
	compiled := &compiledSpecs[key][version]
	if spec = compiled.Load(); spec != nil {
		return spec, flexible
	}
	p := specParser{rest: row.fields, version: version, flexible: flexible}
	spec = p.structure(0)
	compiled.Store(spec)
	return spec, flexible
}

// specParser reads the notation of bodySpecs, keeping the fields of one version. It panics at a
// mistake in the table, which TestBodySpecs would find.
type specParser struct {
	rest     string
	version  int16
	flexible bool
}

func (p *specParser) next() byte {
	c := p.rest[0]
	p.rest = p.rest[1:]
	return c
}

// structure reads fields up to the byte that ends them, or up to the end of the text if end is 0.
func (p *specParser) structure(end byte) *structSpec {
	s := &structSpec{}
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		switch {
		case p.rest == "" && end == 0:
			return s
		case p.rest[0] == end:
			p.next()
			return s
		case p.rest[0] == '{':
			p.next()
			s.tags = p.tags()
		default:
			f := p.field()
			if p.inVersion() {
				s.add(f)
			}
		}
	}
}

// add appends a field; neighbours of fixed size become one.
func (s *structSpec) add(f fieldSpec) {
	if n := len(s.fields); f.kind == 'f' && n > 0 && s.fields[n-1].kind == 'f' {
		s.fields[n-1].size += f.size
		return
	}
	s.fields = append(s.fields, f)
}

func (p *specParser) field() fieldSpec {
	switch c := p.next(); c {
	case 'b':
		return fieldSpec{kind: 'f', size: 1}
	case 'h':
		return fieldSpec{kind: 'f', size: 2}
	case 'i':
		return fieldSpec{kind: 'f', size: 4}
	case 'l':
		return fieldSpec{kind: 'f', size: 8}
	case 'u':
		return fieldSpec{kind: 'f', size: 16}
	case 's', 'd':
		return fieldSpec{kind: c}
	case '?':
		p.next() // (
		return fieldSpec{kind: c, sub: p.structure(')')}
	case '(':
		return fieldSpec{kind: c, sub: p.structure(')')}
	case '[':
		elem := p.field()
		p.next() // ]
		return fieldSpec{kind: c, elem: &elem, size: max(1, p.leastSize(&elem))}
	default:
		panic(fmt.Sprintf("wire: %q before %q in a body spec", c, p.rest))
	}
}

func (p *specParser) tags() map[uint32]fieldSpec {
	tags := map[uint32]fieldSpec{}
	for p.rest[0] != '}' {
		tag, rest, _ := strings.Cut(p.rest, ":")
		p.rest = rest
		tags[uint32(p.number(tag))] = p.field()
		p.rest = strings.TrimLeft(p.rest, " ")
	}
	p.next()
	return tags
}

// inVersion reads the version range that may follow a field.
func (p *specParser) inVersion() bool {
	text := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, "0123456789+-"))]
	p.rest = p.rest[len(text):]
	if text == "" {
		return true
	}
	if from, open := strings.CutSuffix(text, "+"); open {
		return int(p.version) >= p.number(from)
	}
	from, to, _ := strings.Cut(text, "-")
	return int(p.version) >= p.number(from) && int(p.version) <= p.number(to)
}

func (p *specParser) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("wire: %v in a body spec before %q", err, p.rest))
	}
	return n
}

// leastSize is the least number of bytes that a field takes on the wire.
func (p *specParser) leastSize(f *fieldSpec) int {
	switch {
	case f.kind == 'f':
		return f.size
	case f.kind == '?':
		return 1
	case f.kind == '(':
		n := 0
		for i := range f.sub.fields {
			n += p.leastSize(&f.sub.fields[i])
		}
		if p.flexible {
			n++
		}
		return n
	case p.flexible:
		return 1
	case f.kind == 's':
		return 2
	default:
		return 4
	}
}

// firstFlexible is the first version of a request that uses header v2, or never.
func firstFlexible(key int16) int16 {
	if key < 0 || key > kmsg.MaxKey {
		return never
	}
	return bodySpecs[key].flexible
}
