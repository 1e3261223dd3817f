package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCheckAdmin(t *testing.T) {
	s := func(n int) time.Duration { return time.Duration(n) * time.Second }
	create := func(from, to int, r AdminResult) AdminOp {
		return AdminOp{Kind: CreateTopic, Topic: "a", Broker: 1, Start: s(from), End: s(to), Partitions: 2, Retention: "100", Result: r}
	}
	remove := func(from, to int, r AdminResult) AdminOp {
		return AdminOp{Kind: DeleteTopic, Topic: "a", Broker: 2, Start: s(from), End: s(to), Result: r}
	}
	set := func(from, to int, value string, r AdminResult) AdminOp {
		return AdminOp{Kind: SetRetention, Topic: "a", Broker: 3, Start: s(from), End: s(to), Retention: value, Result: r}
	}
	grow := func(from, to int, n int32, r AdminResult) AdminOp {
		return AdminOp{Kind: GrowTopic, Topic: "a", Broker: 1, Start: s(from), End: s(to), Partitions: n, Result: r}
	}
	count := func(broker int32, from, to int, n int32) AdminOp {
		return AdminOp{Kind: CountPartitions, Topic: "a", Broker: broker, Start: s(from), End: s(to), Partitions: n}
	}
	retention := func(broker int32, from, to int, value string) AdminOp {
		return AdminOp{Kind: ReadRetention, Topic: "a", Broker: broker, Start: s(from), End: s(to), Retention: value}
	}
	settled := func(o AdminOp) AdminOp { o.Settled = true; return o }
	for name, c := range map[string]struct {
		ops  []AdminOp
		good bool
	}{
		"a life":                                     {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), grow(5, 6, 5, Done), remove(7, 8, Done), count(2, 9, 10, 0)}, true},
		"two create at once, one wins":               {[]AdminOp{create(1, 3, Done), create(2, 4, Exists)}, true},
		"two create at once, both win":               {[]AdminOp{create(1, 3, Done), create(2, 4, Done)}, false},
		"created, yet missing":                       {[]AdminOp{create(1, 2, Done), remove(3, 4, Missing)}, false},
		"deleted, yet it exists":                     {[]AdminOp{create(1, 2, Done), remove(3, 4, Done), create(5, 6, Exists)}, false},
		"an unknown delete explains it":              {[]AdminOp{create(1, 2, Done), remove(3, 4, Uncertain), create(9, 10, Done)}, true},
		"an unknown delete need not happen":          {[]AdminOp{create(1, 2, Done), remove(3, 4, Uncertain), create(9, 10, Exists)}, true},
		"an unknown delete happens once":             {[]AdminOp{create(1, 2, Done), remove(3, 4, Uncertain), create(5, 6, Done), create(7, 8, Done)}, false},
		"it does not happen before it is asked":      {[]AdminOp{create(1, 2, Done), create(3, 4, Done), remove(5, 6, Uncertain)}, false},
		"an unknown value that was read":             {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Uncertain), retention(2, 5, 6, "200")}, true},
		"an unknown value, read and gone again":      {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Uncertain), retention(2, 5, 6, "200"), retention(2, 7, 8, "100")}, false},
		"refused means not done":                     {[]AdminOp{create(1, 2, NotDone), create(3, 4, Done)}, true},
		"refused, yet done":                          {[]AdminOp{create(1, 2, NotDone), create(3, 4, Exists)}, false},
		"grown to as many":                           {[]AdminOp{create(1, 2, Done), grow(3, 4, 2, TooFew)}, true},
		"not grown, though fewer":                    {[]AdminOp{create(1, 2, Done), grow(3, 4, 3, TooFew)}, false},
		"shrunk":                                     {[]AdminOp{create(1, 2, Done), grow(3, 4, 5, Done), grow(5, 6, 3, Done)}, false},
		"another broker reads the past":              {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), retention(2, 9, 10, "100")}, true},
		"nor when all is applied":                    {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), settled(retention(2, 9, 10, "100"))}, false},
		"the present when all is applied":            {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), settled(retention(2, 9, 10, "200"))}, true},
		"the answering broker reads its write":       {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), retention(3, 9, 10, "100")}, false},
		"the answering broker before it answers":     {[]AdminOp{create(1, 2, Done), set(3, 9, "200", Done), retention(2, 4, 5, "200"), retention(3, 6, 7, "100"), retention(3, 10, 11, "200")}, true},
		"a broker that goes back":                    {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), retention(2, 5, 6, "200"), retention(2, 7, 8, "100")}, false},
		"a value that nobody wrote":                  {[]AdminOp{create(1, 2, Done), retention(2, 3, 4, "300")}, false},
		"a read of the future":                       {[]AdminOp{create(1, 2, Done), retention(2, 3, 4, "200"), set(5, 6, "200", Done)}, false},
		"a lost acknowledged write":                  {[]AdminOp{create(1, 2, Done), set(3, 4, "200", Done), grow(5, 6, 3, Done), retention(1, 7, 8, "100")}, false},
		"a topic that outlives its deletion":         {[]AdminOp{create(1, 2, Done), remove(3, 4, Done), count(2, 5, 6, 2)}, false},
		"a read that may be old, but not this old":   {[]AdminOp{create(1, 2, Done), grow(3, 4, 4, Done), count(1, 5, 6, 2)}, false},
		"an unanswered read says nothing":            {[]AdminOp{create(1, 2, Done), {Kind: CountPartitions, Topic: "a", Broker: 1, Start: s(3), Result: Uncertain}}, true},
		"names have nothing to do with one another":  {[]AdminOp{create(1, 2, Done), {Kind: CreateTopic, Topic: "b", Partitions: 1, Retention: "1", Start: s(1), End: s(2)}}, true},
		"an unknown growth explains what it is read": {[]AdminOp{create(1, 2, Done), grow(3, 4, 9, Uncertain), count(1, 5, 6, 2), count(1, 7, 8, 9)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			found := CheckAdmin(c.ops, 10*time.Second)
			if good := len(found) == 0; good != c.good {
				t.Errorf("found %v", found)
			}
			for _, v := range found {
				if v.Invariant != "I21" || !strings.Contains(v.Text, "no order") || len(v.Rows) == 0 {
					t.Errorf("found %v", v)
				}
			}
		})
	}
}

// TestCheckAdminIsDoneWithManyUnknowns: an outage leaves operations of unknown result, which may happen in any order.
func TestCheckAdminIsDoneWithManyUnknowns(t *testing.T) {
	var ops []AdminOp
	for i := range 12 {
		start := time.Duration(i) * time.Second
		ops = append(ops, AdminOp{Kind: SetRetention, Topic: "a", Start: start, Retention: fmt.Sprint(i), Result: Uncertain})
	}
	for i := range 4 {
		start := time.Duration(i) * time.Second
		ops = append(ops, AdminOp{Kind: CreateTopic, Topic: "a", Start: start, Retention: fmt.Sprint(100 + i), Partitions: 2, Result: Uncertain},
			AdminOp{Kind: GrowTopic, Topic: "a", Start: start, Partitions: 5, Result: Uncertain})
	}
	ops = append(ops, AdminOp{Kind: CountPartitions, Topic: "a", Start: time.Minute, End: time.Minute + 1, Settled: true})
	if found := CheckAdmin(ops, 20*time.Second); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}
