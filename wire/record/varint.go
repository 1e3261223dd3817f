package record

// maxInt32Size is the most bytes that readers accept for a varint of 32 bits.
const maxInt32Size = 5

// varint reads a zigzag varint of up to 64 bits; size is 0 if there is none. One and two bytes, which
// nearly all lengths and deltas have, are read without a loop: that halves the time of a walk.
func varint(p []byte) (v int64, size int) {
	if len(p) > 1 {
		u := uint64(p[0])
		if u < 0x80 {
			return unzigzag(u), 1
		}
		if p[1] < 0x80 {
			return unzigzag(u&0x7f | uint64(p[1])<<7), 2
		}
	}
	return longVarint(p)
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func longVarint(p []byte) (int64, int) {
	var u uint64
	for i := range min(len(p), 10) {
		if i == 9 && p[i] > 1 {
			break // bits past the 64th
		}
		u |= uint64(p[i]&0x7f) << (7 * i)
		if p[i] < 0x80 {
			return unzigzag(u), i + 1
		}
	}
	return 0, 0
}

// varintSize is the size of v as a zigzag varint.
func varintSize(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
