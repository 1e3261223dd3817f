package raftmeta

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/uuid"
)

// twin is the table as a beginner would write it: plain maps, and only what does not take an election.
type twin struct {
	cluster uuid.ID
	nextPID int64
	topics  map[GroupKey]uuid.ID // by tenant and name
	names   map[uuid.ID]GroupKey
	tconfig map[uuid.ID]map[string]string
	counts  map[uuid.ID]int
	buried  map[uuid.ID]bool
	configs map[ConfigKey]map[string]string
	groups  map[GroupKey]Group
	offsets map[GroupKey]map[OffsetKey]CommittedOffset
}

func newTwin() *twin {
	return &twin{
		topics: map[GroupKey]uuid.ID{}, names: map[uuid.ID]GroupKey{}, tconfig: map[uuid.ID]map[string]string{},
		counts: map[uuid.ID]int{}, buried: map[uuid.ID]bool{}, configs: map[ConfigKey]map[string]string{},
		groups: map[GroupKey]Group{}, offsets: map[GroupKey]map[OffsetKey]CommittedOffset{},
	}
}

// follow repeats a command that the table accepted.
func (w *twin) follow(cmd Command, result Result, im *Image) {
	switch x := cmd.(type) {
	case *InitCluster:
		w.cluster = x.ClusterID
	case *AllocateProducerIDs:
		w.nextPID += int64(x.Count)
	case *CreateTopic:
		key := GroupKey{x.Tenant, x.Name}
		if w.topics[key] == x.ID {
			return
		}
		w.topics[key], w.names[x.ID] = x.ID, key
		w.tconfig[x.ID], w.counts[x.ID] = mapsOrEmpty(x.Config), len(x.Assignments)
	case *CreatePartitions:
		w.counts[x.ID] += len(x.Assignments)
	case *SetTopicConfig:
		w.tconfig[x.ID] = changeNaively(w.tconfig[x.ID], x.Change)
	case *SetConfig:
		key := ConfigKey{x.Type, x.Name}
		w.configs[key] = changeNaively(w.configs[key], x.Change)
		if len(w.configs[key]) == 0 {
			delete(w.configs, key)
		}
	case *DeleteTopic:
		delete(w.topics, w.names[x.ID])
		delete(w.names, x.ID)
		for _, offsets := range w.offsets {
			maps.DeleteFunc(offsets, func(k OffsetKey, _ CommittedOffset) bool { return k.TopicID == x.ID })
		}
		w.buried[x.ID] = true
	case *ConfirmDeletion:
		if _, pending := im.Tombstone(x.ID); !pending {
			delete(w.buried, x.ID)
		}
	case *RemoveBroker:
		maps.DeleteFunc(w.buried, func(id uuid.ID, _ bool) bool { _, pending := im.Tombstone(id); return !pending })
	default:
		w.followGroup(cmd, result)
	}
}

func (w *twin) followGroup(cmd Command, result Result) {
	switch x := cmd.(type) {
	case *PutGroup:
		w.groups[GroupKey{x.Group.Tenant, x.Group.ID}] = x.Group
	case *DeleteGroup:
		delete(w.groups, GroupKey{x.Tenant, x.ID})
		delete(w.offsets, GroupKey{x.Tenant, x.ID})
	case *CommitOffsets:
		key := GroupKey{x.Tenant, x.Group}
		last := int64(-1)
		for i, o := range x.Offsets {
			if result.OffsetErrors != nil && result.OffsetErrors[i] != nil {
				continue
			}
			if w.offsets[key] == nil {
				w.offsets[key] = map[OffsetKey]CommittedOffset{}
			}
			w.offsets[key][OffsetKey{TopicID: o.TopicID, Partition: o.Partition}] = o
			last = max(last, o.CommittedAt)
		}
		if _, ok := w.groups[key]; !ok && last >= 0 {
			w.groups[key] = Group{Tenant: x.Tenant, ID: x.Group, EmptySince: last}
		}
	case *DeleteOffsets:
		offsets := w.offsets[GroupKey{x.Tenant, x.Group}]
		for _, k := range x.Offsets {
			at := OffsetKey{TopicID: k.TopicID, Partition: k.Partition}
			if o, ok := offsets[at]; ok && o.CommittedAt <= k.CommittedAt {
				delete(offsets, at)
			}
		}
	}
}

