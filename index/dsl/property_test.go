package dsl

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// genWord draws what escapes are for as often as plain letters.
var genWord = rapid.Custom(func(t *rapid.T) string {
	word := rapid.StringOfN(rapid.SampledFrom([]rune(`ab9ü \"+-!():^[]{}~*?/<>&|_.`+"\u3000")), 1, 8, -1).Draw(t, "word")
	return rapid.SampledFrom([]string{word, word, word, "AND", "OR", "NOT", "&&", "||", "TO", "now", "u0041"}).Draw(t, "text")
})

var genField = rapid.Custom(func(t *rapid.T) string {
	return rapid.SampledFrom([]string{"level", "user.id", "a field", "odd:(name)", "NOT", "msg*"}).Draw(t, "field")
})

var genFuzziness = rapid.SampledFrom([]Fuzziness{AutoFuzziness, {Distance: 0}, {Distance: 1}, {Distance: 2}})

func genBound(t *rapid.T, r *Range) {
	low, high := Value{Kind: String, Text: genWord.Draw(t, "low")}, Value{Kind: String, Text: genWord.Draw(t, "high")}
	switch rapid.IntRange(0, 3).Draw(t, "low end") {
	case 0, 1:
		r.GTE = low
	case 2:
		r.GT = low
	}
	switch rapid.IntRange(0, 3).Draw(t, "high end") {
	case 0:
		r.LTE = high
	case 1:
		r.LT = high
	default:
		if r.open() {
			r.LT = high
		}
	}
}

func genLeaf(t *rapid.T) Query {
	field, text := genField.Draw(t, "field"), genWord.Draw(t, "text")
	switch rapid.IntRange(0, 8).Draw(t, "leaf") {
	case 0:
		return MatchPhrase{Field: field, Text: text}
	case 1:
		return Exists{Field: field}
	case 2:
		return Fuzzy{Field: field, Value: text, Fuzziness: genFuzziness.Draw(t, "fuzziness"), PrefixLength: 1, Folded: true}
	case 3:
		r := Range{Field: field, Folded: true}
		genBound(t, &r)
		return r
	case 4:
		return Regexp{Field: field, Pattern: rapid.SampledFrom([]string{"a", "a.*[b-z]", `\/x`, "(a|b)?"}).Draw(t, "pattern"), Folded: true}
	case 5:
		return Wildcard{Field: field, Pattern: rapid.SampledFrom([]string{"*a", "a?b", `a\*?c`, "?", "a b*c", `\\*x`, ">?"}).Draw(t, "pattern"), Folded: true}
	case 6:
		return Prefix{Field: field, Value: rapid.SampledFrom([]string{"err", "a b", "x:", "AND", "<"}).Draw(t, "prefix"), Folded: true}
	}
	return Match{Field: field, Text: text}
}

func genTree(t *rapid.T, depth int) Query {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	switch {
	case depth == 0 || kind < 2:
		return genLeaf(t)
	case kind == 2:
		return Boosted{Query: genTree(t, depth-1), Boost: rapid.SampledFrom([]float64{0, 0.5, 2, 1e6}).Draw(t, "boost")}
	}
	var b Bool
	for range rapid.IntRange(2, 4).Draw(t, "clauses") {
		q := genTree(t, depth-1)
		switch rapid.IntRange(0, 2).Draw(t, "occur") {
		case 0:
			b.Must = append(b.Must, q)
		case 1:
			b.Should = append(b.Should, q)
		default:
			b.MustNot = append(b.MustNot, q)
		}
	}
	return b
}

func TestAPrintedTreeReadsAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkPrinted(t, genTree(t, 4)) })
}

func TestDatesReadAsTheyAreShown(t *testing.T) {
	formats := []string{"", "epoch_millis", "strict_date_optional_time", "date_optional_time", "yyyy-MM-dd HH:mm:ss.SSS XXX", "yyyyMMdd'T'HHmmss.SSSZ"}
	zones := []string{"", "+05:30", "-03:00", "Europe/Berlin", "America/St_Johns"}
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64Range(0, 4102444800_000).Draw(t, "millis")
		format, zone := rapid.SampledFrom(formats).Draw(t, "format"), rapid.SampledFrom(zones).Draw(t, "zone")
		location, _ := Zone(zone)
		shown := FormatDate(at, format, location)
		for _, up := range []bool{false, true} {
			read, err := ParseDate(Value{Kind: String, Text: shown}, format, "", up, testNow)
			if err != nil || read != at {
				t.Fatalf("%d in %s by %q is %s, which reads as %d, %v", at, zone, format, shown, read, err)
			}
		}
	})
}

// A dumb twin: the rounded date is the last, or the next before the first, that starts a unit.
func TestRoundingFindsTheUnitThatHoldsADate(t *testing.T) {
	starts := map[byte]func(time.Time) bool{
		'M': func(t time.Time) bool { return t.Day() == 1 && t.Hour() == 0 && t.Minute() == 0 },
		'w': func(t time.Time) bool { return t.Weekday() == time.Monday && t.Hour() == 0 && t.Minute() == 0 },
		'd': func(t time.Time) bool { return t.Hour() == 0 && t.Minute() == 0 },
		'h': func(t time.Time) bool { return t.Minute() == 0 },
	}
	rapid.Check(t, func(t *rapid.T) {
		minute := rapid.Int64Range(0, 40*365*24*60).Draw(t, "minute")
		unit := rapid.SampledFrom([]byte("Mwdh")).Draw(t, "unit")
		date := time.Unix(minute*60, 123_000_000).UTC()
		first := date.Truncate(time.Minute)
		for !starts[unit](first) {
			first = first.Add(-time.Minute)
		}
		next := date.Truncate(time.Minute).Add(time.Minute)
		for !starts[unit](next) {
			next = next.Add(time.Minute)
		}
		if got := roundDate(date, unit, false); !got.Equal(first) {
			t.Fatalf("%s/%c = %s, want %s", date, unit, got, first)
		}
		if got, want := roundDate(date, unit, true), next.Add(-time.Millisecond); !got.Equal(want) {
			t.Fatalf("%s/%c up = %s, want %s", date, unit, got, want)
		}
	})
}
