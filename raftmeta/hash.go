package raftmeta

import (
	"crypto/sha256"
	"encoding/binary"
)

// Hash is a fingerprint of an image: equal on all nodes at an equal index (I20).
type Hash [sha256.Size]byte

// Audit is the fingerprint that nodes compare with each other: at every multiple of auditInterval in
// the log it is chained with the one before, so that states which differed once never agree again.
type Audit struct {
	Index uint64 // multiple of auditInterval, 0 before the first
	Hash  Hash
}

// auditInterval is in log entries (replication.md 4.2).
const auditInterval = 1024

// stateSum is a sum over all objects of an image, each by the digest of its encoded form. A sum does
// not depend on the order in which the objects came, so one change costs two digests and not a walk
// over everything. It detects divergence by mistake; it is no defence against a forger.
type stateSum [sha256.Size / 8]uint64

func (s *stateSum) add(object []byte) {
	digest := sha256.Sum256(object)
	for i := range s {
		s[i] += binary.LittleEndian.Uint64(digest[8*i:])
	}
}

func (s *stateSum) subtract(object []byte) {
	digest := sha256.Sum256(object)
	for i := range s {
		s[i] -= binary.LittleEndian.Uint64(digest[8*i:])
	}
}

// stateBytes has room for what appendState appends, and for an index and a hash in front.
const stateBytes = 128 + 8*GroupShards

// Hash is the fingerprint of the image, its index included.
func (im *Image) Hash() Hash {
	buf := make([]byte, 0, stateBytes)
	buf = binary.LittleEndian.AppendUint64(buf, im.index)
	buf = append(buf, im.audit.Hash[:]...)
	return sha256.Sum256(im.appendState(buf))
}

// Audit is the last chained fingerprint.
func (im *Image) Audit() Audit { return im.audit }

// appendState appends what stands for the whole state, its position in the log left out.
func (im *Image) appendState(dst []byte) []byte {
	for _, lane := range im.sum {
		dst = binary.LittleEndian.AppendUint64(dst, lane)
	}
	dst = append(dst, im.clusterID[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, im.featureLevel)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(im.nextProducerID))
	for _, s := range im.shards {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Owner))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(s.Epoch))
	}
	return dst
}

// auditDue reports whether the log crosses a multiple of auditInterval between the last entry of commands
// and the one at index, which is about to be applied. The state there is the present one.
func (im *Image) auditDue(index uint64) bool { return lastBoundary(index) > im.audit.Index }

func lastBoundary(index uint64) uint64 { return (index - 1) / auditInterval * auditInterval }

// advanceAudit chains the present state into the audit of the boundary before index.
func (im *Image) advanceAudit(index uint64) {
	boundary := lastBoundary(index)
	buf := append(make([]byte, 0, stateBytes), im.audit.Hash[:]...)
	buf = binary.LittleEndian.AppendUint64(buf, boundary)
	im.audit = Audit{Index: boundary, Hash: sha256.Sum256(im.appendState(buf))}
}