// changeNaively repeats a config change, with lists as sets of words in order.
func changeNaively(old map[string]string, change ConfigChange) map[string]string {
	next := mapsOrEmpty(old)
	if change.Replace {
		next = map[string]string{}
	}
	for _, op := range change.Ops {
		cur, ok := next[op.Key]
		if !ok {
			cur = op.Base
		}
		words := config.SplitList(cur)
		switch op.Kind {
		case ConfigSet:
			next[op.Key] = op.Value
			continue
		case ConfigDelete:
			delete(next, op.Key)
			continue
		case ConfigAppend:
			for _, v := range config.SplitList(op.Value) {
				if !slices.Contains(words, v) {
					words = append(words, v)
				}
			}
		case ConfigSubtract:
			kept := []string{}
			for _, v := range words {
				if !slices.Contains(config.SplitList(op.Value), v) {
					kept = append(kept, v)
				}
			}
			words = kept
		}
		next[op.Key] = ""
		for i, v := range words {
			if i > 0 {
				next[op.Key] += ","
			}
			next[op.Key] += v
		}
	}
	return next
}

func (w *twin) compare(t *rapid.T, im *Image) {
	if im.ClusterID() != w.cluster || im.NextProducerID() != w.nextPID {
		t.Fatalf("cluster %s, next producer id %d; want %s, %d", im.ClusterID(), im.NextProducerID(), w.cluster, w.nextPID)
	}
	if im.TopicCount() != len(w.topics) {
		t.Fatalf("%d topics, want %d", im.TopicCount(), len(w.topics))
	}
	for key, id := range w.topics {
		byName, ok := im.Topic(key.Tenant, key.ID)
		if !ok || byName.ID != id || len(byName.Partitions) != w.counts[id] {
			t.Fatalf("topic %q: %+v, want id %s and %d partitions", key, byName, id, w.counts[id])
		}
		if diff := cmp.Diff(w.tconfig[id], mapsOrEmpty(byName.Config)); diff != "" {
			t.Fatalf("config of %q: %s", key, diff)
		}
	}
	for id := range w.buried {
		if _, ok := im.Tombstone(id); !ok {
			t.Fatalf("no tombstone of %s", id)
		}
	}
	if got := len(slices.Collect(im.Tombstones())); got != len(w.buried) {
		t.Fatalf("%d tombstones, want %d", got, len(w.buried))
	}
	for _, resource := range []ResourceType{BrokerResource, GroupResource} {
		for _, name := range []string{"", "1"} {
			if diff := cmp.Diff(w.configs[ConfigKey{resource, name}], im.Config(resource, name)); diff != "" {
				t.Fatalf("config %d %q: %s", resource, name, diff)
			}
		}
	}
	w.compareGroups(t, im)
}

func (w *twin) compareGroups(t *rapid.T, im *Image) {
	var want, got []string
	for key, g := range w.groups {
		want = append(want, fmt.Sprintf("%q", key))
		stored, _ := im.Group(key.Tenant, key.ID)
		if diff := cmp.Diff(&g, stored); diff != "" {
			t.Fatalf("group %q: %s", key, diff)
		}
		offsets := map[OffsetKey]CommittedOffset{}
		for o := range im.Offsets(key.Tenant, key.ID) {
			offsets[OffsetKey{TopicID: o.TopicID, Partition: o.Partition}] = o
		}
		if len(offsets) != len(w.offsets[key]) || len(offsets) > 0 && !maps.Equal(offsets, w.offsets[key]) {
			t.Fatalf("offsets of %q: %v, want %v", key, offsets, w.offsets[key])
		}
		for k, o := range w.offsets[key] {
			if one, ok := im.Offset(key.Tenant, key.ID, k.TopicID, k.Partition); !ok || one != o {
				t.Fatalf("offset %v of %q: %v, want %v", k, key, one, o)
			}
		}
	}
	for _, tenant := range worldTenants {
		for g := range im.Groups(tenant) {
			got = append(got, fmt.Sprintf("%q", GroupKey{g.Tenant, g.ID}))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Fatalf("groups %v, want %v", got, want)
	}
}

// checkImage states what holds in every image, whatever led to it.
func checkImage(t *rapid.T, im *Image) {
	// The state sum and all indexes are those of an image built from the objects alone.
	e := newEdit(newImage())
	for b := range im.Brokers() {
		e.putBroker(b)
		if sequence := im.sequence(b.ID); sequence != 0 {
			e.putSequence(b.ID, sequence)
		}
	}
	for x := range im.AllTopics() {
		e.putTopic(x)
	}
	for x := range im.Tombstones() {
		e.putTombstone(x)
	}
	it := im.configs.Root().Iterator()
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		e.putConfig(ConfigKey{ResourceType(k[0]), string(k[1:])}, v)
	}
	for g := range im.AllGroups() {
		e.putGroup(g)
		for o := range im.Offsets(g.Tenant, g.ID) {
			e.putOffset(g.Tenant, g.ID, o)
		}
	}
	rebuilt := e.done()
	if rebuilt.sum != im.sum {
		t.Fatal("state sum is not that of the objects")
	}
	if rebuilt.sequences.Len() != im.sequences.Len() || rebuilt.offsets.Len() != im.offsets.Len() || rebuilt.offsetGroups.Len() != im.offsetGroups.Len() ||
		rebuilt.topicIDs.Len() != im.topicIDs.Len() || rebuilt.normalised.Len() != im.normalised.Len() {
		t.Fatal("an index holds what no object accounts for")
	}
	for x := range im.AllTopics() {
		byID, ok := im.TopicByID(x.ID)
		similar, ok2 := im.CollidingTopic(x.Tenant, x.Name)
		if !ok || !ok2 || byID != x || similar != x {
			t.Fatalf("topic %q is not the same by name, id and normalised name", x.Name)
		}
		for i := range x.Partitions {
			checkPartition(t, im, x, &x.Partitions[i])
		}
	}
}

