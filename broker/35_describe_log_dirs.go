package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// DescribeLogDirs (35), v0-v5. KIP-113, 784, 827. Null topics ask for all.
func (b *Broker) describeLogDirs(r *wire.Request) {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	resp := kmsg.NewDescribeLogDirsResponse()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = b.logDirPath
	dir.TotalBytes, dir.UsableBytes = -1, -1
	if b.logs.Failed() != nil {
		dir.ErrorCode = kerr.KafkaStorageError.Code
	} else if usage, err := b.logs.Usage(); err == nil {
		dir.TotalBytes, dir.UsableBytes = usage.Total, usage.Free
	}
	dir.Topics = b.logDirTopics(r.Session.Tenant, req.Topics)
	resp.Dirs = append(resp.Dirs, dir)
	r.Reply(&resp)
}

func (b *Broker) logDirTopics(tenant string, asked []kmsg.DescribeLogDirsRequestTopic) []kmsg.DescribeLogDirsResponseDirTopic {
	img := b.meta.Image()
	topics := []kmsg.DescribeLogDirsResponseDirTopic{}
	if asked == nil {
		for t := range img.Topics(tenant) {
			topics = append(topics, b.logDirTopic(t, func(int32) bool { return true }))
		}
		return topics
	}
	for _, a := range asked {
		if t, ok := img.Topic(tenant, a.Topic); ok {
			topics = append(topics, b.logDirTopic(t, func(p int32) bool { return slices.Contains(a.Partitions, p) }))
		}
	}
	return topics
}

func (b *Broker) logDirTopic(t *raftmeta.Topic, wanted func(int32) bool) kmsg.DescribeLogDirsResponseDirTopic {
	out := kmsg.NewDescribeLogDirsResponseDirTopic()
	out.Topic = t.Name
	for i := range t.Partitions {
		if h := b.replicas.get(t.ID, int32(i)); h != nil && wanted(int32(i)) {
			out.Partitions = append(out.Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{
				Partition: int32(i), Size: h.replica.Log().Size(), // leaders do not lag
			})
		}
	}
	return out
}
