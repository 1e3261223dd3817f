package wire

import (
	"encoding/binary"
	"fmt"
)

// headerSize is the part that all request headers share: key, version, correlation id.
const headerSize = 8

// maxHeaderTags bounds the tagged fields of a request header. Kafka has never defined one.
const maxHeaderTags = 64

// header is a request header. Its first 8 bytes mean the same in every version, so they can be read,
// and answered to, before it is known whether the key and version are served.
type header struct {
	key, version  int16
	correlationID int32
}

// readHeader reads the common part; frame must have headerSize bytes.
func readHeader(frame []byte) header {
	return header{
		key:           int16(binary.BigEndian.Uint16(frame)),
		version:       int16(binary.BigEndian.Uint16(frame[2:])),
		correlationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
}

// readRest reads what follows the common part in the header version of a known key: nothing in v0,
// the client id in v1, tagged fields after it in v2. The client id has the classic int16 length even
// in v2, because a client sends its first ApiVersions before it knows which broker it talks to. Both
// results alias frame.
func (h header) readRest(frame []byte) (clientID, body []byte, err error) {
	d := Dec{B: frame[headerSize:]}
	if h.key == keyControlledShutdown && h.version == 0 {
		return nil, d.B, nil
	}
	clientID = d.StringBytes()
	if h.version >= firstFlexible(h.key) {
		d.Flexible = true
		if n := d.tagCount(); n > maxHeaderTags {
			d.fail(errTooMany)
		} else {
			d.skipTags(n)
		}
	}
	if err := d.Err(); err != nil {
		return nil, nil, fmt.Errorf("request header: %w", err)
	}
	return clientID, d.B, nil
}

// Keys that the protocol itself treats apart.
const (
	keyControlledShutdown = 7
	keyAPIVersions        = 18
)

// appendResponseHeader appends a frame's length, 0 for now, and the response header: v1 with its empty
// tagged fields if the body is flexible, else v0. ApiVersions has v0 always: its client cannot know yet
// which version the broker answers in.
func appendResponseHeader(b []byte, key int16, correlationID int32, flexible bool) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(correlationID))
	if flexible && key != keyAPIVersions {
		b = append(b, 0)
	}
	return b
}

// setFrameLength fills in the length of the frame that frame begins, which counts what follows it.
func setFrameLength(frame []byte, n int) { binary.BigEndian.PutUint32(frame, uint32(n)) }
