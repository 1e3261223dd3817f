package dsl

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (p *parser) termsAgg(kind string, n node) Agg {
	a := TermsAgg{Size: 10, MinDocCount: 1}
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "size":
			a.Size = p.integer(o, 1, math.MaxInt32)
			p.bucketCount(o.node, kind, a.Size)
		case "shard_size":
			a.ShardSize = p.integer(o, 1, math.MaxInt32)
			p.bucketCount(o.node, kind, a.ShardSize/2) // more than are shown, for their counts to be right
		case "min_doc_count":
			a.MinDocCount = p.integer(o, 1, math.MaxInt32)
		case "order":
			a.Order = p.orders(o)
		case "show_term_doc_count_error":
			a.ShowDocCountError = p.boolean(o)
		case "shard_min_doc_count":
			p.only(o, "0", "1")
		case "execution_hint": // how, not what
			p.oneOf(o, "map", "global_ordinals")
		case "collect_mode":
			p.oneOf(o, "depth_first", "breadth_first")
		default:
			p.metricOption(o, &a.Field, &a.Missing, &a.Format)
		}
	}
	a.Order = total(a.Order, BucketOrder{Path: []string{"_count"}, Desc: true})
	p.needsField(kind, n, a.Field)
	return a
}

var calendarUnits = map[string]CalendarUnit{
	"minute": Minute, "1m": Minute, "hour": Hour, "1h": Hour, "day": Day, "1d": Day, "week": Week, "1w": Week,
	"month": Month, "1M": Month, "quarter": Quarter, "1q": Quarter, "year": Year, "1y": Year,
}

func (p *parser) dateHistogram(kind string, n node) Agg {
	a := DateHistogramAgg{TimeZone: time.UTC}
	var extended, hard *option
	intervals := 0
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "fixed_interval":
			intervals++
			a.Fixed = p.fixedInterval(o)
		case "calendar_interval":
			intervals++
			a.Calendar = p.calendarInterval(o)
		case "interval":
			p.unsupported(o, "use fixed_interval or calendar_interval")
		case "offset":
			a.Offset = p.signedDuration(o)
		case "time_zone":
			a.TimeZone = p.location(o)
		case "min_doc_count":
			a.MinDocCount = p.integer(o, 0, math.MaxInt32)
		case "extended_bounds":
			extended = &o
		case "hard_bounds":
			hard = &o
		case "keyed":
			a.Keyed = p.boolean(o)
		case "order":
			a.Order = p.orders(o)
		default:
			p.metricOption(o, &a.Field, &a.Missing, &a.Format)
		}
	}
	if intervals != 1 {
		p.fail(n.at, IllegalArgument, "[%s] needs one of [calendar_interval, fixed_interval]", kind)
	}
	a.ExtendedBounds = p.millisBounds(extended, a.Format, a.TimeZone)
	a.HardBounds = p.millisBounds(hard, a.Format, a.TimeZone)
	if a.MinDocCount > 0 {
		a.ExtendedBounds = nil // the empty buckets that they ask for are not shown
	}
	a.Order = total(a.Order, BucketOrder{Path: []string{"_key"}})
	p.needsField(kind, n, a.Field)
	return a
}

func (p *parser) fixedInterval(o option) time.Duration {
	d := p.duration(o)
	if p.err == nil && (d < time.Millisecond || d%time.Millisecond != 0) {
		p.bad(o, "must be whole milliseconds, found [%s]", o.text)
		return time.Millisecond
	}
	return d
}

func (p *parser) calendarInterval(o option) CalendarUnit {
	unit, known := calendarUnits[p.string(o)]
	if !known {
		p.bad(o, "The supplied interval [%s] could not be parsed as a calendar interval: it is one minute, hour, day, week, month, quarter or year", o.describe())
	}
	return unit
}

