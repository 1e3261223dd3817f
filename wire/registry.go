package wire

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API is one Kafka API as this broker serves it: every version of [Min, Max], both ends included.
type API struct {
	Key, Min, Max int16

	// Waits is for a Handle that returns only when a change is on disk or replicated: what is owed to
	// earlier requests is sent before it is called.
	Waits bool

	// Handle is called on the connection's reader goroutine, one request after another. When it
	// returns, the request has its place in the order of effects (a Produce is appended); the answer
	// may be given inside it or later from any goroutine. It must not wait for anything slower than
	// an append: until it returns, nothing else is read from the connection, and answers that were
	// made inside earlier calls may still wait to be written together with this one, unless Waits is set.
	//
	// It must see to it that the request gets exactly one of Reply, ReplyParts, NoReply or Close.
	Handle func(*Request)
}

// Range says which versions of a key are served, both ends included.
type Range struct{ Key, Min, Max int16 }

// Registry holds the served APIs. It does not change after NewRegistry and may be used by several
// servers and goroutines. The answer to ApiVersions is generated from it, so that what is advertised
// cannot drift from what is handled.
type Registry struct {
	apis   []API // sorted by key
	byKey  [kmsg.MaxKey + 1]*API
	ranges []Range
}

// NewRegistry checks the APIs and sorts them by key. A key twice, a missing handler, and a version
// that kmsg cannot decode are errors.
func NewRegistry(apis []API) (*Registry, error) {
	r := &Registry{apis: slices.Clone(apis)}
	slices.SortFunc(r.apis, func(a, b API) int { return int(a.Key) - int(b.Key) })
	for i := range r.apis {
		a := &r.apis[i]
		if err := checkAPI(a); err != nil {
			return nil, err
		}
		if r.byKey[a.Key] != nil {
			return nil, fmt.Errorf("api key %d is registered twice", a.Key)
		}
		r.byKey[a.Key] = a
		r.ranges = append(r.ranges, Range{a.Key, a.Min, a.Max})
	}
	return r, nil
}

func checkAPI(a *API) error {
	body := kmsg.RequestForKey(a.Key)
	switch {
	case body == nil:
		return fmt.Errorf("api key %d is unknown to kmsg", a.Key)
	case a.Handle == nil:
		return fmt.Errorf("api key %d has no handler", a.Key)
	case a.Min < 0 || a.Min > a.Max:
		return fmt.Errorf("api key %d: versions %d to %d are not a range", a.Key, a.Min, a.Max)
	case a.Max > body.MaxVersion():
		return fmt.Errorf("api key %d: version %d is above %d, the newest kmsg decodes", a.Key, a.Max, body.MaxVersion())
	}
	return nil
}

// Ranges lists what is served, sorted by key. The caller must not change it.
func (r *Registry) Ranges() []Range { return r.ranges }

// Lookup finds an API by its key.
func (r *Registry) Lookup(key int16) (API, bool) {
	if key < 0 || int(key) >= len(r.byKey) || r.byKey[key] == nil {
		return API{}, false
	}
	return *r.byKey[key], true
}
