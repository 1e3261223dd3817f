package exec

import (
	"time"

	"github.com/chronik-stream/chronik/index/dsl"
)

// rounding cuts time into the buckets of a date histogram. An interval of the calendar begins when the clocks of
// its time zone say so; a fixed one is counted in local time, so that 12 hours begin at midnight and noon.
type rounding struct {
	unit   dsl.CalendarUnit
	fixed  int64 // ms; 0: unit
	offset int64 // ms
	zone   *time.Location

	start, end int64 // the bucket found last, [start, end), before offset
}

func newRounding(a dsl.DateHistogramAgg) *rounding {
	return &rounding{unit: a.Calendar, fixed: a.Fixed.Milliseconds(), offset: a.Offset.Milliseconds(), zone: a.TimeZone}
}

// down is the beginning of the bucket that ms falls into.
func (r *rounding) down(ms int64) int64 {
	ms -= r.offset
	if ms < r.start || ms >= r.end {
		r.start = r.begin(ms)
		r.end = r.after(r.start)
	}
	return r.start + r.offset
}

// next is the beginning of the bucket behind the one that begins at start.
func (r *rounding) next(start int64) int64 { return r.after(start-r.offset) + r.offset }

func (r *rounding) begin(ms int64) int64 {
	if r.fixed > 0 {
		return r.evenly(ms, r.fixed)
	}
	switch r.unit {
	case dsl.Minute:
		return r.evenly(ms, time.Minute.Milliseconds())
	case dsl.Hour:
		return r.evenly(ms, time.Hour.Milliseconds())
	}
	t := time.UnixMilli(ms).In(r.zone)
	y, m, d := t.Date()
	switch r.unit {
	case dsl.Week:
		d -= (int(t.Weekday()) + 6) % 7
	case dsl.Month:
		d = 1
	case dsl.Quarter:
		m, d = m-(m-1)%3, 1
	case dsl.Year:
		m, d = 1, 1
	}
	return min(r.dayStart(y, m, d), ms)
}

// evenly rounds local time. Where the clocks were set in between, the beginning keeps the offset it had itself.
func (r *rounding) evenly(ms, interval int64) int64 {
	local := ms + r.zoneOffset(ms)
	start := local - floorMod(local, interval)
	utc := start - r.zoneOffset(ms)
	if o := r.zoneOffset(utc); o != r.zoneOffset(ms) {
		utc = start - o
	}
	return min(utc, ms)
}

func (r *rounding) zoneOffset(ms int64) int64 {
	_, seconds := time.UnixMilli(ms).In(r.zone).Zone()
	return int64(seconds) * 1000
}

// dayStart is the first moment of a day. There are days without midnight, as the clocks skip it.
func (r *rounding) dayStart(y int, m time.Month, d int) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, r.zone)
	if h := t.Hour(); h > 12 { // still the day before
		return t.Add(time.Duration(24-h) * time.Hour).UnixMilli()
	}
	return t.UnixMilli()
}

// after is the end of the bucket that begins at start: the first moment whose bucket is another one.
func (r *rounding) after(start int64) int64 {
	if r.fixed > 0 {
		return r.afterEven(start, r.fixed)
	}
	switch r.unit {
	case dsl.Minute:
		return r.afterEven(start, time.Minute.Milliseconds())
	case dsl.Hour:
		return r.afterEven(start, time.Hour.Milliseconds())
	}
	y, m, d := time.UnixMilli(start).In(r.zone).Date()
	switch r.unit {
	case dsl.Week:
		d += 7
	case dsl.Month:
		m++
	case dsl.Quarter:
		m += 3
	case dsl.Year:
		y++
	default:
		d++
	}
	return r.dayStart(y, m, d)
}

// afterEven looks behind the interval, whose length the clocks may have changed.
func (r *rounding) afterEven(start, interval int64) int64 {
	next := start + interval
	if r.zoneOffset(start) == r.zoneOffset(next) {
		return next
	}
	if b := r.evenly(next, interval); b > start {
		return b
	}
	return r.evenly(next+interval, interval)
}

func floorMod(a, b int64) int64 {
	if m := a % b; m < 0 {
		return m + b
	} else {
		return m
	}
}
