package broker

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/wire"
)

// What a client may call itself (KIP-511).
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// ApiVersions (18), v0-v5. KIP-35, 511, 584, 1242. Requests of a newer version never come here: the
// connection answers them in the layout of v0.
//
// No features are advertised: a client that saw transaction.version would begin to rely on it.
func (b *Broker) apiVersions(r *wire.Request) {
	req := r.Body.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewApiVersionsResponse()
	resp.FinalizedFeaturesEpoch = -1
	resp.ErrorCode = b.checkHandshake(req)
	if resp.ErrorCode == 0 {
		for _, served := range b.registry.Ranges() {
			key := kmsg.NewApiVersionsResponseApiKey()
			key.ApiKey, key.MinVersion, key.MaxVersion = served.Key, served.Min, served.Max
			resp.ApiKeys = append(resp.ApiKeys, key)
		}
		if req.Version >= 3 {
			r.UpdateSession(func(s *wire.Session) {
				s.ClientSoftwareName, s.ClientSoftwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
			})
		}
	}
	r.Reply(&resp)
}

// checkHandshake returns the code for what a client says of itself and of whom it means to talk to.
func (b *Broker) checkHandshake(req *kmsg.ApiVersionsRequest) int16 {
	if req.Version >= 3 && !(softwareName.MatchString(req.ClientSoftwareName) && softwareName.MatchString(req.ClientSoftwareVersion)) {
		return kerr.InvalidRequest.Code
	}
	if req.Version < 5 {
		return 0
	}
	named, numbered := req.ClusterID != nil, req.NodeID >= 0
	switch {
	case named != numbered:
		return kerr.InvalidRequest.Code
	case named && (*req.ClusterID != b.meta.Image().ClusterID().String() || req.NodeID != b.nodeID):
		return kerr.RebootstrapRequired.Code
	}
	return 0
}
