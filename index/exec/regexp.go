package exec

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/index/dsl"
)

// newRegexp reads Lucene's regular expressions, which match whole terms and have no anchors:
//
//	. [a-z] [^a-z] ( ) | ? * + {n,m}    as everywhere
//	@ "text" \d \w \s \x                any text; text as it is; classes; x as it is
//
// The operators # ~ & <1-9> (nothing, complement, intersection, numbers) are refused: nothing here has them.
func newRegexp(text string, fold bool) (pattern, error) {
	if err := checkPattern(text); err != nil {
		return nil, err
	}
	t := regexpReader{rest: text}
	for t.rest != "" && t.err == nil {
		t.step()
	}
	if t.err != nil {
		return nil, t.err
	}
	out := t.out.String()
	if fold {
		out = "(?i:" + out + ")"
	}
	return newExpression(out)
}

type regexpReader struct {
	rest       string
	out        strings.Builder
	quantified bool // what was written last is a quantifier
	err        error
}

func (t *regexpReader) fail(why string) {
	t.err = refusef(dsl.IllegalArgument, "regexp: %s before [%s]", why, t.rest)
}

func (t *regexpReader) literal(text string) { t.out.WriteString(regexp.QuoteMeta(text)) }

// step reads what stands in front.
func (t *regexpReader) step() {
	c := t.rest[0]
	quantifier := strings.IndexByte("?*+{", c) >= 0
	if quantifier && t.quantified {
		t.fail("two quantifiers in a row") // to Go the second one would mean something else
		return
	}
	t.quantified = quantifier
	switch c {
	case '\\':
		t.escape()
	case '"':
		end := strings.IndexByte(t.rest[1:], '"')
		if end < 0 {
			t.fail("a quote is not closed")
			return
		}
		t.out.WriteString("(?:")
		t.literal(t.rest[1 : 1+end])
		t.out.WriteByte(')')
		t.rest = t.rest[end+2:]
	case '[':
		t.class()
	case '{':
		t.repeat()
	case '(':
		t.out.WriteString("(?:")
		t.rest = t.rest[1:]
	case '@':
		t.out.WriteString("(?:.*)")
		t.rest = t.rest[1:]
	case '#', '~', '&', '<', '>':
		t.fail("the operators # ~ & < > are not supported (\\ in front of one takes it as it is)")
	case '.', '|', ')', '?', '*', '+':
		t.out.WriteByte(c)
		t.rest = t.rest[1:]
	default:
		_, size := utf8.DecodeRuneInString(t.rest)
		t.literal(t.rest[:size])
		t.rest = t.rest[size:]
	}
}

// escape reads \d and the like, or a character that stands for itself.
func (t *regexpReader) escape() {
	if len(t.rest) < 2 {
		t.fail("nothing follows the last backslash")
		return
	}
	if strings.IndexByte("dDwWsS", t.rest[1]) >= 0 {
		t.out.WriteString(t.rest[:2])
		t.rest = t.rest[2:]
		return
	}
	_, size := utf8.DecodeRuneInString(t.rest[1:])
	t.literal(t.rest[1 : 1+size])
	t.rest = t.rest[1+size:]
}

// class reads [a-z] or [^a-z].
func (t *regexpReader) class() {
	t.out.WriteByte('[')
	t.rest = t.rest[1:]
	if strings.HasPrefix(t.rest, "^") {
		t.out.WriteByte('^')
		t.rest = t.rest[1:]
	}
	for first := true; t.err == nil; first = false {
		switch {
		case t.rest == "":
			t.fail("a class is not closed")
		case t.rest[0] == ']' && first:
			t.fail("a class is empty")
		case t.rest[0] == ']':
			t.out.WriteByte(']')
			t.rest = t.rest[1:]
			return
		case t.rest[0] == '\\':
			t.escape()
		case t.rest[0] == '-':
			t.out.WriteByte('-')
			t.rest = t.rest[1:]
		default:
			_, size := utf8.DecodeRuneInString(t.rest)
			t.literal(t.rest[:size])
			t.rest = t.rest[size:]
		}
	}
}

// repeat reads {n}, {n,} or {n,m}.
func (t *regexpReader) repeat() {
	end := strings.IndexByte(t.rest, '}')
	if end < 0 || strings.Trim(t.rest[1:end], "0123456789,") != "" || end == 1 || t.rest[1] == ',' {
		t.fail("a repetition is written {n}, {n,} or {n,m}")
		return
	}
	t.out.WriteString(t.rest[:end+1])
	t.rest = t.rest[end+1:]
}
