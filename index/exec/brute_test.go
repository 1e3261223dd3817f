package exec

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/index/dsl"
)

// brute answers a search from the records alone, the slow and obvious way. It shares nothing with the package but
// the tree of the query.
type brute struct {
	indexed []*record         // of all chunks, without those deleted from the index
	tokens  map[string]uint64 // of all that ever were indexed
}

// texts are the values of a text field, in words.
func (r *record) texts(field string) (values [][]string) {
	add := func(texts []string) {
		for _, text := range texts {
			values = append(values, words(text))
		}
	}
	switch field {
	case "msg":
		add(r.doc.Msg)
	case "said":
		add(r.doc.Said)
	case "_value":
		add(r.doc.Level)
		add(r.doc.Msg)
		add(r.doc.Said)
		for _, n := range r.doc.N {
			add([]string{fmt.Sprint(n)})
		}
		for _, d := range r.doc.D {
			add([]string{strconv.FormatFloat(d, 'f', -1, 64)})
		}
		for _, at := range r.doc.At {
			add([]string{fmt.Sprint(at)})
		}
		add(r.doc.IP)
	}
	return values
}

func isText(field string) bool { return field == "msg" || field == "said" || field == "_value" }

// strings are the terms of a field that are text.
func (r *record) strings(field string) (all []string) {
	switch {
	case isText(field):
		for _, value := range r.texts(field) {
			all = append(all, value...)
		}
	case field == "level":
		return r.doc.Level
	case field == "_key" && r.key != "":
		return []string{r.key}
	case field == "ok":
		for _, ok := range r.doc.OK {
			all = append(all, fmt.Sprint(ok))
		}
	}
	return all
}

// numbers are the values of a field that are numbers.
func (r *record) numbers(field string) (all []float64) {
	switch field {
	case "n":
		for _, n := range r.doc.N {
			all = append(all, float64(n))
		}
	case "d":
		return r.doc.D
	case "at":
		for _, at := range r.doc.At {
			all = append(all, float64(at))
		}
	case "_timestamp":
		if r.timestamp >= 0 {
			all = append(all, float64(r.timestamp))
		}
	case "ok":
		for _, ok := range r.doc.OK {
			all = append(all, map[bool]float64{true: 1}[ok])
		}
	}
	return all
}

func isNumber(field string) bool {
	return field == "n" || field == "d" || field == "at" || field == "_timestamp"
}

func (r *record) has(field string) bool {
	return len(r.strings(field)) > 0 || len(r.numbers(field)) > 0 || field == "ip" && len(r.doc.IP) > 0 ||
		isText(field) && len(r.texts(field)) > 0
}

// match says whether r matches q, and what it scores.
func (b *brute) match(q dsl.Query, r *record) (bool, float64) {
	yes := func(ok bool) (bool, float64) { return ok, map[bool]float64{true: 1}[ok] }
	switch q := q.(type) {
	case dsl.MatchAll:
		return true, 1
	case dsl.MatchNone:
		return false, 0
	case dsl.Term:
		return b.term(q, r)
	case dsl.Terms:
		return yes(slices.ContainsFunc(q.Values, func(v dsl.Value) bool {
			ok, _ := b.term(dsl.Term{Field: q.Field, Value: v}, r)
			return ok
		}))
	case dsl.Range:
		return yes(inRange(q, r))
	case dsl.Prefix:
		return yes(anyString(r, q.Field, func(s string) bool {
			return strings.HasPrefix(fold(s, q.CaseInsensitive), fold(q.Value, q.CaseInsensitive))
		}))
	case dsl.Wildcard:
		return yes(anyString(r, q.Field, func(s string) bool {
			return glob(fold(q.Pattern, q.CaseInsensitive), fold(s, q.CaseInsensitive))
		}))
	case dsl.Regexp:
		re := regexp.MustCompile("^(" + q.Pattern + ")$")
		return yes(anyString(r, q.Field, re.MatchString))
	case dsl.Fuzzy:
		best := nearest(r.strings(q.Field), q.Value, q.Fuzziness.Edits(q.Value), q.PrefixLength)
		if q.Fuzziness.Edits(q.Value) == 0 {
			return b.term(dsl.Term{Field: q.Field, Value: dsl.Value{Kind: dsl.String, Text: q.Value}}, r)
		}
		return best > 0, best
	case dsl.Exists:
		return yes(r.has(q.Field))
	case dsl.IDs:
		return yes(slices.Contains(q.Values, dsl.ID{Partition: r.partition, Offset: r.offset}))
	case dsl.Match:
		return b.matchText(q, r)
	case dsl.MatchPhrase:
		return b.phrase(q.Field, words(q.Text), false, r)
	case dsl.MatchPhrasePrefix:
		return b.phrase(q.Field, words(q.Text), true, r)
	case dsl.Bool:
		return b.boolean(q, r)
	case dsl.DisMax:
		found, best, sum := false, 0.0, 0.0
		for _, inner := range q.Queries {
			if ok, score := b.match(inner, r); ok {
				found, best, sum = true, max(best, score), sum+score
			}
		}
		return found, best + q.TieBreaker*(sum-best)
	case dsl.ConstantScore:
		ok, _ := b.match(q.Query, r)
		return yes(ok)
	case dsl.Boosted:
		ok, score := b.match(q.Query, r)
		return ok, q.Boost * score
	case dsl.Lenient:
		return b.match(q.Query, r)
	}
	panic(fmt.Sprintf("%T", q))
}

