package broker

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/chronik-stream/chronik/httpapi"
	"github.com/chronik-stream/chronik/raftmeta"
)

// httpSource tells the HTTP API of the node, for the default tenant.
type httpSource struct{ b *Broker }

const defaultTenant = ""

func (b *Broker) httpHandler() http.Handler {
	return httpapi.New(httpSource{b}, b.options.Registry)
}

func (s httpSource) Alive() error {
	if !s.b.ready.Load() {
		return nil // starting or stopping is being alive
	}
	if err := s.b.logs.Failed(); err != nil {
		return fmt.Errorf("the data directory has failed, the node must be restarted: %w", err)
	}
	return nil
}

func (s httpSource) Ready() error {
	if !s.b.ready.Load() {
		return errors.New("the node is starting or stopping")
	}
	return s.Alive()
}

func (s httpSource) Raft() httpapi.Raft {
	st := s.b.meta.Stats()
	out := httpapi.Raft{
		State: st.State, Term: st.Term, Leader: st.Leader,
		LastIndex: st.LastIndex, CommitIndex: st.CommitIndex, AppliedIndex: st.AppliedIndex,
		Servers:  []httpapi.RaftServer{},
		Snapshot: httpapi.RaftSnapshot{Index: st.Snapshot.Index, Term: st.Snapshot.Term},
	}
	for _, server := range st.Servers {
		out.Servers = append(out.Servers, httpapi.RaftServer{
			ID: server.ID, Address: server.Address, Suffrage: server.Suffrage, LastContactMS: server.LastContactMs,
		})
	}
	return out
}

func (s httpSource) Topics() []httpapi.Topic {
	var list []httpapi.Topic
	for t := range s.b.meta.Image().Topics(defaultTenant) {
		list = append(list, s.topic(t))
	}
	return list
}

func (s httpSource) topic(t *raftmeta.Topic) httpapi.Topic {
	out := httpapi.Topic{
		Name: t.Name, ID: t.ID.String(), Partitions: len(t.Partitions), ReplicationFactor: factorOf(t),
	}
	for i := range t.Partitions {
		if h := s.b.replicas.get(t.ID, int32(i)); h != nil {
			out.Bytes += h.replica.Log().Size()
		}
	}
	return out
}

func (s httpSource) Topic(name string) (httpapi.TopicDetail, bool) {
	t, ok := s.b.meta.Image().Topic(defaultTenant, name)
	if !ok {
		return httpapi.TopicDetail{}, false
	}
	out := httpapi.TopicDetail{Topic: s.topic(t), Configs: map[string]string{}}
	maps.Copy(out.Configs, t.Config)
	for i := range t.Partitions {
		p := &t.Partitions[i]
		hp := httpapi.Partition{
			Partition: int32(i), Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: shown(p.ISR),
			ELR: shown(p.ELR), Adding: shown(p.Adding), Removing: shown(p.Removing),
			LogStart: -1, HighWatermark: -1, LogEnd: -1, Lag: []httpapi.FollowerLag{},
		}
		if h := s.b.replicas.get(t.ID, int32(i)); h != nil {
			o := h.replica.Offsets()
			hp.LogStart, hp.HighWatermark, hp.LogEnd, hp.Bytes = o.Start, o.HighWatermark, o.End, h.replica.Log().Size()
			hp.Lag = s.lagOf(t, h)
			out.TotalCount += o.HighWatermark - o.Start
		}
		out.Partition = append(out.Partition, hp)
	}
	return out, true
}
