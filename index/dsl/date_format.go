package dsl

import (
	"strconv"
	"strings"
	"time"
)

// A date format is one or more of these, joined by ||. Dates are read by the first that fits and shown by
// the first:
//
//	strict_date_optional_time  2026, 2026-01, 2026-01-31, 2026-01-31T10:20:30.123Z
//	date_optional_time         the same, also with single digits
//	epoch_millis epoch_second  numbers, perhaps with a fraction
//	yyyy-MM-dd HH:mm:ss        patterns of the letters in datePatternLetters
type dateFormat interface {
	// parse fills what text does not name from the start of 1970, or hours and smaller with their last if up.
	parse(text string, zone *time.Location, up bool) (time.Time, bool)
	format(t time.Time) string
}

const isoMillis = "2006-01-02T15:04:05.000Z07:00"

type (
	isoFormat   struct{ lax bool }
	epochFormat struct{ unit time.Duration }
)

// maxDateFormats bounds the alternatives of one format.
const maxDateFormats = 16

// parseDateFormat reads a format's text. Empty is DefaultDateFormat.
func parseDateFormat(text string) ([]dateFormat, bool) {
	if text == "" {
		text = DefaultDateFormat
	}
	names := strings.SplitN(text, "||", maxDateFormats+1)
	if len(names) > maxDateFormats {
		return nil, false
	}
	var formats []dateFormat
	for _, name := range names {
		switch name {
		case "strict_date_optional_time", "strict_date_time":
			formats = append(formats, isoFormat{})
		case "date_optional_time", "date_time":
			formats = append(formats, isoFormat{lax: true})
		case "epoch_millis":
			formats = append(formats, epochFormat{time.Millisecond})
		case "epoch_second":
			formats = append(formats, epochFormat{time.Second})
		default:
			pattern, ok := parseDatePattern(name)
			if !ok {
				return nil, false
			}
			formats = append(formats, pattern)
		}
	}
	return formats, true
}

// FormatDate shows a date, in milliseconds since 1970, by a format that the parsers let into a tree.
func FormatDate(millis int64, format string, zone *time.Location) string {
	formats, ok := parseDateFormat(format)
	if !ok {
		formats = []dateFormat{isoFormat{}}
	}
	return formats[0].format(time.UnixMilli(millis).In(zone))
}

func parseFormats(text, format string, zone *time.Location, up bool) (time.Time, error) {
	formats, ok := parseDateFormat(format)
	if !ok {
		return time.Time{}, refusef(IllegalArgument, "unknown date format [%s]", format)
	}
	for _, f := range formats {
		if t, ok := f.parse(text, zone, up); ok {
			return t, nil
		}
	}
	if format == "" {
		format = DefaultDateFormat
	}
	return time.Time{}, refusef(ParsingException, "failed to parse date field [%s] with format [%s]", text, format)
}

func (p *parser) dateFormat(o option) string {
	text := p.string(o)
	if _, ok := parseDateFormat(text); !ok || text == "" {
		p.unsupported(o, "date formats are strict_date_optional_time, date_optional_time, epoch_millis, epoch_second and patterns of "+datePatternLetters)
	}
	return text
}

func (p *parser) timeZone(o option) string {
	text := p.string(o)
	if _, ok := Zone(text); !ok {
		p.bad(o, "unknown time zone [%s]", text)
	}
	return text
}

func (isoFormat) format(t time.Time) string { return t.Format(isoMillis) }

// parse takes year-month-dayThour:minute:second.fraction and an offset, ending wherever a part does.
func (f isoFormat) parse(text string, zone *time.Location, up bool) (time.Time, bool) {
	c := dateCursor{rest: text, lax: f.lax}
	d := missingDate(up)
	d.year = c.number(4)
	if c.next('-') {
		d.month = c.number(2)
		if c.next('-') {
			d.day = c.number(2)
		}
	}
	if c.next('T') && c.rest != "" {
		d.hour = c.number(2)
		if c.next(':') {
			d.minute = c.number(2)
			if c.next(':') {
				d.second = c.number(2)
				if c.next('.') || c.next(',') {
					d.nanos = c.fraction()
				}
			}
		}
		zone = c.zone(zone)
	}
	if c.failed || c.rest != "" {
		return time.Time{}, false
	}
	return d.in(zone)
}