func fold(s string, yes bool) string {
	if yes {
		return strings.ToLower(s)
	}
	return s
}

func anyString(r *record, field string, ok func(string) bool) bool {
	return slices.ContainsFunc(r.strings(field), ok)
}

func glob(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return glob(pattern[1:], s) || s != "" && glob(pattern, s[1:])
	}
	return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && glob(pattern[1:], s[1:])
}

// nearest is 1/(1+edits) of the nearest of terms, 0 if none is within edits.
func nearest(terms []string, text string, edits, prefix int) (best float64) {
	prefix = min(prefix, len(text))
	for _, term := range terms {
		if strings.HasPrefix(term, text[:prefix]) {
			if d := distance(text, term); d <= edits {
				best = max(best, 1/float64(1+d))
			}
		}
	}
	return best
}

func distance(a, b string) int {
	switch {
	case a == "" || b == "":
		return len(a) + len(b)
	case a[0] == b[0]:
		return distance(a[1:], b[1:])
	}
	d := 1 + min(distance(a[1:], b), distance(a, b[1:]), distance(a[1:], b[1:]))
	if len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] {
		d = min(d, 1+distance(a[2:], b[2:]))
	}
	return d
}

func (b *brute) term(q dsl.Term, r *record) (bool, float64) {
	text := q.Value.Text
	switch {
	case q.Field == "ip":
		for _, ip := range r.doc.IP {
			network, err := netip.ParsePrefix(text)
			if ip == text || err == nil && network.Contains(netip.MustParseAddr(ip)) {
				return true, 1
			}
		}
		return false, 0
	case isNumber(q.Field):
		want, err := strconv.ParseFloat(text, 64)
		if err == nil && slices.Contains(r.numbers(q.Field), want) {
			return true, 1
		}
		return false, 0
	case q.CaseInsensitive:
		if anyString(r, q.Field, func(s string) bool { return strings.EqualFold(s, text) }) {
			return true, 1
		}
		return false, 0
	}
	if !slices.Contains(r.strings(q.Field), text) {
		return false, 0
	}
	return true, b.bm25(q.Field, text, r)
}

// bm25 is the textbook's, times 2.2.
func (b *brute) bm25(field, term string, r *record) float64 {
	docs, have := 0.0, 0.0
	for _, other := range b.indexed {
		if other.has(field) {
			docs++
		}
		if slices.Contains(other.strings(field), term) {
			have++
		}
	}
	idf := math.Log(1 + (docs-have+0.5)/(have+0.5))
	if !isText(field) {
		return idf
	}
	tf, length := 0.0, float64(len(r.strings(field)))
	for _, s := range r.strings(field) {
		if s == term {
			tf++
		}
	}
	average := math.Max(1, float64(b.tokens[field])/docs)
	return 2.2 * idf * tf / (tf + 1.2*(0.25+0.75*length/average))
}

