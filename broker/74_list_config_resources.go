package broker

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// clientMetricsResource is the only type that v0 lists (as ListClientMetricsResources); there are none.
const clientMetricsResource = int8(kmsg.ConfigResourceTypeClientMetrics)

// listable are the resource types that an empty filter stands for (KIP-1142).
var listable = []int8{
	int8(kmsg.ConfigResourceTypeTopic), int8(kmsg.ConfigResourceTypeBroker), int8(kmsg.ConfigResourceTypeBrokerLogger),
	clientMetricsResource, int8(kmsg.ConfigResourceTypeGroupConfig),
}

// ListConfigResources (74), v0-v1. KIP-714, 1142.
func (b *Broker) listConfigResources(r *wire.Request) {
	req := r.Body.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewListConfigResourcesResponse()
	resp.ConfigResources = []kmsg.ListConfigResourcesResponseConfigResource{}
	types := req.ResourceTypes
	switch {
	case req.Version == 0:
		types = []int8{clientMetricsResource}
	case len(types) == 0:
		types = listable
	}
	for _, kind := range types {
		if !slices.Contains(listable, kind) {
			err := refuse(kerr.UnsupportedVersion, fmt.Sprintf("resource type %d cannot be listed", kind))
			resp.ErrorCode, resp.ConfigResources = b.codeOf(err), nil
			break
		}
		for _, name := range b.resourceNames(r.Session.Tenant, kmsg.ConfigResourceType(kind)) {
			resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: kind})
		}
	}
	r.Reply(&resp)
}

func (b *Broker) resourceNames(tenant string, kind kmsg.ConfigResourceType) []string {
	img := b.meta.Image()
	var names []string
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		for t := range img.Topics(tenant) {
			names = append(names, t.Name)
		}
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		for broker := range img.Brokers() {
			names = append(names, strconv.Itoa(int(broker.ID)))
		}
	case kmsg.ConfigResourceTypeGroupConfig:
		names = img.ConfigNames(raftmeta.GroupResource)
	}
	return names
}
