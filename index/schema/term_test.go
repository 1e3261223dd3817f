package schema

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDates(t *testing.T) {
	for text, want := range map[string]string{
		"2026": "2026-01-01T00:00:00Z", "2026-02": "2026-02-01T00:00:00Z", "2024-02-29": "2024-02-29T00:00:00Z",
		"2026-01-31T12": "2026-01-31T12:00:00Z", "2026-01-31T12:30": "2026-01-31T12:30:00Z",
		"2026-01-31T12:30:45Z": "2026-01-31T12:30:45Z", "2026-01-31 12:30:45,123": "2026-01-31T12:30:45.123Z",
		"2026-01-31T12:30:45.123456789+01:00": "2026-01-31T11:30:45.123Z", "2026-01-31T12:30-0530": "2026-01-31T18:00:00Z",
		"2026-01-31T12:30:45+01": "2026-01-31T11:30:45Z", "0000-01-01": "0000-01-01T00:00:00Z",
		"1767225600000": "2026-01-01T00:00:00Z", "-1": "1969-12-31T23:59:59.999Z", "12345": "1970-01-01T00:00:12.345Z", "7": "1970-01-01T00:00:00.007Z", "-123": "1969-12-31T23:59:59.877Z",
	} {
		ms, ok := parseDate(text)
		if got := time.UnixMilli(ms).UTC().Format(time.RFC3339Nano); !ok || got != want {
			t.Errorf("%s is %s (%t), not %s", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "x", "2026-", "2026-1", "2026-13", "2026-00-01", "2026-02-29", "2026-01-32", "2026-01-00", "2026-01-31T",
		"2026-01-31T24", "2026-01-31T12:60", "2026-01-31T12:30:60", "2026-01-31T12:30:45.", "2026-01-31T12:30:45 Z",
		"2026-01-31Z", "2026-01-31T12+1", "2026-01-31T12:30:45+19:00", "2026-01-31T12:30:45ZZ", "-x12", "9223372036854775808", "1e3",
	} {
		if ms, ok := parseDate(text); ok {
			t.Errorf("%q is %s", text, time.UnixMilli(ms).UTC())
		}
	}
}

// What Go prints we read, to the millisecond.
func TestDatesAgreeWithGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(-62167219200000, 253402300799999).Draw(t, "ms") // the years 0 to 9999
		zone := time.FixedZone("", 60*rapid.IntRange(-18*60, 18*60).Draw(t, "minutes"))
		layout := rapid.SampledFrom([]string{"2006-01-02T15:04:05.000Z07:00", "2006-01-02 15:04:05.000000-0700"}).Draw(t, "layout")
		at := time.UnixMilli(ms).In(zone)
		if at.Year() < 0 || at.Year() > 9999 {
			return // the zone led out of these years
		}
		text := at.Format(layout)
		if got, ok := parseDate(text); !ok || got != ms {
			t.Fatalf("%s is %d (%t), not %d", text, got, ok, ms)
		}
	})
}

