package raftmeta

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Changes names what may differ from the image seen before; what each became, and whether it still
// exists, the image tells. Offsets are not in it: nobody reconciles by them.
type Changes struct {
	All     bool        // anything may have changed; the rest is empty
	Brokers bool        // some broker
	Shards  bool        // the owner of some coordinator shard
	Topics  []uuid.ID   // created, changed, deleted, or deletion confirmed; ascending
	Configs []ConfigKey // by type and name
	Groups  []GroupKey  // by tenant and id
}

// maxDirty bounds what a dirty set remembers by name. Beyond that a reconciler that starts from
// everything costs less than the names.
const maxDirty = 4096

// dirtySet collects what changed. The zero value is empty.
type dirtySet struct {
	all, brokers, shards bool
	topics               map[uuid.ID]struct{}
	configs              map[ConfigKey]struct{}
	groups               map[GroupKey]struct{}
}

func (d *dirtySet) topic(id uuid.ID)     { mark(d, &d.topics, id) }
func (d *dirtySet) config(key ConfigKey) { mark(d, &d.configs, key) }
func (d *dirtySet) group(key GroupKey)   { mark(d, &d.groups, key) }

// mark adds a name, or falls back to "all" when there are too many.
func mark[K comparable](d *dirtySet, set *map[K]struct{}, key K) {
	if d.all {
		return
	}
	if *set == nil {
		*set = make(map[K]struct{})
	}
	(*set)[key] = struct{}{}
	if len(d.topics)+len(d.configs)+len(d.groups) > maxDirty {
		*d = dirtySet{all: true}
	}
}

func (d *dirtySet) empty() bool {
	return !d.all && !d.brokers && !d.shards && len(d.topics)+len(d.configs)+len(d.groups) == 0
}

// merge adds what other holds; other stays as it is.
func (d *dirtySet) merge(other *dirtySet) {
	if d.all || other.all {
		*d = dirtySet{all: true}
		return
	}
	d.brokers = d.brokers || other.brokers
	d.shards = d.shards || other.shards
	for id := range other.topics {
		d.topic(id)
	}
	for key := range other.configs {
		d.config(key)
	}
	for key := range other.groups {
		d.group(key)
	}
}

// changes lists the set in order.
func (d *dirtySet) changes() Changes {
	if d.all {
		return Changes{All: true}
	}
	return Changes{
		Brokers: d.brokers,
		Shards:  d.shards,
		Topics:  sorted(d.topics, func(a, b uuid.ID) int { return bytes.Compare(a[:], b[:]) }),
		Configs: sorted(d.configs, func(a, b ConfigKey) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
		}),
		Groups: sorted(d.groups, func(a, b GroupKey) int {
			return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.ID, b.ID))
		}),
	}
}

func sorted[K comparable](set map[K]struct{}, compare func(a, b K) int) []K {
	if len(set) == 0 {
		return nil
	}
	keys := make([]K, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
