package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/raftmeta"
)

const (
	// recoverInterval is how often the controller looks for partitions whose candidates all may have lost
	// something.
	recoverInterval = 2 * time.Second
	// maxRecoveries bounds the partitions that are asked for in one round.
	maxRecoveries = 64
	logEndTimeout = 2 * time.Second
)

// suspectPartition is one that waits for the logs of its last known eligible replicas to be compared.
type suspectPartition struct {
	key       partitionKey
	epoch     int32 // of the partition
	name      string
	replicas  []int32 // in order of preference
	suspected []int32
}

// recoverPartitions gives leaders to such partitions while the term lasts (replication.md 11.4).
func (t *term) recoverPartitions(ctx context.Context) {
	ticker := time.NewTicker(recoverInterval)
	defer ticker.Stop()
	seen := uint64(0)
	waiting := map[partitionKey]bool{} // for which the wait was logged
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		im := t.meta.Image()
		if im.Index() == seen && len(waiting) == 0 {
			continue
		}
		seen = im.Index()
		waiting = t.recoverRound(ctx, im, waiting)
	}
}

// recoverRound returns the partitions that have to wait on.
func (t *term) recoverRound(ctx context.Context, im *raftmeta.Image, waited map[partitionKey]bool) map[partitionKey]bool {
	waiting := map[partitionKey]bool{}
	for _, p := range suspectPartitions(im) {
		if t.over() {
			return waiting
		}
		leader, ok := furthest(p.replicas, t.c.n.logEnds(ctx, p))
		if b, known := im.Broker(leader); ok && known && b.State == raftmeta.Active {
			t.c.n.log.Warn("recovering a partition whose replicas all may have lost records",
				"topic", p.name, "partition", p.key.partition, "leader", leader, "replicas", p.suspected)
			t.propose(p.key, &raftmeta.RecoverLeader{
				TopicID: p.key.topic, Partition: p.key.partition, PartitionEpoch: p.epoch, Leader: leader,
			}, nil)
		} else if !waited[p.key] {
			t.c.n.log.Warn("a partition has no leader and waits for all replicas that may hold its newest records",
				"topic", p.name, "partition", p.key.partition, "replicas", p.suspected)
		}
		waiting[p.key] = true
	}
	return waiting
}

// suspectPartitions lists those that have neither a leader nor a candidate, and replicas that once were.
func suspectPartitions(im *raftmeta.Image) []suspectPartition {
	var list []suspectPartition
	for t := range im.AllTopics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader != raftmeta.NoLeader || len(p.ISR)+len(p.ELR) > 0 || len(p.LastKnownELR) == 0 {
				continue
			}
			list = append(list, suspectPartition{partitionKey{t.ID, int32(i)}, p.PartitionEpoch, t.Name, p.Replicas, p.LastKnownELR})
			if len(list) == maxRecoveries {
				return list
			}
		}
	}
	return list
}

// logEnd is how far a replica's log goes. Of two, the one of the later epoch goes further, whatever the
// offsets: what follows the other's last epoch was never committed.
type logEnd struct {
	broker int32
	epoch  int32
	offset int64
}

// furthest chooses among the ends of all suspected replicas, nil if some are not known. The order of
// preference decides between equals.
func furthest(replicas []int32, ends []logEnd) (broker int32, ok bool) {
	if len(ends) == 0 {
		return raftmeta.NoLeader, false
	}
	best := slices.MaxFunc(ends, func(a, b logEnd) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.offset, b.offset),
			cmp.Compare(slices.Index(replicas, b.broker), slices.Index(replicas, a.broker)))
	})
	return best.broker, true
}

// logEnds asks every suspected replica. It returns nil unless all answer: the one that does not may hold
// what the others have lost.
func (n *Node) logEnds(ctx context.Context, p suspectPartition) []logEnd {
	ctx, cancel := context.WithTimeout(ctx, logEndTimeout)
	defer cancel()
	asking, ctx := errgroup.WithContext(ctx)
	body := appendPartition(nil, p.key.topic, p.key.partition)
	ends := make([]logEnd, len(p.suspected))
	for i, broker := range p.suspected {
		asking.Go(func() (err error) {
			ends[i], err = n.askLogEnd(ctx, broker, body)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		n.log.Debug("not all logs can be compared", "topic", p.name, "partition", p.key.partition, "err", err)
		return nil
	}
	return ends
}

func (n *Node) askLogEnd(ctx context.Context, broker int32, body []byte) (logEnd, error) {
	var answer []byte
	var err error
	if handle := n.handlers[MethodLogEnd]; broker == n.o.NodeID && handle != nil {
		answer, err = handle(ctx, body)
	} else {
		address, known := n.PeerAddress(broker)
		if !known {
			return logEnd{}, errProbe
		}
		answer, err = n.Call(ctx, address, MethodLogEnd, body)
	}
	if err != nil {
		return logEnd{}, err
	}
	if len(answer) != 4+8 {
		return logEnd{}, errAnswer
	}
	return logEnd{broker, int32(binary.BigEndian.Uint32(answer)), int64(binary.BigEndian.Uint64(answer[4:]))}, nil
}
