package dsl

import (
	"strings"
	"time"
)

// datePatternLetters are what a pattern may be made of, beside other characters and 'quoted' single letters.
const datePatternLetters = "yyyy uuuu yy MM M dd d HH hh h mm ss SSS a EEE EEEE MMM MMMM XXX XX Z"

// datePattern is a pattern of Java's letters as a layout of Go's.
type datePattern struct {
	layout string
	names  [6]bool // of year … second: in the pattern
	zoned  bool
}

// part is an index into names.
const (
	yearPart = iota
	monthPart
	dayPart
	hourPart
	minutePart
	secondPart
	otherPart
	zonePart
)

var dateLayouts = map[string]struct {
	layout string
	part   int
}{
	"yyyy": {"2006", yearPart}, "uuuu": {"2006", yearPart}, "yy": {"06", yearPart}, "uu": {"06", yearPart},
	"MM": {"01", monthPart}, "M": {"1", monthPart}, "MMM": {"Jan", monthPart}, "MMMM": {"January", monthPart},
	"dd": {"02", dayPart}, "d": {"2", dayPart}, "EEE": {"Mon", otherPart}, "EEEE": {"Monday", otherPart},
	"HH": {"15", hourPart}, "hh": {"03", hourPart}, "h": {"3", hourPart}, "a": {"PM", otherPart},
	"mm": {"04", minutePart}, "ss": {"05", secondPart}, "SSS": {"000", otherPart},
	"XXX": {"Z07:00", zonePart}, "XX": {"Z0700", zonePart}, "Z": {"-0700", zonePart},
}

func parseDatePattern(pattern string) (datePattern, bool) {
	var d datePattern
	var layout strings.Builder
	for rest := pattern; rest != ""; {
		token := leadingRun(rest)
		rest = rest[len(token):]
		switch c := token[0]; {
		case isLetter(c):
			known, ok := dateLayouts[token]
			if !ok || (token == "SSS" && !strings.HasSuffix(layout.String(), "05.") && !strings.HasSuffix(layout.String(), "05,")) {
				return d, false
			}
			if known.part < len(d.names) {
				d.names[known.part] = true
			}
			d.zoned = d.zoned || known.part == zonePart
			layout.WriteString(known.layout)
		case c == '\'':
			if len(rest) < 2 || !isLetter(rest[0]) || rest[1] != '\'' {
				return d, false
			}
			layout.WriteByte(rest[0]) // one letter alone means nothing to Go's layouts
			rest = rest[2:]
		case strings.IndexByte(" -/.:,", c) >= 0:
			layout.WriteString(token)
		default:
			return d, false
		}
	}
	d.layout = layout.String()
	return d, d.names[yearPart] || d.names[hourPart] || d.names[monthPart] || d.names[dayPart]
}

// leadingRun is the same letter over and over, or one other character.
func leadingRun(s string) string {
	n := 1
	for isLetter(s[0]) && n < len(s) && s[n] == s[0] {
		n++
	}
	return s[:n]
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func (d datePattern) format(t time.Time) string { return t.Format(d.layout) }

func (d datePattern) parse(text string, zone *time.Location, up bool) (time.Time, bool) {
	t, err := time.ParseInLocation(d.layout, text, zone)
	if err != nil {
		return time.Time{}, false
	}
	parts := missingDate(up)
	given := [6]int{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second()}
	for i, to := range []*int{&parts.year, &parts.month, &parts.day, &parts.hour, &parts.minute, &parts.second} {
		if d.names[i] {
			*to = given[i]
		}
	}
	if t.Nanosecond() != 0 || strings.Contains(d.layout, "000") {
		parts.nanos = t.Nanosecond()
	}
	return parts.in(t.Location())
}
