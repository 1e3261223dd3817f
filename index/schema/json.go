package schema

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deeply objects and arrays may nest in what is taken for JSON.
const maxDepth = 64

// leafKind is the JSON type of a scalar. A null is no leaf: it is as if the key were not there.
type leafKind uint8

const (
	stringLeaf leafKind = iota
	numberLeaf
	booleanLeaf
)

// visitor is shown the leaves of a JSON value in their order. text is a string without quotes and escapes,
// or a number, true or false as written; it is valid UTF-8, and only during the call.
type visitor interface {
	leaf(n *node, path []byte, kind leafKind, text []byte)
}

// node is a place on the way from the top of a value to mapped paths; nil leads to none. An array is no
// place of its own: its elements are where it is.
type node struct {
	children map[string]*node
	plan     int
	isPath   bool // a mapped path ends here: plan
}

func (n *node) add(path string, plan int) {
	key, rest, more := strings.Cut(path, ".")
	child := n.children[key]
	if child == nil {
		child = &node{}
		if n.children == nil {
			n.children = map[string]*node{}
		}
		n.children[key] = child
	}
	if more {
		child.add(rest, plan)
		return
	}
	child.plan, child.isPath = plan, true
}

// child is where key leads. A dot within key is a dot of the path: {"user.id":1} is {"user":{"id":1}}.
func (n *node) child(key []byte) *node {
	for n != nil {
		dot := bytes.IndexByte(key, '.')
		if dot < 0 {
			return n.children[string(key)]
		}
		n = n.children[string(key[:dot])]
		key = key[dot+1:]
	}
	return nil
}

// scanner reads one JSON value, whole and strictly, and shows the leaves that mapped paths lead to; with all also
// the others. It agrees with encoding/json on what is JSON and on what it holds, except for maxDepth.
type scanner struct {
	in      []byte
	pos     int
	depth   int
	visitor visitor
	all     bool

	keepPath bool // path is kept, at the price of a copy of each key
	path     []byte
	keys     int    // that path consists of
	scratch  []byte // strings with escapes
}

// scan says whether all of in is one JSON value. If it is not, some leaves may have been shown nevertheless.
func (s *scanner) scan(in []byte, root *node) bool {
	s.in, s.pos, s.depth, s.path, s.keys = in, 0, 0, s.path[:0], 0
	ok := s.value(root)
	s.space()
	ok = ok && s.pos == len(s.in)
	s.in = nil
	return ok
}

func (s *scanner) space() {
	for s.pos < len(s.in) && (s.in[s.pos] == ' ' || s.in[s.pos] == '\n' || s.in[s.pos] == '\t' || s.in[s.pos] == '\r') {
		s.pos++
	}
}

// peek is the next byte, 0 at the end. No rule of JSON begins with a 0 byte.
func (s *scanner) peek() byte {
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) value(n *node) bool {
	s.space()
	switch c := s.peek(); {
	case c == '{':
		return s.nested(n, (*scanner).object)
	case c == '[':
		return s.nested(n, (*scanner).array)
	case c == '"':
		text, ok := s.string(s.shows(n))
		return ok && s.show(n, stringLeaf, text)
	case c == '-' || '0' <= c && c <= '9':
		text, ok := s.number()
		return ok && s.show(n, numberLeaf, text)
	case c == 't':
		return s.word("true") && s.show(n, booleanLeaf, []byte("true"))
	case c == 'f':
		return s.word("false") && s.show(n, booleanLeaf, []byte("false"))
	}
	return s.word("null")
}

func (s *scanner) shows(n *node) bool { return s.all || n != nil && n.isPath }

func (s *scanner) show(n *node, kind leafKind, text []byte) bool {
	if s.shows(n) {
		s.visitor.leaf(n, s.path, kind, text)
	}
	return true
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.in[s.pos:], []byte(w)) {
		return false
	}
	s.pos += len(w)
	return true
}