func inRange(q dsl.Range, r *record) bool {
	if isNumber(q.Field) {
		bound := func(v dsl.Value) float64 {
			f, err := strconv.ParseFloat(v.Text, 64)
			if err != nil {
				panic(err)
			}
			return f
		}
		return slices.ContainsFunc(r.numbers(q.Field), func(v float64) bool {
			return (q.GT.Kind == dsl.None || v > bound(q.GT)) && (q.GTE.Kind == dsl.None || v >= bound(q.GTE)) &&
				(q.LT.Kind == dsl.None || v < bound(q.LT)) && (q.LTE.Kind == dsl.None || v <= bound(q.LTE))
		})
	}
	return anyString(r, q.Field, func(v string) bool {
		return (q.GT.Kind == dsl.None || v > q.GT.Text) && (q.GTE.Kind == dsl.None || v >= q.GTE.Text) &&
			(q.LT.Kind == dsl.None || v < q.LT.Text) && (q.LTE.Kind == dsl.None || v <= q.LTE.Text)
	})
}

func (b *brute) matchText(q dsl.Match, r *record) (bool, float64) {
	if q.Field == dsl.AllFields {
		q.Field = "_value"
	}
	if !isText(q.Field) {
		return b.term(dsl.Term{Field: q.Field, Value: dsl.Value{Kind: dsl.String, Text: q.Text}}, r)
	}
	terms := words(q.Text)
	if len(terms) == 0 {
		return q.ZeroTermsAll, map[bool]float64{true: 1}[q.ZeroTermsAll]
	}
	found, sum := 0, 0.0
	for _, term := range terms {
		ok, score := b.match(dsl.Fuzzy{Field: q.Field, Value: term, Fuzziness: q.Fuzziness, PrefixLength: q.PrefixLength}, r)
		if ok {
			found, sum = found+1, sum+score
		}
	}
	need := 1
	if q.Operator == dsl.And {
		need = len(terms)
	} else if q.MinimumShouldMatch != "" {
		need = q.MinimumShouldMatch.Count(len(terms))
	}
	if need == 0 && found == 0 {
		return true, 0
	}
	return found >= need, sum
}

func (b *brute) phrase(field string, terms []string, prefix bool, r *record) (bool, float64) {
	if len(terms) == 0 {
		return false, 0
	}
	same := func(i int, word string) bool {
		return word == terms[i] || prefix && i == len(terms)-1 && strings.HasPrefix(word, terms[i])
	}
	for _, value := range r.texts(field) {
		for start := 0; start+len(terms) <= len(value); start++ {
			ok := true
			for i := range terms {
				ok = ok && same(i, value[start+i])
			}
			if ok {
				return true, b.phraseScore(field, terms, prefix, r)
			}
		}
	}
	return false, 0
}

func (b *brute) phraseScore(field string, terms []string, prefix bool, r *record) (sum float64) {
	if prefix {
		if len(terms) == 1 {
			return 1
		}
		terms = terms[:len(terms)-1]
	}
	for _, term := range terms {
		sum += b.bm25(field, term, r)
	}
	return sum
}

func (b *brute) boolean(q dsl.Bool, r *record) (bool, float64) {
	sum, found := 0.0, 0
	for _, inner := range q.Must {
		ok, score := b.match(inner, r)
		if !ok {
			return false, 0
		}
		sum += score
	}
	for _, inner := range q.Filter {
		if ok, _ := b.match(inner, r); !ok {
			return false, 0
		}
	}
	for _, inner := range q.MustNot {
		if ok, _ := b.match(inner, r); ok {
			return false, 0
		}
	}
	for _, inner := range q.Should {
		if ok, score := b.match(inner, r); ok {
			found, sum = found+1, sum+score
		}
	}
	if len(q.Must)+len(q.Filter)+len(q.MustNot)+len(q.Should) == 0 {
		return true, 1
	}
	return found >= q.Required(), sum
}
