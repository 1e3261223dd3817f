package raftmeta

import (
	"encoding/binary"
	"strings"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// Keys of the radix trees. A tenant holds no NUL, so the first NUL of a key ends it. Group ids may hold
// any byte: where something follows one, its length goes first.

// keyBuffer is what a lookup reserves on its stack; longer keys go to the heap.
const keyBuffer = 128

func appendNameKey(dst []byte, tenant, name string) []byte {
	dst = append(dst, tenant...)
	dst = append(dst, 0)
	return append(dst, name...)
}

func appendNormalisedKey(dst []byte, tenant, name string) []byte {
	start := len(dst) + len(tenant) + 1
	dst = appendNameKey(dst, tenant, name)
	for i := start; i < len(dst); i++ {
		if dst[i] == '.' {
			dst[i] = '_'
		}
	}
	return dst
}

func appendBrokerKey(dst []byte, id int32) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(id))
}

func appendConfigKey(dst []byte, t ResourceType, name string) []byte {
	dst = append(dst, byte(t))
	return append(dst, name...)
}

// appendOffsetPrefix is what the keys of all offsets of a group begin with, and no others.
func appendOffsetPrefix(dst []byte, tenant, group string) []byte {
	dst = append(dst, tenant...)
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(group)))
	return append(dst, group...)
}

func appendOffsetKey(dst []byte, tenant, group string, topic uuid.ID, partition int32) []byte {
	dst = appendOffsetPrefix(dst, tenant, group)
	dst = append(dst, topic[:]...)
	return binary.BigEndian.AppendUint32(dst, uint32(partition))
}

func appendTopicGroupKey(dst []byte, topic uuid.ID, tenant, group string) []byte {
	dst = append(dst, topic[:]...)
	return appendNameKey(dst, tenant, group)
}

// splitTopicGroupKey undoes appendTopicGroupKey.
func splitTopicGroupKey(key []byte) (tenant, group string) {
	tenant, group, _ = strings.Cut(string(key[len(uuid.ID{}):]), "\x00")
	return tenant, group
}