// dateParts is a date that is being read.
type dateParts struct{ year, month, day, hour, minute, second, nanos int }

func missingDate(up bool) dateParts {
	if up {
		return dateParts{1970, 1, 1, 23, 59, 59, 999_999_999}
	}
	return dateParts{1970, 1, 1, 0, 0, 0, 0}
}

// in refuses what is on no calendar; time.Date would make March 2 of February 30.
func (d dateParts) in(zone *time.Location) (time.Time, bool) {
	if d.month < 1 || d.month > 12 || d.day < 1 || d.hour > 23 || d.minute > 59 || d.second > 59 {
		return time.Time{}, false
	}
	if d.day > time.Date(d.year, time.Month(d.month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return time.Time{}, false
	}
	return time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, d.second, d.nanos, zone), true
}

// dateCursor reads the parts of a date; the first that does not fit fails it.
type dateCursor struct {
	rest   string
	lax    bool
	failed bool
}

func (c *dateCursor) next(b byte) bool {
	if c.rest == "" || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *dateCursor) digits(most int) string {
	n := 0
	for n < len(c.rest) && n < most && c.rest[n] >= '0' && c.rest[n] <= '9' {
		n++
	}
	digits := c.rest[:n]
	c.rest = c.rest[n:]
	return digits
}

// number has exactly that many digits, or up to so many if lax.
func (c *dateCursor) number(width int) int {
	digits := c.digits(width)
	n, err := strconv.Atoi(digits)
	if err != nil || (!c.lax && len(digits) < width) {
		c.failed = true
	}
	return n
}

func (c *dateCursor) fraction() int {
	digits := c.digits(9)
	n, err := strconv.Atoi((digits + "000000000")[:9])
	if err != nil || digits == "" {
		c.failed = true
	}
	return n
}

// zone is what the date itself says, or else the one given.
func (c *dateCursor) zone(given *time.Location) *time.Location {
	if c.next('Z') {
		return time.UTC
	}
	if c.rest == "" || (c.rest[0] != '+' && c.rest[0] != '-') {
		return given
	}
	seconds, rest, ok := parseOffset(c.rest)
	c.rest = rest
	c.failed = c.failed || !ok
	return offsetZone(seconds)
}

// parseOffset reads +01, +0130 or +01:30 at the start of text.
func parseOffset(text string) (seconds int, rest string, ok bool) {
	c := dateCursor{rest: text[1:]}
	hours, minutes := c.number(2), 0
	if c.next(':') || c.rest != "" {
		minutes = c.number(2)
	}
	seconds = hours*3600 + minutes*60
	if text[0] == '-' {
		seconds = -seconds
	}
	return seconds, c.rest, !c.failed && hours <= 18 && minutes <= 59
}

// parse takes a number of units since 1970, with up to nine decimals.
func (f epochFormat) parse(text string, _ *time.Location, _ bool) (time.Time, bool) {
	whole, decimals, has := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	const most = 9_000_000_000_000_000 // milliseconds, some 285,000 years
	perSecond := int64(time.Second / f.unit)
	if err != nil || strings.HasPrefix(whole, "+") || n > most/1000*perSecond || n < -most/1000*perSecond {
		return time.Time{}, false
	}
	part := 0
	if has {
		c := dateCursor{rest: decimals}
		part = c.fraction()
		if c.failed || c.rest != "" {
			return time.Time{}, false
		}
	}
	nanos := int64(part) * int64(f.unit) / int64(time.Second)
	if strings.HasPrefix(whole, "-") {
		nanos = -nanos
	}
	seconds, units := n/perSecond, n%perSecond
	return time.Unix(seconds, units*int64(f.unit)+nanos).UTC(), true
}

func (f epochFormat) format(t time.Time) string {
	return strconv.FormatInt(t.UnixMilli()/int64(f.unit/time.Millisecond), 10)
}