func TestTermsOfQueryValues(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, want string // empty: no record can hold it
	}{
		{Keyword, "Warn ", "Warn "}, {Keyword, strings.Repeat("x", MaxKeyword+1), ""},
		{Long, "7", LongTerm(7)}, {Long, "-7.0", LongTerm(-7)}, {Long, "1.2e3", LongTerm(1200)}, {Long, "1200e-2", LongTerm(12)},
		{Long, "1.5", ""}, {Long, "9223372036854775807", LongTerm(1<<63 - 1)}, {Long, "9223372036854775808", ""},
		{Long, "-9223372036854775808.00", LongTerm(-1 << 63)}, {Long, "-9223372036854775809", ""},
		{Long, "1e999999999999999999999", ""}, {Long, "0e999999999", LongTerm(0)}, {Long, "1e-1", ""}, {Long, "9007199254740993.0", LongTerm(9007199254740993)},
		{Double, "7", DoubleTerm(7)}, {Double, "-0.0", DoubleTerm(0)}, {Date, "1970-01-01T00:00:01Z", DateTerm(1000)},
		{Timestamp, "10000", TimestampTerm(10000)}, {Boolean, "true", "true"},
		{IP, "10.0.0.1", "00000000000000000000ffff0a000001"}, {IP, "::FFFF:10.0.0.1", "00000000000000000000ffff0a000001"},
	} {
		term, some, err := Field{Path: "f", Kind: c.kind}.Term(c.text)
		if err != nil || some != (c.want != "") || some && term != c.want {
			t.Errorf("%s %.40s: %.40q, %t, %v; not %.40q", c.kind, c.text, term, some, err, c.want)
		}
	}
	for kind, texts := range map[Kind][]string{
		Long: {"", "x", "0x10", "1_000", "-", ".", "1e", "1e5.5", "--1", "NaN"}, Double: {"", "inf", "NaN", "0x1p4", "1_0", "1e999"},
		Date: {"yesterday"}, Boolean: {"1", "TRUE", ""}, IP: {"10.0.0.0/8", "fe80::1%eth0", ""},
	} {
		for _, text := range texts {
			_, _, err := Field{Path: "f", Kind: kind}.Term(text)
			var valueErr *ValueError
			if !errors.As(err, &valueErr) || !strings.Contains(err.Error(), "[f] of kind "+kind.String()) {
				t.Errorf("%s %q: %v", kind, text, err)
			}
		}
	}
	long := strings.Repeat("x", MaxKeyword+1)
	if term, some, err := (Field{Path: KeyField, Kind: Keyword}).Term(long); err != nil || !some || term != KeyTerm([]byte(long)) {
		t.Errorf("%.20s %t %v", term, some, err)
	}
}

func TestTermsComeBackAsValues(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		term   string
		value  any
		number float64
	}{
		{Long, LongTerm(-5), int64(-5), -5}, {Double, DoubleTerm(2.5), 2.5, 2.5}, {Date, DateTerm(-1), int64(-1), -1},
		{Timestamp, TimestampTerm(9), int64(9), 9}, {Boolean, "true", true, 1}, {Boolean, "false", false, 0},
	} {
		f := Field{Kind: c.kind}
		if n, ok := f.Number([]byte(c.term)); f.Value([]byte(c.term)) != c.value || !ok || n != c.number {
			t.Errorf("%s %s: %v, %v (%t)", c.kind, c.term, f.Value([]byte(c.term)), n, ok)
		}
	}
	if got := (Field{Kind: IP}).Value([]byte("00000000000000000000ffff0a000001")); got != "10.0.0.1" {
		t.Error(got)
	}
	if got := (Field{Kind: Keyword}).Value([]byte("k")); got != "k" {
		t.Error(got)
	}
	if n, ok := (Field{Kind: Keyword}).Number([]byte("7")); ok {
		t.Error("a keyword is no number:", n)
	}
}

func TestFold(t *testing.T) {
	for f, want := range map[Field]string{
		{Kind: Keyword}: "ÉCO", {Kind: Text, Analyzer: "keyword"}: "ÉCO", {Kind: Text, Analyzer: DefaultAnalyzer}: "éco", {Kind: Text, Analyzer: "en"}: "éco",
	} {
		if got := f.Fold("ÉCO"); got != want {
			t.Errorf("%s: %s", f, got)
		}
	}
	for _, name := range Analyzers() {
		whole := terms(Analyze(name, []byte("Zebra")))
		if folded := (Field{Kind: Text, Analyzer: name}).Fold("Zeb"); !strings.HasPrefix(whole, folded) {
			t.Errorf("%s: %s does not begin %s", name, folded, whole)
		}
	}
}

