package groups

import (
	"encoding/binary"
	"errors"
)

// consumerProtocolType is the protocol type whose subscriptions can be read.
const consumerProtocolType = "consumer"

var errSubscription = errors.New("malformed consumer subscription")

// decodeSubscription returns the topics of a consumer's subscription (the member metadata of the
// consumer protocol). It reads the version 0 part only, with which all versions begin: whatever a
// later client appends is none of the coordinator's business, and must not make it unreadable.
//
//	version int16 | count int32 | count x (length int16, name) | ...
func decodeSubscription(b []byte) ([]string, error) {
	if len(b) < 6 || int16(binary.BigEndian.Uint16(b)) < 0 {
		return nil, errSubscription
	}
	count := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	if count < 0 || int(count) > len(b)/2 { // each name takes two bytes at least
		return nil, errSubscription
	}
	topics := make([]string, 0, count)
	for range count {
		if len(b) < 2 {
			return nil, errSubscription
		}
		n := int16(binary.BigEndian.Uint16(b))
		if b = b[2:]; n < 0 || int(n) > len(b) {
			return nil, errSubscription
		}
		topics = append(topics, string(b[:n]))
		b = b[n:]
	}
	return topics, nil
}

// subscription returns the topics that members of a consumer group read, and whether that is known.
// It is not if any member's subscription cannot be read, or no protocol was chosen yet.
func (g *group) subscription() (topics map[string]struct{}, known bool) {
	if len(g.members) == 0 {
		return nil, true
	}
	if g.protocolType != consumerProtocolType || g.protocol == "" {
		return nil, false
	}
	topics = make(map[string]struct{})
	for _, m := range g.order {
		names, err := decodeSubscription(m.metadata(g.protocol))
		if err != nil {
			return nil, false
		}
		for _, name := range names {
			topics[name] = struct{}{}
		}
	}
	return topics, true
}
