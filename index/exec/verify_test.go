package exec

import (
	"testing"
)

// A phrase over a text without positions is only known once the record is read, wherever in a tree it stands.
func TestPhrasesWithoutPositions(t *testing.T) {
	m := testMapping(t, "msg:text,said:text(positions=true),level:keyword")
	records := []*record{
		{offset: 0, doc: doc{Msg: []string{"disk is full"}, Level: []string{"a"}}},
		{offset: 1, doc: doc{Msg: []string{"full disk is"}, Level: []string{"a"}}},
		{offset: 2, doc: doc{Msg: []string{"disk is", "full"}, Level: []string{"b"}}},
		{offset: 3, doc: doc{Msg: []string{"nothing"}, Level: []string{"b"}}},
	}
	c := openChunk(t, m, Info{Topic: "t", Base: 0, End: 4}, records, nil)
	for query, want := range map[string][]int64{
		`{"match_phrase":{"msg":"is full"}}`:                                                          {0},
		`{"match_phrase_prefix":{"msg":"disk i"}}`:                                                    {0, 1, 2},
		`{"bool":{"must_not":{"match_phrase":{"msg":"is full"}}}}`:                                    {1, 2, 3},
		`{"bool":{"must_not":{"bool":{"must_not":{"match_phrase":{"msg":"disk is full"}}}}}}`:         {0},
		`{"bool":{"should":[{"match_phrase":{"msg":"full disk"}},{"term":{"level":"b"}}]}}`:           {1, 2, 3},
		`{"bool":{"must":{"term":{"level":"a"}},"should":{"match_phrase":{"msg":"full disk"}}}}`:      {0, 1},
		`{"bool":{"must_not":[{"match_phrase":{"msg":"is full"}},{"term":{"level":"b"}}]}}`:           {1},
		`{"bool":{"must":{"range":{"level":{"gte":"b"}}},"must_not":{"match_phrase":{"msg":"x y"}}}}`: {2, 3},
	} {
		s := parse(t, `{"sort":["_offset"],"query":`+query+`}`)
		plan, found := search(t, s, m, c)
		if !plan.NeedsVerify() {
			t.Errorf("%s: the index is believed", query)
		}
		v := plan.NewVerifier()
		var got []int64
		for _, h := range found.Hits {
			r := records[h.Offset].schema()
			if v.Matches(h.Partition, &r) {
				got = append(got, h.Offset)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, not %v", query, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %v, not %v", query, got, want)
			}
		}
	}
	plan, err := NewPlan(parse(t, `{"query":{"match_phrase":{"said":"is full"}}}`), "t", m, DefaultLimits())
	if err != nil || plan.NeedsVerify() {
		t.Error("positions decide a phrase", err)
	}
}

// What the index finds for any query, the record confirms: both read the tree alike.
func TestRecordsConfirmTheIndex(t *testing.T) {
	m := testMapping(t, testFields)
	c, records := logChunks(t, m, 1, 30)
	for _, query := range []string{
		`{"match":{"msg":"took 14"}}`, `{"terms":{"level":["warn","info"]}}`, `{"range":{"n":{"gt":10,"lte":60}}}`, `{"exists":{"field":"at"}}`,
		`{"ids":{"values":["0-3","0-4","1-5"]}}`, `{"regexp":{"level":"w.*"}}`, `{"fuzzy":{"level":"wran"}}`, `{"multi_match":{"query":"warn 14","fields":["level","msg"]}}`,
		`{"constant_score":{"filter":{"wildcard":{"msg":"2?"}},"boost":3}}`, `{"range":{"_timestamp":{"lt":1010000,"format":"epoch_millis"}}}`,
	} {
		plan, found := search(t, parse(t, `{"size":100,"query":`+query+`}`), m, c...)
		v, hits := plan.NewVerifier(), map[int64]bool{}
		for _, h := range found.Hits {
			hits[h.Offset] = true
		}
		for _, r := range records {
			s := r.schema()
			if v.Matches(0, &s) != hits[r.offset] {
				t.Errorf("%s: the index says %t of %s, the record does not", query, hits[r.offset], s.Value)
			}
		}
	}
}
