package cluster

import "encoding/binary"

// Integers in private requests are big-endian, as in Kafka's protocol.

func appendUint64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func readUint64(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b), b[8:], true
}

func appendPartition(dst []byte, topic [16]byte, partition int32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, topic[:]...), uint32(partition))
}