// signedDuration reads +6h and -1d, as well as 6h.
func (p *parser) signedDuration(o option) time.Duration {
	text, minus := strings.CutPrefix(p.string(o), "-")
	d, ok := parseDuration(strings.TrimPrefix(text, "+"))
	if !ok || d%time.Millisecond != 0 {
		p.bad(o, "must be a duration like +6h, found [%s]", o.describe())
	}
	if minus {
		return -d
	}
	return d
}

func (p *parser) location(o option) *time.Location {
	location, ok := Zone(p.timeZone(o))
	if !ok {
		return time.UTC // timeZone has failed
	}
	return location
}

func (p *parser) millisBounds(given *option, format string, zone *time.Location) *MillisBounds {
	if given == nil {
		return nil
	}
	b := &MillisBounds{}
	for _, o := range p.options(given.name, given.node) {
		switch o.name {
		case "min":
			b.Min = p.millis(o, format, zone)
		case "max":
			b.Max = p.millis(o, format, zone)
		default:
			p.unknown(o)
		}
	}
	if b.Min != nil && b.Max != nil && *b.Min > *b.Max {
		p.bad(*given, "min [%d] cannot be greater than max [%d]", *b.Min, *b.Max)
	}
	return b
}

// millis reads the start of what a date names. Null is none. A number is milliseconds in any format.
func (p *parser) millis(o option, format string, zone *time.Location) *int64 {
	if o.kind == 'n' {
		return nil
	}
	text := p.text(o)
	if o.kind == '0' {
		format = "epoch_millis"
	}
	t, err := parseDateMath(text, format, zone, false, p.now)
	if err != nil {
		p.bad(o, "%s", reason(err))
		return nil
	}
	at := t.UnixMilli()
	return &at
}

func (p *parser) histogram(kind string, n node) Agg {
	a := HistogramAgg{}
	var extended, hard *option
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "interval":
			a.Interval = p.number(o)
		case "offset":
			a.Offset = p.number(o)
		case "min_doc_count":
			a.MinDocCount = p.integer(o, 0, math.MaxInt32)
		case "extended_bounds":
			extended = &o
		case "hard_bounds":
			hard = &o
		case "keyed":
			a.Keyed = p.boolean(o)
		case "order":
			a.Order = p.orders(o)
		default:
			p.metricOption(o, &a.Field, &a.Missing, &a.Format)
		}
	}
	if a.Interval <= 0 {
		p.fail(n.at, IllegalArgument, "[interval] must be >0 for histogram aggregation")
	}
	a.ExtendedBounds, a.HardBounds = p.bounds(extended), p.bounds(hard)
	if a.MinDocCount > 0 {
		a.ExtendedBounds = nil // the empty buckets that they ask for are not shown
	}
	a.Order = total(a.Order, BucketOrder{Path: []string{"_key"}})
	p.needsField(kind, n, a.Field)
	return a
}

func (p *parser) bounds(given *option) *Bounds {
	if given == nil {
		return nil
	}
	b := &Bounds{}
	for _, o := range p.options(given.name, given.node) {
		switch o.name {
		case "min":
			b.Min = p.optionalNumber(o)
		case "max":
			b.Max = p.optionalNumber(o)
		default:
			p.unknown(o)
		}
	}
	if b.Min != nil && b.Max != nil && *b.Min > *b.Max {
		p.bad(*given, "min [%v] cannot be greater than max [%v]", *b.Min, *b.Max)
	}
	return b
}

// optionalNumber reads a number; null is none.
func (p *parser) optionalNumber(o option) *float64 {
	if o.kind == 'n' {
		return nil
	}
	f := p.number(o)
	return &f
}

func (p *parser) rangeAgg(kind string, n node) Agg {
	a := RangeAgg{}
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "ranges":
			p.bucketCount(o.node, kind, len(o.items))
			for _, item := range p.list(o) {
				a.Ranges = append(a.Ranges, p.numberRange(item))
			}
		case "keyed":
			a.Keyed = p.boolean(o)
		default:
			p.metricOption(o, &a.Field, &a.Missing, &a.Format)
		}
	}
	p.needsRanges(kind, n, len(a.Ranges))
	p.needsField(kind, n, a.Field)
	return a
}

