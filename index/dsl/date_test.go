package dsl

import (
	"math"
	"testing"
	"time"
)

func TestDates(t *testing.T) {
	for _, c := range []struct {
		text, format, zone string
		down, up           string // what it means as gte, and as lte
	}{
		{"2026", "", "", "2026-01-01T00:00:00Z", "2026-01-01T23:59:59.999Z"},
		{"2026-02", "", "", "2026-02-01T00:00:00Z", "2026-02-01T23:59:59.999Z"},
		{"2026-02-03", "", "", "2026-02-03T00:00:00Z", "2026-02-03T23:59:59.999Z"},
		{"2026-02-03T04", "", "", "2026-02-03T04:00:00Z", "2026-02-03T04:59:59.999Z"},
		{"2026-02-03T04:05", "", "", "2026-02-03T04:05:00Z", "2026-02-03T04:05:59.999Z"},
		{"2026-02-03T04:05:06", "", "", "2026-02-03T04:05:06Z", "2026-02-03T04:05:06.999Z"},
		{"2026-02-03T04:05:06.7Z", "", "", "2026-02-03T04:05:06.7Z", "2026-02-03T04:05:06.7Z"},
		{"2026-02-03T04:05:06,789123456+01:30", "", "", "2026-02-03T02:35:06.789Z", "2026-02-03T02:35:06.789Z"},
		{"2026-02-03T04:05:06-0130", "", "", "2026-02-03T05:35:06Z", "2026-02-03T05:35:06.999Z"},
		{"2026-02-03", "", "Europe/Berlin", "2026-02-02T23:00:00Z", "2026-02-03T22:59:59.999Z"},
		{"2026-02-03T00:00Z", "", "Europe/Berlin", "2026-02-03T00:00:00Z", "2026-02-03T00:00:59.999Z"},
		{"2026-2-3", "date_optional_time", "", "2026-02-03T00:00:00Z", "2026-02-03T23:59:59.999Z"},
		{"1770000000123", "", "+05:00", "2026-02-02T02:40:00.123Z", "2026-02-02T02:40:00.123Z"},
		{"-1", "epoch_millis", "", "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"},
		{"1770000000.5", "epoch_second", "", "2026-02-02T02:40:00.5Z", "2026-02-02T02:40:00.5Z"},
		{"2026", "epoch_millis||strict_date_optional_time", "", "1970-01-01T00:00:02.026Z", "1970-01-01T00:00:02.026Z"},
		{"03.02.2026", "dd.MM.yyyy", "", "2026-02-03T00:00:00Z", "2026-02-03T23:59:59.999Z"},
		{"2026-02-03 04:05", "yyyy-MM-dd HH:mm", "-02:00", "2026-02-03T06:05:00Z", "2026-02-03T06:05:59.999Z"},
		{"3 Feb 2026 4 PM", "d MMM yyyy h a", "", "2026-02-03T16:00:00Z", "2026-02-03T16:59:59.999Z"},
		{"now", "", "", "2026-03-14T15:09:26.535Z", "2026-03-14T15:09:26.535Z"},
		{"now/d", "", "", "2026-03-14T00:00:00Z", "2026-03-14T23:59:59.999Z"},
		{"now/d", "", "America/New_York", "2026-03-14T04:00:00Z", "2026-03-15T03:59:59.999Z"},
		{"now-1h/h", "", "", "2026-03-14T14:00:00Z", "2026-03-14T14:59:59.999Z"},
		{"now/w", "", "", "2026-03-09T00:00:00Z", "2026-03-15T23:59:59.999Z"},
		{"now/M-1d", "", "", "2026-02-28T00:00:00Z", "2026-03-30T23:59:59.999Z"},
		{"now/y", "", "", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59.999Z"},
		{"now+2w-30s/m", "", "", "2026-03-28T15:08:00Z", "2026-03-28T15:08:59.999Z"},
		{"now-h", "", "", "2026-03-14T14:09:26.535Z", "2026-03-14T14:09:26.535Z"},
		{"2026-01-01||+1M/d", "", "", "2026-02-01T00:00:00Z", "2026-02-01T23:59:59.999Z"},
		{"2026-01-31||+1M", "", "", "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z"},
		{"2024-02-29||+1y", "", "", "2025-02-28T00:00:00Z", "2025-02-28T00:00:00Z"},
		{"2026-01-01||", "", "", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		// A day of 23 hours: noon to noon is a day all the same, and the day ends where the next begins.
		{"2026-03-28T12:00||+1d", "", "Europe/Berlin", "2026-03-29T10:00:00Z", "2026-03-29T10:00:00Z"},
		{"2026-03-29T12:00||/d", "", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999Z"},
	} {
		for up, want := range map[bool]string{false: c.down, true: c.up} {
			got, err := ParseDate(Value{Kind: String, Text: c.text}, c.format, c.zone, up, testNow)
			if err != nil {
				t.Errorf("%s: %v", c.text, err)
				continue
			}
			if shown := time.UnixMilli(got).UTC().Format(time.RFC3339Nano); shown != want {
				t.Errorf("%s by %q in %q, up %v: %s, want %s", c.text, c.format, c.zone, up, shown, want)
			}
		}
	}
}

func TestDatesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ text, format string }{
		{"", ""}, {"yesterday", ""}, {"2026-1-1", ""}, {"2026-13-01", ""}, {"2026-02-30", ""}, {"2026-01-01T24:00", ""},
		{"2026-01-01 10:00", ""}, {"2026-01-01T10:00:00+25:00", ""}, {"2026-01-01T10:00:00.", ""}, {"20260101x", ""},
		{"1e12", ""}, {"99999999999999999999", ""}, {"1.x", "epoch_second"},
		{"now-", ""}, {"now-1", ""}, {"now-1x", ""}, {"now*1d", ""}, {"now/2d", ""}, {"now/", ""}, {"nowish", ""}, {"now+99999999999y", ""}, {"now+900000y", ""},
		{"2026-01-01||d", ""}, {"2026-01-01", "epoch_millis"}, {"31.02.2026", "dd.MM.yyyy"},
	} {
		if got, err := ParseDate(Value{Kind: String, Text: c.text}, c.format, "", false, testNow); err == nil {
			t.Errorf("%q by %q is taken for %s", c.text, c.format, time.UnixMilli(got).UTC())
		}
	}
	for _, format := range []string{"", "rfc822", "ss.SSSS", "yyyy'year'", "''", "||", "yyyy||", "VV", "2006", "SSS", "S"} {
		if _, ok := parseDateFormat(format); ok != (format == "") {
			t.Errorf("the format %q is taken for one: %v", format, ok)
		}
	}
}

func TestBoundsOfRanges(t *testing.T) {
	day := func(text string) int64 {
		at, err := ParseDate(str(text), "", "", false, testNow)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct {
		name      string
		r         Range
		low, high int64
	}{
		{"open", Range{}, math.MinInt64, math.MaxInt64},
		{"gt", Range{GT: str("2026-01-01||/d")}, day("2026-01-02"), math.MaxInt64},
		{"gte", Range{GTE: str("2026-01-01||/d")}, day("2026-01-01"), math.MaxInt64},
		{"lt", Range{LT: str("2026-01-01||/d")}, math.MinInt64, day("2026-01-01") - 1},
		{"lte", Range{LTE: str("2026-01-01||/d")}, math.MinInt64, day("2026-01-02") - 1},
		{"a number", Range{GTE: num("1767225600000"), LT: num("1767225600001")}, day("2026-01-01"), day("2026-01-01")},
		{"time zone", Range{GTE: str("2026-01-01T00:00"), TimeZone: "+01:00"}, day("2025-12-31T23:00"), math.MaxInt64},
	} {
		low, high, err := c.r.Dates(testNow)
		if err != nil || low != c.low || high != c.high {
			t.Errorf("%s: [%d, %d], %v, want [%d, %d]", c.name, low, high, err, c.low, c.high)
		}
	}
	if _, _, err := (Range{GTE: str("2026"), LT: str("soon")}).Dates(testNow); err == nil {
		t.Error("a bound that is no date is accepted")
	}
}

func TestZones(t *testing.T) {
	for _, name := range []string{"", "UTC", "z", "+01:00", "-0930", "+2", "Europe/Berlin"} {
		if _, ok := Zone(name); ok != (name != "+2") {
			t.Errorf("%q is a zone: %v", name, ok)
		}
	}
	for _, name := range []string{"Local", "../zone", "/etc/localtime", "+19:00", "+01:00x", "Nowhere"} {
		if _, ok := Zone(name); ok {
			t.Errorf("%q is taken for a zone", name)
		}
	}
}

func TestFormatDate(t *testing.T) {
	berlin, _ := Zone("Europe/Berlin")
	at := testNow.UnixMilli()
	for format, want := range map[string]string{
		"": "2026-03-14T16:09:26.535+01:00", "epoch_millis": "1773500966535", "epoch_second": "1773500966",
		"yyyy-MM-dd": "2026-03-14", "EEE d MMM, HH:mm||epoch_millis": "Sat 14 Mar, 16:09", "yyyy-MM-dd'T'HH:mm:ss.SSSZ": "2026-03-14T16:09:26.535+0100",
	} {
		if got := FormatDate(at, format, berlin); got != want {
			t.Errorf("by %q: %s, want %s", format, got, want)
		}
	}
}