func TestRanges(t *testing.T) {
	in, ex := func(s string) *Bound { return &Bound{Text: s} }, func(s string) *Bound { return &Bound{s, true} }
	for _, c := range []struct {
		kind    Kind
		lo, hi  *Bound
		inside  []string
		outside []string
	}{
		{Double, ex("0"), in("0.1"), []string{"1e-300", "0.1"}, []string{"0", "-0.0", "0.10000000000000002"}},
		{Double, in("-1e999"), ex("1e999"), []string{"-1e308", "1e308"}, nil},
		{Long, in("-1e30"), in("1e30"), []string{"-9223372036854775808", "9223372036854775807"}, nil},
		{Long, ex("9223372036854775807"), nil, nil, []string{"9223372036854775807", "0"}},
		{Long, nil, ex("-9223372036854775808"), nil, []string{"-9223372036854775808", "0"}},
		{Long, nil, in("-9223372036854775809.5"), nil, []string{"-9223372036854775808", "0"}},
		{Date, in("2026"), ex("2027"), []string{"2026", "2026-12-31T23:59:59.999Z"}, []string{"2027", "2025-12-31"}},
		{Date, in("9223372036854775807"), in("9223372036854775807"), []string{"9223372036854775807"}, []string{"9223372036854775806"}},
		{Timestamp, ex("-5"), in("0"), []string{"0"}, []string{"1"}},
		{Timestamp, in("281474976710655"), nil, []string{"281474976710655", "9223372036854775807"}, []string{"281474976710654"}},
		{Timestamp, ex("281474976710655"), nil, nil, []string{"281474976710655"}},
		{Keyword, ex("a"), in("b"), []string{"a ", "aa", "b"}, []string{"a", "b ", ""}},
		{Keyword, nil, ex(""), nil, []string{"", "a"}},
		{Boolean, in("true"), nil, []string{"true"}, []string{"false"}},
		{IP, in("10.0.0.1"), ex("10.0.0.3"), []string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.3", "9.255.255.255", "2001:db8::1"}},
	} {
		f := Field{Path: "f", Kind: c.kind}
		i, err := f.Range(c.lo, c.hi)
		if err != nil {
			t.Error(err)
		}
		check := func(texts []string, want bool) {
			for _, text := range texts {
				term, _, err := f.Term(text)
				if err != nil || i.Contains([]byte(term)) != want {
					t.Errorf("%s %v to %v: %q inside: %t %v", c.kind, c.lo, c.hi, text, !want, err)
				}
				if f.Ranged() {
					if got := f.Cover(i).found(i, term, prefixes(t, f, term)); got != want {
						t.Errorf("%s %v to %v: the cover has %q: %t", c.kind, c.lo, c.hi, text, got)
					}
				}
			}
		}
		check(c.inside, true)
		check(c.outside, false)
	}
	if _, err := (Field{Path: "n", Kind: Long}).Range(&Bound{Text: "low"}, nil); err == nil {
		t.Error("a bound that is no number is taken")
	}
}

func TestDateRanges(t *testing.T) {
	const least, greatest = math.MinInt64, math.MaxInt64
	for _, f := range []Field{{Kind: Date}, {Kind: Timestamp}} {
		rapid.Check(t, func(t *rapid.T) {
			ms := rapid.SampledFrom([]int64{least, -1, 0, 1, 4095, 4096, 1767225600000, maxTimestamp, greatest})
			low, high, at := ms.Draw(t, "low"), ms.Draw(t, "high"), ms.Draw(t, "at")
			want := low <= at && at <= high
			if f.Kind == Timestamp { // which takes others for the nearest it has
				at = min(max(at, 0), maxTimestamp)
				want = low <= high && min(low, maxTimestamp) <= at && (at <= high || high >= maxTimestamp)
			}
			if got := f.DateRange(low, high).Contains([]byte(f.dateTerm(at))); got != want {
				t.Fatalf("%d in [%d, %d]: %t", at, low, high, got)
			}
		})
		if got := f.Cover(f.DateRange(least, greatest)); len(got.Whole) != 1 || len(got.Edges) != 0 {
			t.Errorf("all dates are covered by %+v", got)
		}
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0 10.255.255.255", "10.1.2.3/31": "10.1.2.2 10.1.2.3", "::/0": ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"2001:db8::/33": "2001:db8:: 2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", "10.0.0.7/32": "10.0.0.7 10.0.0.7",
	} {
		i, ok := PrefixRange(text)
		first, _ := ParseIP([]byte(i.Lo))
		last, _ := ParseIP([]byte(strings.TrimSuffix(i.End, "\x00")))
		if got := fmt.Sprint(first, " ", last); !ok || got != want {
			t.Errorf("%s: %s (%t), not %s", text, got, ok, want)
		}
	}
	if _, ok := PrefixRange("10.0.0.1"); ok {
		t.Error("an address alone is no network")
	}
}
