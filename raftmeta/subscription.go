package raftmeta

import (
	"context"
	"sync"
	"sync/atomic"
)

// feed holds the current image and tells subscriptions what changed. It has one writer, the FSM.
type feed struct {
	image atomic.Pointer[Image]

	mu     sync.Mutex // guards the fields below; comes before Subscription.mu
	subs   map[*Subscription]struct{}
	closed bool
}

func newFeed() *feed {
	f := &feed{subs: make(map[*Subscription]struct{})}
	f.image.Store(newImage())
	return f
}

// publish makes an image current, then tells who waits for it: whoever is woken sees at least this one.
func (f *feed) publish(im *Image, dirty *dirtySet) {
	f.image.Store(im)
	if dirty.empty() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		s.add(dirty)
	}
}

func (f *feed) subscribe() *Subscription {
	s := &Subscription{feed: f, signal: make(chan struct{}, 1), done: make(chan struct{})}
	s.add(&dirtySet{all: true}) // whatever there is now is news
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(s.done)
	} else {
		f.subs[s] = struct{}{}
	}
	return s
}

// close ends all subscriptions; images can still be read.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subs {
		close(s.done)
		delete(f.subs, s)
	}
}

// Subscription tells one reconciler what changed since it last asked. Changes add up until they are
// taken, in bounded memory, so a slow reader delays nobody and misses nothing.
type Subscription struct {
	feed   *feed
	signal chan struct{} // holds a token while pending may be non-empty
	done   chan struct{}

	mu      sync.Mutex // guards pending
	pending dirtySet
}

func (s *Subscription) add(dirty *dirtySet) {
	s.mu.Lock()
	s.pending.merge(dirty)
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// Wait blocks until something changed and returns all that did since the last call, with an image that
// holds at least those changes. The first call returns at once with Changes.All. The error is that of
// ctx, or ErrClosed once the subscription or the node is closed. One goroutine may wait at a time.
func (s *Subscription) Wait(ctx context.Context) (Changes, *Image, error) {
	for {
		select {
		case <-s.done:
			return Changes{}, nil, ErrClosed
		case <-ctx.Done():
			return Changes{}, nil, ctx.Err()
		case <-s.signal:
		}
		select {
		case <-s.done: // select chooses at random; the end goes before what is left
			return Changes{}, nil, ErrClosed
		default:
		}
		if changes, img, ok := s.Take(); ok {
			return changes, img, nil
		}
	}
}

// Changed has a token when there may be something to Take. Whoever receives it must.
func (s *Subscription) Changed() <-chan struct{} { return s.signal }

// Take is Wait without waiting; ok is false if nothing changed. Whatever was committed before the call
// by a proposal that was answered here is in it, or in an earlier one.
func (s *Subscription) Take() (_ Changes, _ *Image, ok bool) {
	s.mu.Lock()
	taken := s.pending
	s.pending = dirtySet{}
	s.mu.Unlock()
	if taken.empty() {
		return Changes{}, nil, false
	}
	return taken.changes(), s.feed.image.Load(), true
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if _, ok := s.feed.subs[s]; ok {
		delete(s.feed.subs, s)
		close(s.done)
	}
}
