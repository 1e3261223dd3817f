package wire

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Buffers come in classes of powers of two, from 512 B to 4 MiB. Larger ones are rare enough to be
// left to the garbage collector.
const (
	minClass = 9
	maxClass = 22
)

var chunkPools [maxClass + 1]sync.Pool

// chunk is a pooled buffer. Who holds a reference may read it; only its first owner writes to it, past
// what others can see.
type chunk struct {
	b      []byte
	refs   atomic.Int32
	budget *budget // what b's bytes are charged to until the last reference goes, or nil
	poison bool    // overwrite b when the last reference goes (Options.Strict)
}

// newChunk returns a chunk with one reference and at least n bytes of unspecified content.
func newChunk(n int) *chunk {
	class := classFor(n)
	if class > maxClass {
		c := &chunk{b: make([]byte, n)}
		c.refs.Store(1)
		return c
	}
	c, _ := chunkPools[class].Get().(*chunk)
	if c == nil {
		c = &chunk{b: make([]byte, 1<<class)}
	}
	c.refs.Store(1)
	return c
}

// chunkSize is the length newChunk(n) gives when the pool is empty: what n bytes cost.
func chunkSize(n int) int {
	if class := classFor(n); class <= maxClass {
		return 1 << class
	}
	return n
}

func classFor(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

func (c *chunk) retain() { c.refs.Add(1) }

// release gives back one reference, and with the last one the memory.
func (c *chunk) release() {
	if c.refs.Add(-1) != 0 {
		return
	}
	if c.poison {
		poison(c.b)
		c.poison = false
	}
	if c.budget != nil {
		c.budget.put(len(c.b))
		c.budget = nil
	}
	// b may have been replaced by a longer slice of any capacity: file it under the class it can serve.
	if class := bits.Len(uint(cap(c.b))) - 1; class >= minClass && class <= maxClass {
		c.b = c.b[:1<<class]
		chunkPools[class].Put(c)
	}
}

// poison makes use after release show: as a length or a size, these bytes are absurd.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

// budget bounds the request bytes of all connections of a server.
type budget struct {
	sem  *semaphore.Weighted
	used atomic.Int64 // for the gauge
}

func newBudget(limit int64) *budget { return &budget{sem: semaphore.NewWeighted(limit)} }

// try takes n bytes if they are there and nobody waits for some.
func (b *budget) try(n int) bool {
	if !b.sem.TryAcquire(int64(n)) {
		return false
	}
	b.used.Add(int64(n))
	return true
}

func (b *budget) put(n int) {
	b.used.Add(-int64(n))
	b.sem.Release(int64(n))
}
