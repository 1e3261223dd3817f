package chunk

import (
	"container/list"
	"sync"

	index "github.com/blevesearch/bleve_index_api"
)

// Pool is what the Sets of a node share: the sealed chunks that are open, of which the one not used for
// longest is closed first, and the goroutine on which Bleve analyses. A Pool outlives its Sets.
type Pool struct {
	maxOpen  int
	analysis *index.AnalysisQueue

	mu   sync.Mutex // guards the fields below; taken last
	used *list.List // of *chunk, the one used last in front
	at   map[*chunk]*list.Element
}

// DefaultMaxOpen is how many sealed chunks a node keeps open. One costs 2 descriptors, 20 to 60 KiB and a
// goroutine.
const DefaultMaxOpen = 256

// NewPool makes a Pool that keeps maxOpen chunks open, DefaultMaxOpen if that is 0.
func NewPool(maxOpen int) *Pool {
	if maxOpen <= 0 {
		maxOpen = DefaultMaxOpen
	}
	return &Pool{
		maxOpen:  maxOpen,
		analysis: index.NewAnalysisQueue(1), // documents come analysed: it has next to nothing to do
		used:     list.New(), at: make(map[*chunk]*list.Element),
	}
}

// Close ends the Pool's goroutine. All Sets that use it are closed by then.
func (p *Pool) Close() { p.analysis.Close() }

// Open says how many sealed chunks are open.
func (p *Pool) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used.Len()
}

// touch notes that c, which is open, was used, and returns the chunks that are to be closed for it.
func (p *Pool) touch(c *chunk) (evicted []*chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.at[c]; e != nil {
		p.used.MoveToFront(e)
		return nil
	}
	p.at[c] = p.used.PushFront(c)
	for p.used.Len() > p.maxOpen {
		last := p.used.Remove(p.used.Back()).(*chunk)
		delete(p.at, last)
		evicted = append(evicted, last)
	}
	return evicted
}

func (p *Pool) forget(c *chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.at[c]; e != nil {
		p.used.Remove(e)
		delete(p.at, c)
	}
}
