package dsl

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// dump shows a tree on lines, one per field that is not zero.
func dump(v any) string {
	var b strings.Builder
	dumpValue(&b, reflect.ValueOf(v), "")
	return b.String() + "\n"
}

func dumpValue(b *strings.Builder, v reflect.Value, indent string) {
	switch scalar := v.Interface().(type) {
	case Value:
		fmt.Fprintf(b, "%s %q", [...]string{"None", "String", "Number", "Boolean"}[scalar.Kind], scalar.Text)
		return
	case time.Time:
		b.WriteString(scalar.Format(time.RFC3339Nano))
		return
	case *time.Location, time.Duration:
		fmt.Fprint(b, scalar)
		return
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		dumpValue(b, v.Elem(), indent)
	case reflect.Struct:
		b.WriteString(v.Type().Name())
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				b.WriteString("\n" + indent + "  " + v.Type().Field(i).Name + ": ")
				dumpValue(b, f, indent+"  ")
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			fmt.Fprintf(b, "%q", v.Interface())
			return
		}
		for i := range v.Len() {
			b.WriteString("\n" + indent + "- ")
			dumpValue(b, v.Index(i), indent+"  ")
		}
	case reflect.String:
		fmt.Fprintf(b, "%q", v.Interface())
	default:
		fmt.Fprint(b, v.Interface())
	}
}

// queryText writes a tree that came from a query string as one that means the same. Every leaf names its
// field, so that no two of them are read as one.
func queryText(q Query) string {
	if b, is := q.(Bool); is {
		return boolText(b)
	}
	return clauseText(q)
}

func boolText(b Bool) string {
	var parts []string
	for _, q := range b.Must {
		parts = append(parts, "+"+clauseText(q))
	}
	for _, q := range b.Should {
		parts = append(parts, clauseText(q))
	}
	for _, q := range b.MustNot {
		parts = append(parts, "-"+clauseText(q))
	}
	return strings.Join(parts, " ")
}

func clauseText(q Query) string {
	switch q := q.(type) {
	case Bool:
		return "(" + boolText(q) + ")"
	case Boosted:
		inner := clauseText(q.Query)
		if _, twice := q.Query.(Boosted); twice {
			inner = "(" + inner + ")"
		}
		return inner + "^" + strconv.FormatFloat(q.Boost, 'f', -1, 64)
	case MatchAll:
		return "*:*"
	case MatchNone:
		return ""
	case IDs:
		if len(q.Values) == 0 {
			return "_id:nobody"
		}
		return "_id:" + q.Values[0].String()
	case Exists:
		return "_exists_:" + escapeWord(q.Field)
	}
	field, _ := fieldOf(q)
	return escapeWord(field) + ":" + termText(q)
}

func termText(q Query) string {
	switch q := q.(type) {
	case Match:
		return escapeWord(q.Text)
	case MatchPhrase:
		return quote(q.Text)
	case Prefix:
		return escapeWord(q.Value) + "*"
	case Wildcard:
		return escapePattern(q.Pattern)
	case Regexp:
		return "/" + q.Pattern + "/"
	case Fuzzy:
		if q.Fuzziness.Auto {
			return escapeWord(q.Value) + "~"
		}
		return escapeWord(q.Value) + "~" + strconv.Itoa(q.Fuzziness.Distance)
	case Range:
		low, high, opening, closing := q.GTE, q.LTE, "[", "]"
		if q.GT.Kind != None {
			low, opening = q.GT, "{"
		}
		if q.LT.Kind != None {
			high, closing = q.LT, "}"
		}
		return opening + boundText(low) + " TO " + boundText(high) + closing
	}
	panic(fmt.Sprintf("%T comes from no query string", q))
}

func boundText(v Value) string {
	if v.Kind == None {
		return "*"
	}
	return quote(v.Text)
}

func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

func escapeWord(text string) string {
	switch text {
	case "AND", "OR", "NOT", "&&", "||":
		return `\` + text
	}
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(queryStringSpecials+"\\<>\u3000", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// escapePattern leaves alone what a pattern has escaped itself.
func escapePattern(pattern string) string {
	var b strings.Builder
	literal := false
	for _, r := range pattern {
		switch {
		case literal, r == '*', r == '?':
			b.WriteRune(r)
			literal = false
		case r == '\\':
			b.WriteRune(r)
			literal = true
		default:
			b.WriteString(escapeWord(string(r)))
		}
	}
	return b.String()
}
