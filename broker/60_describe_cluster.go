package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/raftmeta"
	"github.com/chronik-stream/chronik/wire"
)

// The endpoints that DescribeCluster may be asked for.
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

// DescribeCluster (60), v0-v2. KIP-700, 919, 1073.
func (b *Broker) describeCluster(r *wire.Request) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewDescribeClusterResponse()
	img := b.meta.Image()
	resp.ClusterAuthorizedOperations, resp.ControllerID = notAsked, controllerFor(img, b.cluster.Controller(), b.nodeID)
	resp.EndpointType = brokerEndpoints
	if req.Version >= 1 && req.EndpointType != brokerEndpoints {
		err := refuse(kerr.UnsupportedEndpointType, fmt.Sprintf("endpoint type %d is not known", req.EndpointType))
		if req.EndpointType == controllerEndpoints {
			err = refuse(kerr.MismatchedEndpointType, "this is a broker endpoint: it does not describe controllers")
		}
		resp.EndpointType = req.EndpointType
		resp.ErrorCode, resp.ErrorMessage = b.codeOf(err), messageOf(err)
		r.Reply(&resp)
		return
	}
	resp.ClusterID = img.ClusterID().String()
	for broker := range img.Brokers() {
		fenced := broker.State != raftmeta.Active
		if fenced && !req.IncludeFencedBrokers {
			continue
		}
		rb := kmsg.NewDescribeClusterResponseBroker()
		rb.NodeID, rb.Host, rb.Port, rb.Rack, rb.IsFenced = broker.ID, broker.KafkaHost, broker.KafkaPort, rackOf(broker), fenced
		resp.Brokers = append(resp.Brokers, rb)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	r.Reply(&resp)
}
