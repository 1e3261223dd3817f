package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Source is the _source of a record: a JSON object. A value that is one comes as it is. JSON of another type
// (under search.format=json) and text become {"value": …}, null becomes {"value": null}, and bytes that are not
// UTF-8 {"value_base64": …}: as text they would not be what was sent.
func (m *Mapping) Source(value []byte) []byte {
	format := m.config.Format
	switch {
	case value == nil:
		return []byte(`{"value":null}`)
	case format != FormatText && beginsObject(value) && isJSON(value):
		return appendValid(nil, value)
	case format == FormatJSON && isJSON(value):
		return wrap("value", appendValid(nil, value))
	case !utf8.Valid(value):
		return wrap("value_base64", quoted(base64.StdEncoding.EncodeToString(value)))
	}
	return wrap("value", quoted(string(value)))
}

func isJSON(value []byte) bool { return new(scanner).scan(value, nil) }

func wrap(name string, json []byte) []byte {
	return append(append(append([]byte(`{"`), name+`":`...), json...), '}')
}

func quoted(text string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err) // a string cannot fail
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// maxSourcePath bounds the work of matching: many short keys may lie below a long one.
const maxSourcePath = 1024

// FilterSource is source, a JSON object, with only the paths that a pattern of includes matches (all, if
// there is none) and that none of excludes matches. A '*' in a pattern stands for any text, dots too; what
// matches a path decides on all below it. Order and notation stay. Elements of arrays are where the array is.
// A path of more than maxSourcePath bytes matches nothing. What Source cannot have made comes back as it is.
func FilterSource(source []byte, includes, excludes []string) []byte {
	if len(includes) == 0 && len(excludes) == 0 || !isJSON(source) {
		return source
	}
	f := sourceFilter{includes: includes, excludes: excludes, scanner: scanner{in: source, keepPath: true}}
	f.scanner.space()
	if !f.value(len(includes) == 0) {
		return []byte("{}")
	}
	return f.out
}

// sourceFilter copies what it keeps of a value from its scanner to out. The value is known to be JSON.
type sourceFilter struct {
	includes, excludes []string
	scanner            scanner
	out                []byte
}

// value copies the next value, as far as it is included or something below it is, and says whether there
// was any.
func (f *sourceFilter) value(included bool) bool {
	s := &f.scanner
	s.space()
	switch c := s.peek(); {
	case c == '{':
		return f.members('}', included, f.member)
	case c == '[':
		return f.members(']', included, f.value)
	case s.pos == len(s.in):
		return false
	}
	start := s.pos
	s.value(nil)
	if included {
		f.out = append(f.out, s.in[start:s.pos]...)
	}
	return included
}

// members copies an object or an array, from the bracket at hand to end.
func (f *sourceFilter) members(end byte, included bool, copyNext func(bool) bool) bool {
	s, start := &f.scanner, len(f.out)
	f.out = append(f.out, s.peek())
	s.pos++
	first := len(f.out)
	for s.space(); !s.take(end) && s.pos < len(s.in); s.space() {
		before := len(f.out)
		if before > first {
			f.out = append(f.out, ',')
		}
		if !copyNext(included) {
			f.out = f.out[:before]
		}
		s.space()
		s.take(',')
	}
	if len(f.out) == first && !included {
		f.out = f.out[:start]
		return false
	}
	f.out = append(f.out, end)
	return true
}

// member copies a key and its value.
func (f *sourceFilter) member(included bool) bool {
	s, outer := &f.scanner, len(f.scanner.path)
	defer func() { s.path, s.keys = s.path[:outer], s.keys-1 }()
	start := s.pos
	key, _ := s.string(true)
	s.pushKey(key)
	f.out = append(append(f.out, s.in[start:s.pos]...), ':')
	s.space()
	s.take(':')
	if matchesAny(f.excludes, s.path) {
		s.value(nil)
		return false
	}
	return f.value(included || matchesAny(f.includes, s.path))
}

func matchesAny(patterns []string, path []byte) bool {
	if len(path) > maxSourcePath {
		return false
	}
	text := string(path)
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, text) })
}

// Matches says whether pattern, with '*' for any text, is text: of fields as of topics.
func Matches(pattern, text string) bool { return matches(pattern, text) }

// matches says whether pattern, with '*' for any text, is text. After a mismatch only the last '*' needs to
// take more: what an earlier one could take, the last can.
func matches(pattern, text string) bool {
	p, star, resume := 0, -1, 0
	for t := 0; t < len(text); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
