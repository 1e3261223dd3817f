package schema

import (
	"strconv"
	"time"
)

// parseDate reads what Elasticsearch's default format of dates allows, strict_date_optional_time or
// epoch_millis: 2026, 2026-01, 2026-01-31, 2026-01-31T12:30:00.123Z and what lies between, or ms since 1970. A blank
// instead of the T and a comma instead of the point are taken too, as loggers write them. Without a zone
// it is UTC. Four digits are a year.
func parseDate(text string) (ms int64, ok bool) {
	if len(text) != len("2026") || text[0] < '0' {
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			return ms, true
		}
	}
	d := dateReader{text: text}
	year := d.digits(4)
	month, day, hour, minute, second, nanos := 1, 1, 0, 0, 0, 0
	zone := time.UTC
	if d.skip("-") {
		month = d.digits(2)
		if d.skip("-") {
			day = d.digits(2)
			if d.skip("T ") {
				hour, minute, second, nanos = d.clock()
				zone = d.zone()
			}
		}
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone)
	ok = !d.bad && d.text == "" && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month) &&
		hour <= 23 && minute <= 59 && second <= 59
	return t.UnixMilli(), ok
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// dateReader reads the parts of a date off the front of text. Once bad it stays bad.
type dateReader struct {
	text string
	bad  bool
}

func (d *dateReader) digits(n int) (v int) {
	if len(d.text) < n {
		d.bad = true
		return 0
	}
	for i := range n {
		c := d.text[i]
		if c < '0' || c > '9' {
			d.bad = true
			return 0
		}
		v = 10*v + int(c-'0')
	}
	d.text = d.text[n:]
	return v
}

func (d *dateReader) skip(any string) bool {
	for i := range len(any) {
		if d.text != "" && d.text[0] == any[i] {
			d.text = d.text[1:]
			return true
		}
	}
	return false
}

// clock reads 12, 12:30, 12:30:45 or 12:30:45.123.
func (d *dateReader) clock() (hour, minute, second, nanos int) {
	hour = d.digits(2)
	if d.skip(":") {
		minute = d.digits(2)
		if d.skip(":") {
			second = d.digits(2)
			if d.skip(".,") {
				nanos = d.fraction()
			}
		}
	}
	return hour, minute, second, nanos
}

// fraction reads digits behind the point, as ns; those past the ninth do not count.
func (d *dateReader) fraction() (nanos int) {
	scale := int(time.Second)
	n := 0
	for ; n < len(d.text) && d.text[n] >= '0' && d.text[n] <= '9'; n++ {
		scale /= 10
		nanos += scale * int(d.text[n]-'0')
	}
	d.bad = d.bad || n == 0
	d.text = d.text[n:]
	return nanos
}

// zone reads Z, +01:00, +0100, +01, or nothing.
func (d *dateReader) zone() *time.Location {
	sign := 1
	switch {
	case d.text == "" || d.skip("Z"):
		return time.UTC
	case d.skip("-"):
		sign = -1
	case !d.skip("+"):
		d.bad = true
		return time.UTC
	}
	hours, minutes := d.digits(2), 0
	if d.skip(":") || d.text != "" {
		minutes = d.digits(2)
	}
	d.bad = d.bad || hours > 18 || minutes > 59
	return time.FixedZone("", sign*(hours*3600+minutes*60))
}