func (p *parser) needsRanges(kind string, n node, count int) {
	if count == 0 {
		p.fail(n.at, IllegalArgument, "No [ranges] specified for the [%s] aggregation", kind)
	}
}

func (p *parser) numberRange(item option) NumberRange {
	var r NumberRange
	for _, o := range p.options(item.clause, item.node) {
		switch o.name {
		case "key":
			r.Key = p.string(o)
		case "from":
			r.From = p.optionalNumber(o)
		case "to":
			r.To = p.optionalNumber(o)
		default:
			p.unknown(o)
		}
	}
	return r
}

func (p *parser) dateRange(kind string, n node) Agg {
	a := DateRangeAgg{TimeZone: time.UTC}
	var ranges []option
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "ranges":
			p.bucketCount(o.node, kind, len(o.items))
			ranges = p.list(o)
		case "time_zone":
			a.TimeZone = p.location(o)
		case "keyed":
			a.Keyed = p.boolean(o)
		default:
			p.metricOption(o, &a.Field, &a.Missing, &a.Format)
		}
	}
	for _, item := range ranges {
		a.Ranges = append(a.Ranges, p.millisRange(item, a.Format, a.TimeZone))
	}
	p.needsRanges(kind, n, len(a.Ranges))
	p.needsField(kind, n, a.Field)
	return a
}

func (p *parser) millisRange(item option, format string, zone *time.Location) MillisRange {
	var r MillisRange
	for _, o := range p.options(item.clause, item.node) {
		switch o.name {
		case "key":
			r.Key = p.string(o)
		case "from":
			r.From = p.millis(o, format, zone)
		case "to":
			r.To = p.millis(o, format, zone)
		default:
			p.unknown(o)
		}
	}
	return r
}

func (p *parser) percentiles(kind string, n node) Agg {
	a := PercentilesAgg{Percents: []float64{1, 5, 25, 50, 75, 95, 99}, Keyed: true, Compression: 100}
	for _, o := range p.options(kind, n) {
		switch o.name {
		case "percents":
			a.Percents = p.percents(o)
		case "keyed":
			a.Keyed = p.boolean(o)
		case "tdigest":
			a.Compression = p.compression(o, a.Compression)
		case "hdr":
			p.unsupported(o, "tdigest is")
		default:
			p.metricOption(o, &a.Field, &a.Missing, &a.Format)
		}
	}
	p.needsField(kind, n, a.Field)
	return a
}

func (p *parser) percents(o option) []float64 {
	var percents []float64
	for _, item := range p.listOrOne(o) {
		percents = append(percents, p.number(item))
	}
	slices.Sort(percents)
	p.bucketCount(o.node, o.clause, len(percents))
	if len(percents) == 0 || percents[0] < 0 || percents[len(percents)-1] > 100 || len(slices.Compact(slices.Clone(percents))) < len(percents) {
		p.fail(o.at, IllegalArgument, "[percents] must be different numbers between 0 and 100")
		return nil
	}
	return percents
}

func (p *parser) compression(digest option, compression float64) float64 {
	for _, o := range p.options("tdigest", digest.node) {
		switch o.name {
		case "compression":
			if compression = p.number(o); compression < 10 || compression > 1000 {
				p.fail(o.at, IllegalArgument, "[tdigest] compression must be between 10 and 1000, found [%s]", o.text)
			}
		case "execution_hint":
			p.oneOf(o, "default", "high_accuracy") // how, not what
		default:
			p.unknown(o)
		}
	}
	return compression
}

// has says whether metric, like 95 or 95.0, is one of the percentiles.
func (a PercentilesAgg) has(metric string) bool {
	percent, err := strconv.ParseFloat(metric, 64)
	return err == nil && slices.Contains(a.Percents, percent)
}
