package log

import (
	"crypto/sha256"
	"unsafe"
)

// keyHash stands for a key. Two keys of one hash would be taken for one, and the older record lost:
// with 128 bits of SHA-256 nobody finds such a pair, not even who chooses the keys.
type keyHash [16]byte

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash(sum[:])
}

// keySlot is one place in the table.
type keySlot struct {
	hash keyHash
	next int64 // last offset of the key + 1; 0 is an empty place
}

const (
	keySlotBytes   = int64(unsafe.Sizeof(keySlot{}))
	firstKeySlots  = 1 << 10
	keyLoadPercent = 80 // beyond it, probing gets slow
)

// offsetMap is the last offset of every key in the dirty part of a log. It takes 24 bytes for a key
// whatever its length, grows as needed, and is full when it would pass its limit.
type offsetMap struct {
	slots    []keySlot // a power of two of them
	used     int
	maxSlots int
}

// newOffsetMap returns a map of at most maxBytes, but with room for some keys in any case. While it
// grows, the old table, half as large, exists beside the new one.
func newOffsetMap(maxBytes int64) *offsetMap {
	most := firstKeySlots
	for int64(most)*2*keySlotBytes <= maxBytes {
		most *= 2
	}
	return &offsetMap{slots: make([]keySlot, firstKeySlots), maxSlots: most}
}

// place returns the slot that holds hash, or the empty one where it belongs.
func (m *offsetMap) place(hash keyHash) *keySlot {
	mask := len(m.slots) - 1
	at := int(uint32(hash[0])|uint32(hash[1])<<8|uint32(hash[2])<<16|uint32(hash[3])<<24) & mask
	for {
		s := &m.slots[at]
		if s.next == 0 || s.hash == hash {
			return s
		}
		at = (at + 1) & mask
	}
}

// put notes that the key's last offset is offset; calls come in offset order. It returns false, and
// changes nothing, if the key is new and the map full.
func (m *offsetMap) put(hash keyHash, offset int64) bool {
	s := m.place(hash)
	if s.next == 0 {
		if (m.used+1)*100 > len(m.slots)*keyLoadPercent {
			if len(m.slots) >= m.maxSlots {
				return false
			}
			m.grow()
			s = m.place(hash)
		}
		m.used++
	}
	*s = keySlot{hash, offset + 1}
	return true
}

func (m *offsetMap) grow() {
	old := m.slots
	m.slots = make([]keySlot, 2*len(old))
	for _, s := range old {
		if s.next != 0 {
			*m.place(s.hash) = s
		}
	}
}

// get returns the key's last offset, or -1 if it is not in the dirty part.
func (m *offsetMap) get(hash keyHash) int64 { return m.place(hash).next - 1 }

// len is the number of keys.
func (m *offsetMap) len() int { return m.used }