func checkPartition(t *rapid.T, im *Image, topic *Topic, p *Partition) {
	seen := map[int32]int{}
	for _, set := range [][]int32{p.ISR, p.ELR, p.LastKnownELR} {
		for _, id := range set {
			seen[id]++
			if seen[id] > 1 || !slices.Contains(p.Replicas, id) {
				t.Fatalf("replica sets overlap or hold strangers: %+v", p)
			}
		}
	}
	for _, id := range p.ISR {
		b, ok := im.Broker(id)
		last := ok && b.State == ShuttingDown && p.Leader == id && len(p.ISR) == 1 // 5.6
		if !ok || b.State != Active && !last {                                     // I14
			t.Fatalf("broker %d is in sync but not active: %+v", id, p)
		}
	}
	if p.Leader != NoLeader && !slices.Contains(p.ISR, p.Leader) {
		t.Fatalf("leader is not in sync: %+v", p)
	}
	if len(p.ISR) >= im.MinInSync(topic, len(p.Replicas)) && len(p.ELR)+len(p.LastKnownELR) > 0 {
		t.Fatalf("enough in sync, and yet others are eligible: %+v", p)
	}
	if p.Recovering && len(p.ISR) > 1 {
		t.Fatalf("the ISR grew before the leader had recovered: %+v", p)
	}
	if len(minus(slices.Concat(p.Adding, p.Removing), p.Replicas)) > 0 || len(common(p.Adding, p.Removing)) > 0 {
		t.Fatalf("reassignment of strangers, or to and fro: %+v", p)
	}
	target := minus(p.Replicas, p.Removing)
	if p.Reassigning() && len(minus(p.Adding, p.ISR)) == 0 && len(common(target, p.ISR)) >= im.MinInSync(topic, len(target)) {
		t.Fatalf("reassignment could complete: %+v", p) // I28
	}
	if p.Leader == NoLeader {
		for _, id := range slices.Concat(p.ISR, p.ELR) {
			if b, ok := im.Broker(id); ok && b.State == Active {
				t.Fatalf("no leader although %d could be: %+v", id, p) // I27
			}
		}
	}
}

func checkShards(t *rapid.T, im *Image) {
	anyActive := false
	for b := range im.Brokers() {
		anyActive = anyActive || b.State == Active
	}
	for i := range int32(GroupShards) {
		s := im.Shard(i)
		if owner, ok := im.Broker(s.Owner); s.Owner != NoLeader && (!ok || owner.State != Active) || s.Owner == NoLeader && anyActive {
			t.Fatalf("shard %d: %+v, owner %+v", i, s, owner)
		}
	}
}

// checkShardEpochs compares the shards before and after one command (I22).
func checkShardEpochs(t *rapid.T, before, after *Image) {
	for i := range int32(GroupShards) {
		a, b := before.Shard(i), after.Shard(i)
		if a.Owner != b.Owner && b.Epoch != a.Epoch+1 || a.Owner == b.Owner && b.Epoch != a.Epoch {
			t.Fatalf("shard epoch does not count owners: %+v, then %+v", a, b)
		}
	}
}

// checkStep compares the images before and after one accepted or rejected command.
func checkStep(t *rapid.T, before, after *Image, cmd Command) {
	for x := range before.AllTopics() {
		next, ok := after.TopicByID(x.ID)
		if !ok {
			continue
		}
		for i := range x.Partitions {
			p, q := &x.Partitions[i], &next.Partitions[i]
			checkEpochs(t, p, q)
			checkElection(t, after, next, p, q, cmd)
			checkDropped(t, after, next, p, q, cmd)
		}
	}
	for b := range before.Brokers() {
		if next, ok := after.Broker(b.ID); !ok && b.State != Fenced || ok && next.Epoch == b.Epoch && next.Incarnation != b.Incarnation {
			t.Fatalf("broker is gone, or two share an epoch: %+v, then %+v", b, next)
		}
	}
	for b := range after.Brokers() {
		if old, ok := before.Broker(b.ID); (!ok || old.Epoch != b.Epoch) && b.Epoch != int64(after.Index()) {
			t.Fatalf("broker epoch is not the index of its registration: %+v, then %+v", old, b) // so it only grows
		}
	}
}

