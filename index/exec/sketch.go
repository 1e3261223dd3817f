package exec

import (
	"math"
	"math/bits"
	"slices"
)

const (
	registerBits = 14 // 16,384 registers: 0.8 % standard error
	registers    = 1 << registerBits
)

// sketch estimates how many different hashes it was given: exactly up to a number of them (but for collisions of
// 64 bits), then by HyperLogLog. Equal sets give equal sketches, in whatever order and parts they came.
type sketch struct {
	exactly   int
	hashes    map[uint64]struct{} // nil once there were more than exactly
	registers []uint8
}

func newSketch(exactly int) *sketch { return &sketch{exactly: exactly, hashes: map[uint64]struct{}{}} }

func (s *sketch) add(hash uint64) {
	if s.hashes == nil {
		s.register(hash)
		return
	}
	s.hashes[hash] = struct{}{}
	if len(s.hashes) > s.exactly {
		s.overflow()
	}
}

// overflow goes over to registers.
func (s *sketch) overflow() {
	s.registers = make([]uint8, registers)
	for hash := range s.hashes {
		s.register(hash)
	}
	s.hashes = nil
}

func (s *sketch) register(hash uint64) {
	at := hash >> (64 - registerBits)
	rank := uint8(bits.LeadingZeros64(hash<<registerBits|1<<(registerBits-1))) + 1
	s.registers[at] = max(s.registers[at], rank)
}

func (s *sketch) merge(o *sketch) {
	if o.hashes != nil {
		for hash := range o.hashes {
			s.add(hash)
		}
		return
	}
	if s.hashes != nil {
		s.overflow()
	}
	for i, rank := range o.registers {
		s.registers[i] = max(s.registers[i], rank)
	}
}

// estimate is how many there were. Few among many registers are told from how many stayed empty.
func (s *sketch) estimate() int64 {
	if s.hashes != nil {
		return int64(len(s.hashes))
	}
	sum, empty := 0.0, 0.0
	for _, rank := range s.registers {
		sum += math.Ldexp(1, -int(rank))
		empty += oneIf(rank == 0)
	}
	const m = float64(registers)
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(m/empty)
	}
	return int64(math.Round(estimate))
}

// sorted are the hashes in order, so that equal sketches are the same bytes.
func (s *sketch) sorted() []uint64 {
	all := make([]uint64, 0, len(s.hashes))
	for hash := range s.hashes {
		all = append(all, hash)
	}
	slices.Sort(all)
	return all
}

// hashOf is a hash of a value and its kind, the same on every node and in every release: FNV-1a, whose bits are then
// mixed as HyperLogLog needs them.
func hashOf(kind byte, term []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := (offset ^ uint64(kind)) * prime
	for _, c := range term {
		h = (h ^ uint64(c)) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
