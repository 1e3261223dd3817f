package dsl

import (
	"fmt"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // time zones by name, also in an image without them
)

// DefaultDateFormat is how dates are read and shown where the client says nothing.
const DefaultDateFormat = "strict_date_optional_time||epoch_millis"

// Dates reads the bounds of a range over a date field: the records wanted are those within [low, high], in
// milliseconds since 1970. An open end is the least or greatest int64; low > high means none.
//
// As in Elasticsearch, GT and LTE mean the end of what a bound names: "lte 2026-01-01||/M" is the last
// millisecond of January, and hours and smaller that a bound does not name count as their last.
func (r Range) Dates(now time.Time) (low, high int64, err error) {
	low, high = math.MinInt64, math.MaxInt64
	read := func(v Value, up bool, to *int64, shift int64) {
		if v.Kind == None || err != nil {
			return
		}
		var at int64
		if at, err = ParseDate(v, r.Format, r.TimeZone, up, now); err == nil {
			*to = at + shift
		}
	}
	read(r.GT, true, &low, 1)
	read(r.GTE, false, &low, 0)
	read(r.LT, false, &high, -1)
	read(r.LTE, true, &high, 0)
	return low, high, err
}

// ParseDate reads a date or date math as milliseconds since 1970. The format is empty or one that the
// parsers let into a tree, and so is the zone. up asks for the end instead of the beginning of what the date
// names.
func ParseDate(v Value, format, zone string, up bool, now time.Time) (int64, error) {
	location, ok := Zone(zone)
	if !ok {
		return 0, refusef(IllegalArgument, "unknown time zone [%s]", zone)
	}
	t, err := parseDateMath(v.Text, format, location, up, now)
	if err != nil {
		return 0, err
	}
	if year := t.Year(); year < -290_000 || year > 290_000 {
		return 0, refusef(IllegalArgument, "date [%s] is out of range", v.Text)
	}
	return t.UnixMilli(), nil
}

// Zone is the time zone by that name: empty for UTC, an offset like +01:00, or a name like Europe/Berlin.
func Zone(name string) (*time.Location, bool) {
	switch {
	case name == "" || strings.EqualFold(name, "utc") || strings.EqualFold(name, "z"):
		return time.UTC, true
	case name[0] == '+' || name[0] == '-':
		seconds, rest, ok := parseOffset(name)
		if !ok || rest != "" {
			return nil, false
		}
		return offsetZone(seconds), true
	case strings.EqualFold(name, "local"):
		return nil, false // a node's own zone would give each node its own answer
	}
	location, err := time.LoadLocation(name)
	return location, err == nil
}

func offsetZone(seconds int) *time.Location {
	if seconds == 0 {
		return time.UTC
	}
	sign, s := '+', seconds
	if s < 0 {
		sign, s = '-', -s
	}
	return time.FixedZone(fmt.Sprintf("%c%02d:%02d", sign, s/3600, s/60%60), seconds)
}

// parseDateMath reads now or DATE||, followed by steps, or a plain date.
func parseDateMath(text, format string, zone *time.Location, up bool, now time.Time) (time.Time, error) {
	if steps, ok := strings.CutPrefix(text, "now"); ok {
		return dateSteps(text, steps, now.In(zone), up)
	}
	date, steps, math := strings.Cut(text, "||")
	t, err := parseFormats(date, format, zone, up && !math)
	if err != nil || !math {
		return t, err
	}
	return dateSteps(text, steps, t.In(zone), up)
}

// dateSteps applies steps like +1M, -2h and /d, from left to right, in t's time zone.
func dateSteps(text, steps string, t time.Time, up bool) (time.Time, error) {
	wrong := refusef(ParsingException, "failed to parse date math [%s]: steps are like +1d, -2h and /M", text)
	for steps != "" {
		op := steps[0]
		n, rest, given := leadingNumber(steps[1:])
		if rest == "" || strings.IndexByte("+-/", op) < 0 || n > 1_000_000_000 || (op == '/' && given && n != 1) {
			return t, wrong
		}
		unit := rest[0]
		steps = rest[1:]
		if strings.IndexByte("yMwdhHms", unit) < 0 {
			return t, wrong
		}
		switch op {
		case '/':
			t = roundDate(t, unit, up)
		case '-':
			t = addDate(t, unit, -n)
		default:
			t = addDate(t, unit, n)
		}
		if year := t.Year(); year < -1_000_000 || year > 1_000_000 {
			return t, refusef(IllegalArgument, "date math [%s] is out of range", text)
		}
	}
	return t, nil
}

// leadingNumber reads digits; without any the number is 1.
func leadingNumber(s string) (n int, rest string, given bool) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int(s[i]-'0'), math.MaxInt32) // far over every limit already
	}
	if i == 0 {
		return 1, s, false
	}
	return n, s[i:], true
}

func addDate(t time.Time, unit byte, n int) time.Time {
	switch unit {
	case 'y':
		return addMonths(t, 12*n)
	case 'M':
		return addMonths(t, n)
	case 'w':
		return t.AddDate(0, 0, 7*n)
	case 'd':
		return t.AddDate(0, 0, n)
	case 'm':
		return addSeconds(t, 60*n)
	case 's':
		return addSeconds(t, n)
	}
	return addSeconds(t, 3600*n)
}

// addSeconds reaches beyond the 292 years of a time.Duration.
func addSeconds(t time.Time, n int) time.Time {
	return time.Unix(t.Unix()+int64(n), int64(t.Nanosecond())).In(t.Location())
}

// addMonths keeps the day where the month has it and else takes the month's last: January 31 plus one month
// is February 28, where AddDate would go on to March 3.
func addMonths(t time.Time, n int) time.Time {
	first := time.Date(t.Year(), t.Month(), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location()).AddDate(0, n, 0)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// roundDate is the start of t's unit, or with up its last millisecond.
func roundDate(t time.Time, unit byte, up bool) time.Time {
	year, month, day := t.Date()
	hour, minute, second := t.Hour(), t.Minute(), t.Second()
	switch unit {
	case 'y':
		month, day, hour, minute, second = 1, 1, 0, 0, 0
	case 'M':
		day, hour, minute, second = 1, 0, 0, 0
	case 'w':
		day, hour, minute, second = day-(int(t.Weekday())+6)%7, 0, 0, 0
	case 'd':
		hour, minute, second = 0, 0, 0
	case 'h', 'H':
		minute, second = 0, 0
	case 'm':
		second = 0
	}
	start := time.Date(year, month, day, hour, minute, second, 0, t.Location())
	if !up {
		return start
	}
	return addDate(start, unit, 1).Add(-time.Millisecond)
}