func (s *scanner) nested(n *node, read func(*scanner, *node) bool) bool {
	if s.depth == maxDepth {
		return false
	}
	s.pos++
	s.depth++
	ok := read(s, n)
	s.depth--
	return ok
}

func (s *scanner) object(n *node) bool {
	s.space()
	if s.take('}') {
		return true
	}
	for {
		s.space()
		key, ok := s.string(n != nil || s.keepPath)
		if !ok {
			return false
		}
		child, outer := n.child(key), len(s.path)
		s.pushKey(key)
		s.space()
		if !s.take(':') || !s.value(child) {
			return false
		}
		s.path, s.keys = s.path[:outer], s.keys-1
		s.space()
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *scanner) pushKey(key []byte) {
	if s.keepPath {
		if s.keys > 0 {
			s.path = append(s.path, '.')
		}
		s.path = append(s.path, key...)
	}
	s.keys++
}

func (s *scanner) array(n *node) bool {
	s.space()
	if s.take(']') {
		return true
	}
	for {
		if !s.value(n) {
			return false
		}
		s.space()
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// number is -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number() (text []byte, ok bool) {
	start := s.pos
	s.take('-')
	if !s.take('0') && !s.digits() {
		return nil, false
	}
	if s.take('.') && !s.digits() {
		return nil, false
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			return nil, false
		}
	}
	return s.in[start:s.pos], true
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.in) && '0' <= s.in[s.pos] && s.in[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// string reads a string. Its text comes only if it is wanted; most have no escapes and are not copied.
func (s *scanner) string(wanted bool) (text []byte, ok bool) {
	if !s.take('"') {
		return nil, false
	}
	start, ascii := s.pos, true
	for s.pos < len(s.in) {
		switch c := s.in[s.pos]; {
		case c == '"':
			text = s.in[start:s.pos]
			s.pos++
			if wanted && !ascii && !utf8.Valid(text) {
				s.scratch = appendValid(s.scratch[:0], text)
				text = s.scratch
			}
			return text, true
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, false
		default:
			ascii = ascii && c < utf8.RuneSelf
			s.pos++
		}
	}
	return nil, false
}

// escaped reads the rest of a string that began at start and whose first escape is next.
func (s *scanner) escaped(start int) (text []byte, ok bool) {
	out := append(s.scratch[:0], s.in[start:s.pos]...)
	for s.pos < len(s.in) {
		c := s.in[s.pos]
		s.pos++
		switch {
		case c == '"':
			s.scratch = out
			if !utf8.Valid(out) {
				s.scratch = appendValid(nil, out)
			}
			return s.scratch, true
		case c == '\\':
			if out, ok = s.escape(out); !ok {
				return nil, false
			}
		case c < ' ':
			return nil, false
		default:
			out = append(out, c)
		}
	}
	return nil, false
}

// escape reads what follows a backslash.
func (s *scanner) escape(out []byte) ([]byte, bool) {
	c := s.peek()
	s.pos++
	if c == 'u' {
		r, ok := s.hex4()
		if utf16.IsSurrogate(r) {
			r = s.surrogate(r)
		}
		return utf8.AppendRune(out, r), ok
	}
	i := strings.IndexByte(`"\/bfnrt`, c)
	if i < 0 || c == 0 {
		return nil, false
	}
	return append(out, "\"\\/\b\f\n\r\t"[i]), true
}

// surrogate joins the half r with the other half if that follows. A half alone is U+FFFD.
func (s *scanner) surrogate(r rune) rune {
	here := s.pos
	if s.take('\\') && s.take('u') {
		if low, ok := s.hex4(); ok {
			if joined := utf16.DecodeRune(r, low); joined != utf8.RuneError {
				return joined
			}
		}
	}
	s.pos = here
	return utf8.RuneError
}

func (s *scanner) hex4() (r rune, ok bool) {
	if s.pos+4 > len(s.in) {
		return 0, false
	}
	for _, c := range s.in[s.pos : s.pos+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.pos += 4
	return r, true
}