// checkEpochs: all epochs only grow, each by one (I22).
func checkEpochs(t *rapid.T, p, q *Partition) {
	changed := !cmp.Equal(*p, *q)
	steps := q.PartitionEpoch - p.PartitionEpoch
	if changed && steps != 1 || !changed && steps != 0 {
		t.Fatalf("partition epoch is not a count of changes: %+v, then %+v", *p, *q)
	}
	ended := p.Reassigning() && !q.Reassigning() || len(minus(p.Replicas, q.Replicas)) > 0
	steps = q.LeaderEpoch - p.LeaderEpoch
	if want := p.Leader != q.Leader || ended; want && steps != 1 || !want && steps != 0 {
		t.Fatalf("leader epoch does not count leaders and reassignments: %+v, then %+v", *p, *q)
	}
}

// checkElection: whoever leads without having been a candidate does so by an unclean election that was
// allowed, and which shows (I3, I17).
func checkElection(t *rapid.T, im *Image, topic *Topic, p, q *Partition, cmd Command) {
	candidates := slices.Concat(p.ISR, p.ELR)
	if x, ok := cmd.(*AlterPartition); ok { // by a leader that shuts down
		for _, m := range x.ISR {
			candidates = append(candidates, m.ID)
		}
	}
	if p.UncleanEpoch == q.UncleanEpoch {
		if q.Leader != NoLeader && q.Leader != p.Leader && !slices.Contains(candidates, q.Leader) {
			t.Fatalf("%d leads and was no candidate: %+v, then %+v", q.Leader, *p, *q)
		}
		return
	}
	if q.UncleanEpoch != q.LeaderEpoch || p.LeaderEpoch == q.LeaderEpoch || !q.Recovering || !slices.Equal(q.ISR, []int32{q.Leader}) {
		t.Fatalf("unclean election does not show: %+v, then %+v", *p, *q)
	}
	_, wish := cmd.(*ElectLeader)
	_, recovery := cmd.(*RecoverLeader)
	enabled, overridden := topic.Config[uncleanKey]
	if !overridden {
		enabled = im.Config(BrokerResource, "")[uncleanKey]
	}
	if !wish && !recovery && enabled != "true" {
		t.Fatalf("%T led to an unclean election that is not allowed: %+v, then %+v", cmd, *p, *q)
	}
}

// checkDropped: a replica that may be needed goes only when enough others are in sync (I28).
func checkDropped(t *rapid.T, im *Image, topic *Topic, p, q *Partition, cmd Command) {
	needed := slices.Concat(p.ISR, p.ELR, p.LastKnownELR)
	if len(common(needed, minus(p.Replicas, q.Replicas))) > 0 && len(q.ISR) < im.MinInSync(topic, len(q.Replicas)) {
		t.Fatalf("replicas were dropped below min: %+v, then %+v", *p, *q)
	}
	if _, ok := cmd.(*Reassign); !ok && len(q.Adding) == 0 && len(minus(p.Adding, q.ISR)) > 0 {
		t.Fatalf("complete before all were in sync: %+v, then %+v", *p, *q)
	}
}

func TestTableAgreesWithTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := newTwin()
		im := drawLog(t, NewImage(), func(index uint64, cmd Command, im *Image) *Image {
			next, result, err := Apply(im, index, 7, cmd)
			if result.Index != index || next.Index() != index {
				t.Fatalf("index %d, result says %d", next.Index(), result.Index)
			}
			var rejection Rejection
			switch {
			case err == nil:
				model.follow(cmd, result, next)
			case !errors.As(err, &rejection):
				t.Fatalf("%T: error %v is no rejection", cmd, err)
			case next.sum != im.sum || next.shards != im.shards || next.NextProducerID() != im.NextProducerID() || next.ClusterID() != im.ClusterID():
				t.Fatalf("%T was rejected (%v) and changed something", cmd, err)
			}
			checkStep(t, im, next, cmd)
			checkShardEpochs(t, im, next)
			return next
		})
		model.compare(t, im)
		checkImage(t, im)
		checkShards(t, im)
		snapshotAndBack(t, im) // I20
	})
}
