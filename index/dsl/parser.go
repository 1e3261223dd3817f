package dsl

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parser carries what all clauses of one request share. Its first failure sticks: the rest of the parse
// goes on with zero values, and its result is thrown away.
type parser struct {
	body   []byte
	limits Limits
	now    time.Time
	err    *Error

	leaves, depth, aggs int
}

// option is a member of the object that a clause consists of.
type option struct {
	clause, name string
	node
}

func (p *parser) fail(at int, kind, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Type: kind, Reason: fmt.Sprintf(format, args...)}
		p.err.Line, p.err.Col = position(p.body, at)
	}
}

func (p *parser) bad(o option, format string, args ...any) {
	p.fail(o.at, ParsingException, "[%s] %s: %s", o.clause, o.name, fmt.Sprintf(format, args...))
}

// unsupported refuses an option that Elasticsearch has, for the reason given.
func (p *parser) unsupported(o option, reason string) {
	p.fail(o.at, IllegalArgument, "[%s] %s [%s] is not supported: %s", o.clause, o.name, o.describe(), reason)
}

func (p *parser) unknown(o option) {
	p.fail(o.at, ParsingException, "[%s] unknown option [%s]", o.clause, o.name)
}

// only accepts an option whose value says what holds anyway.
func (p *parser) only(o option, accepted ...string) {
	for _, value := range accepted {
		if strings.EqualFold(o.text, value) && o.kind != '{' && o.kind != '[' {
			return
		}
	}
	p.unsupported(o, "only "+strings.Join(accepted, ", ")+" is")
}

func (n node) describe() string {
	switch n.kind {
	case '{':
		return "object"
	case '[':
		return "array"
	}
	return n.text
}

func (n node) scalar() bool { return n.kind == '"' || n.kind == '0' || n.kind == 't' }

// options are the members of an object, and none of anything else, which fails.
func (p *parser) options(clause string, n node) []option {
	if n.kind != '{' {
		p.fail(n.at, ParsingException, "[%s] must be an object, found [%s]", clause, n.describe())
		return nil
	}
	options := make([]option, len(n.members))
	for i, m := range n.members {
		options[i] = option{clause: clause, name: m.name, node: m.node}
	}
	return options
}

func (p *parser) value(o option) Value {
	kinds := map[byte]Kind{'"': String, '0': Number, 't': Boolean}
	if !o.scalar() {
		p.bad(o, "must be a string, a number or a boolean, found [%s]", o.describe())
		return Value{}
	}
	return Value{Kind: kinds[o.kind], Text: o.text}
}

// text is the value of an option that may be written as any scalar.
func (p *parser) text(o option) string { return p.value(o).Text }

func (p *parser) string(o option) string {
	if o.kind != '"' {
		p.bad(o, "must be a string, found [%s]", o.describe())
		return ""
	}
	return o.text
}

// oneOf is a word out of a few, in any case.
func (p *parser) oneOf(o option, words ...string) string {
	text := strings.ToLower(p.string(o))
	for _, word := range words {
		if text == word {
			return word
		}
	}
	p.bad(o, "must be one of [%s], found [%s]", strings.Join(words, ", "), o.text)
	return ""
}

// boolean also reads "true", which clients send.
func (p *parser) boolean(o option) bool {
	if (o.kind != 't' && o.kind != '"') || (o.text != "true" && o.text != "false") {
		p.bad(o, "must be true or false, found [%s]", o.describe())
	}
	return o.text == "true"
}

func (p *parser) number(o option) float64 {
	f, err := strconv.ParseFloat(o.text, 64)
	if (o.kind != '0' && o.kind != '"') || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		p.bad(o, "must be a number, found [%s]", o.describe())
		return 0
	}
	return f
}

// integer is a whole number between low and high.
func (p *parser) integer(o option, low, high int) int {
	n, err := strconv.Atoi(o.text)
	if (o.kind != '0' && o.kind != '"') || err != nil {
		p.bad(o, "must be a whole number, found [%s]", o.describe())
		return low
	}
	if n < low || n > high {
		p.fail(o.at, IllegalArgument, "[%s] %s must be between %d and %d, found [%d]", o.clause, o.name, low, high, n)
		return low
	}
	return n
}

// strings is a list of strings, or one alone, or a list written with commas.
func (p *parser) strings(o option) []string {
	if o.kind == '"' {
		return splitList(o.text)
	}
	var list []string
	for _, item := range p.list(o) {
		list = append(list, p.string(item))
	}
	return list
}

// list is an array, each item under the option's name.
func (p *parser) list(o option) []option {
	if o.kind != '[' {
		p.bad(o, "must be an array, found [%s]", o.describe())
		return nil
	}
	items := make([]option, len(o.items))
	for i, item := range o.items {
		items[i] = option{clause: o.clause, name: o.name, node: item}
	}
	return items
}

// listOrOne is an array, or the one thing that would be in it.
func (p *parser) listOrOne(o option) []option {
	if o.kind != '[' {
		return []option{o}
	}
	return p.list(o)
}

func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// duration reads a whole number of one of Elasticsearch's time units, like 500ms or 5s.
func (p *parser) duration(o option) time.Duration {
	d, ok := parseDuration(p.string(o))
	if !ok {
		p.bad(o, "must be a duration like 500ms or 5s, found [%s]", o.describe())
	}
	return d
}

var durationUnits = map[string]time.Duration{
	"nanos": 1, "micros": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute,
	"h": time.Hour, "d": 24 * time.Hour,
}

func parseDuration(text string) (time.Duration, bool) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	unit, known := durationUnits[text[digits:]]
	if err != nil || !known || n > math.MaxInt64/int64(unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
