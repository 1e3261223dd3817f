package log

import (
	"errors"
	"os"
	"sync"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// errSegmentGone says that a segment was removed or its log closed after it was looked up.
var errSegmentGone = errors.New("segment is gone")

// fileCache bounds the open segment files of a directory, least recently used first to go, so that ten
// thousand idle partitions hold none. Files in use are never closed: if all are, the bound is passed.
type fileCache struct {
	fs  vfs.FS
	max int

	mu   sync.Mutex // guards the fields below and those of every handle that say so
	open int
	idle handle // head of a ring: idle.next is the least recently used
}

func newFileCache(fsys vfs.FS, limit int) *fileCache {
	c := &fileCache{fs: fsys, max: limit}
	c.idle.prev, c.idle.next = &c.idle, &c.idle
	return c
}

// handle is one segment file, open or not.
type handle struct {
	cache *fileCache
	name  string // immutable: a renamed file is retired first, or renamed back to this
	// evicted gives back what else is kept open along with the file. It is called without locks.
	evicted func()

	opening sync.Mutex // held while the file is opened, so that it is opened once

	// guarded by cache.mu
	f          vfs.File
	refs       int
	gone       bool
	prev, next *handle // in the idle ring, if refs is 0 and f is open
}

func (c *fileCache) handle(name string, evicted func()) *handle {
	return &handle{cache: c, name: name, evicted: evicted}
}

// acquire returns the file, opening it if need be. It stays open until release.
func (h *handle) acquire() (vfs.File, error) {
	c := h.cache
	if f, done, err := h.tryAcquire(); done {
		return f, err
	}
	h.opening.Lock()
	defer h.opening.Unlock()
	if f, done, err := h.tryAcquire(); done {
		return f, err
	}
	f, err := c.fs.OpenFile(h.name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	h.adopt(f)
	return f, nil
}

// adopt makes f, which was just opened, the file of h, with one reference.
func (h *handle) adopt(f vfs.File) {
	c := h.cache
	c.mu.Lock()
	h.f, h.refs = f, 1
	c.open++
	victims := c.evictLocked()
	c.mu.Unlock()
	closeAll(victims)
}

func (h *handle) tryAcquire() (f vfs.File, done bool, err error) {
	h.cache.mu.Lock()
	defer h.cache.mu.Unlock()
	switch {
	case h.gone:
		return nil, true, errSegmentGone
	case h.f == nil:
		return nil, false, nil
	}
	if h.refs == 0 {
		h.unlinkLocked()
	}
	h.refs++
	return h.f, true, nil
}

// release gives back one acquire.
func (h *handle) release() {
	c := h.cache
	c.mu.Lock()
	h.refs--
	var victims []victim
	if h.refs == 0 {
		if h.gone {
			victims = append(victims, h.closeLocked())
		} else {
			h.prev, h.next = c.idle.prev, &c.idle
			h.prev.next, h.next.prev = h, h
			victims = c.evictLocked()
		}
	}
	c.mu.Unlock()
	closeAll(victims)
}

// retire refuses all further acquires and closes the file after the last release.
func (h *handle) retire() {
	c := h.cache
	c.mu.Lock()
	var victims []victim
	if !h.gone && h.f != nil && h.refs == 0 {
		h.unlinkLocked()
		victims = append(victims, h.closeLocked())
	}
	h.gone = true
	c.mu.Unlock()
	closeAll(victims)
}

func (h *handle) unlinkLocked() {
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
}

// victim is a file to close once no lock is held.
type victim struct {
	f       vfs.File
	evicted func()
}

func (h *handle) closeLocked() victim {
	v := victim{h.f, h.evicted}
	h.f = nil
	h.cache.open--
	return v
}

func (c *fileCache) evictLocked() []victim {
	var victims []victim
	for c.open > c.max && c.idle.next != &c.idle {
		h := c.idle.next
		h.unlinkLocked()
		victims = append(victims, h.closeLocked())
	}
	return victims
}

// closeAll closes files. An error of close says nothing about written bytes that sync would not also
// say: a file with bytes that a sync has promised to somebody is in use until then.
func closeAll(victims []victim) {
	for _, v := range victims {
		_ = v.f.Close()
		if v.evicted != nil {
			v.evicted()
		}
	}
}

func (c *fileCache) openFiles() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}
