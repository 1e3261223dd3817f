package schema

import (
	"cmp"
	"math"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTermsLookAsDocumented(t *testing.T) {
	for got, want := range map[string]string{
		LongTerm(300):                             "800000000000012c",
		LongTerm(-1):                              "7fffffffffffffff",
		LongTerm(math.MinInt64):                   "0000000000000000",
		DoubleTerm(1):                             "bff0000000000000",
		DoubleTerm(math.Copysign(0, -1)):          "8000000000000000",
		DoubleTerm(-1):                            "400fffffffffffff",
		DateTerm(1767225600000):                   "8000019b76daa800",
		TimestampTerm(1767225600000):              "019b76daa800",
		TimestampTerm(-5):                         "000000000000",
		TimestampTerm(math.MaxInt64):              "ffffffffffff",
		OffsetTerm(1<<40 + 7):                     "0000010000000007",
		IPTerm(netip.MustParseAddr("10.0.0.1")):   "00000000000000000000ffff0a000001",
		IPTerm(netip.MustParseAddr("2001:db8::")): "20010db8000000000000000000000000",
		KeyTerm([]byte("user-1")):                 "user-1",
		KeyTerm([]byte{0, 0, 1, 0xff}):            "0x000001ff",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// keepsOrder checks that terms compare as their values do, and come back as they were.
func keepsOrder[T cmp.Ordered](t *testing.T, gen *rapid.Generator[T], term func(T) string, back func([]byte) (T, bool)) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if got, want := strings.Compare(term(a), term(b)), cmp.Compare(a, b); got != want {
			t.Fatalf("%v and %v compare as %d, their terms %s and %s as %d", a, b, want, term(a), term(b), got)
		}
		if got, ok := back([]byte(term(a))); !ok || got != a {
			t.Fatalf("%v came back as %v (%t)", a, got, ok)
		}
	})
}

func TestTermsSortLikeTheirValues(t *testing.T) {
	t.Run("long", func(t *testing.T) { keepsOrder(t, rapid.Int64(), LongTerm, ParseLong) })
	t.Run("double", func(t *testing.T) { keepsOrder(t, rapid.Float64(), DoubleTerm, ParseDouble) })
	t.Run("date", func(t *testing.T) { keepsOrder(t, rapid.Int64(), DateTerm, ParseDate) })
	t.Run("timestamp", func(t *testing.T) {
		keepsOrder(t, rapid.Int64Range(0, maxTimestamp), TimestampTerm, ParseTimestamp)
	})
	t.Run("offset", func(t *testing.T) { keepsOrder(t, rapid.Int64Min(0), OffsetTerm, ParseOffset) })
	t.Run("ip", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			a, b := anyAddr.Draw(t, "a"), anyAddr.Draw(t, "b")
			wide := func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }
			if got, want := strings.Compare(IPTerm(a), IPTerm(b)), wide(a).Compare(wide(b)); got != want {
				t.Fatalf("%v and %v compare as %d, their terms as %d", a, b, want, got)
			}
			if got, ok := ParseIP([]byte(IPTerm(a))); !ok || got != a.Unmap() {
				t.Fatalf("%v came back as %v (%t)", a, got, ok)
			}
		})
	})
}

var anyAddr = rapid.Custom(func(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v4") {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
	}
	return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
})

func TestWhatIsNoTermIsRefused(t *testing.T) {
	for _, bad := range []string{"", "8", "800000000000012C", "800000000000012g", "8000000000000012c"} {
		if v, ok := ParseLong([]byte(bad)); ok {
			t.Errorf("%q is %d", bad, v)
		}
	}
	if v, ok := ParseOffset([]byte("ffffffffffffffff")); ok {
		t.Error("an offset is not negative:", v)
	}
	if a, ok := ParseIP([]byte(strings.Repeat("x", ipDigits))); ok {
		t.Error(a)
	}
}

// Two keys have the same term only if they are the same, and a term can always be a doc value.
func TestKeyTermsAreShortAndTellKeysApart(t *testing.T) {
	key := rapid.Custom(func(t *rapid.T) []byte {
		part := rapid.SampledFrom([]string{"a", "é", "日", "\xff", "\x00"}).Draw(t, "part")
		tail := rapid.SliceOfN(rapid.Byte(), 0, 2).Draw(t, "tail")
		return append([]byte(strings.Repeat(part, rapid.SampledFrom([]int{0, 1, 300, 511, 512, 1023, 1024, 1025, 4000}).Draw(t, "n"))), tail...)
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		term := KeyTerm(a)
		if same := string(a) == string(b); same != (term == KeyTerm(b)) {
			t.Fatalf("%d and %d bytes, equal: %t; terms %.60q and %.60q", len(a), len(b), same, term, KeyTerm(b))
		}
		if !utf8.ValidString(term) || len(term) > MaxKeyword+len("…")+32 {
			t.Fatalf("the term of %d bytes has %d, valid: %t", len(a), len(term), utf8.ValidString(term))
		}
		start, _, _ := strings.Cut(term, "…")
		if utf8.Valid(a) && !strings.HasPrefix(string(a), start) || len(a) <= MaxKeyword && utf8.Valid(a) && term != string(a) {
			t.Fatalf("%.60q became %.60q", a, term)
		}
	})
}
