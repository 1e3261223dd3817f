package chunk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	index "github.com/blevesearch/bleve_index_api"
	segment "github.com/blevesearch/scorch_segment_api/v2"
)

// DamagedError says that an index cannot be believed. Nothing but building it again helps.
type DamagedError struct {
	Dir string
	Err error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("index %s is damaged: %v", e.Dir, e.Err) }
func (e *DamagedError) Unwrap() error { return e.Err }

// damaged makes a *DamagedError of err, unless it says something of the machine instead. Bleve does not wrap
// all errors; what it swallows is told apart in checkIndex.
func damaged(dir string, err error) error {
	for _, machine := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS,
		syscall.EACCES, syscall.EPERM, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, machine) {
			return fmt.Errorf("index %s: %w", dir, err)
		}
	}
	return &DamagedError{dir, err}
}

func isDamaged(err error) bool {
	var d *DamagedError
	return errors.As(err, &d)
}

// errStuck is for calls of Bleve that did not come back in time. Its goroutine may be lost with them.
var errStuck = errors.New("bleve does not answer")

// errHandleClosed is what readers get of a handle that was closed beside them. They take the next one.
var errHandleClosed = errors.New("handle is closed")

// handle is one opened index. Its readers are snapshots and outlive it: what they map stays mapped until they
// are closed, whatever becomes of handle and files.
type handle struct {
	scorch *scorch.Scorch
	dir    string

	failed    sync.Once
	failure   error
	dead      chan struct{}        // closed with failure
	onFailure func(*handle, error) // called once, on a goroutine of scorch, so it must not wait for the handle

	mu     sync.Mutex // guards closed: a reader of a closed scorch would be a nil that is not nil
	closed bool
}

// handles finds the handle that a goroutine of scorch complains about. Bleve knows callbacks by name, in a map
// that is to be filled by init, and tells them the path.
var handles sync.Map // dir -> *handle

const callbackName = "chronik/index/chunk"

func init() {
	scorch.RegistryAsyncErrorCallbacks[callbackName] = func(err error, path string) {
		if h, ok := handles.Load(path); ok {
			h.(*handle).fail(err)
		}
	}
}

// fail says that the index is to be closed. A persister or merger that meets an error tries again at once, and
// for ever, so it is called often.
func (h *handle) fail(err error) {
	h.failed.Do(func() {
		h.failure = err
		close(h.dead)
		h.onFailure(h, err)
	})
}

// openHandle opens the index in dir. Damage is mostly met as a panic, by a fault in mapped memory or by an
// error, and all are a *DamagedError. After a panic bbolt's lock on the file stays held by this process, so
// the directory cannot be opened again before the next start.
func openHandle(p *Pool, dir string, readOnly bool, onFailure func(*handle, error)) (h *handle, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil {
			handles.Delete(dir)
			h, err = nil, damaged(dir, err)
		}
	}()
	config := map[string]any{
		"path": dir, "unsafe_batch": true, "bolt_timeout": "2s", "asyncErrorCallbackName": callbackName,
	}
	if readOnly {
		config["read_only"] = true
	}
	opened, err := scorch.NewScorch(scorch.Name, config, p.analysis)
	if err != nil {
		return nil, err
	}
	h = &handle{scorch: opened.(*scorch.Scorch), dir: dir, dead: make(chan struct{}), onFailure: onFailure}
	handles.Store(dir, h)
	return h, h.scorch.Open()
}

func (h *handle) reader() (index.IndexReader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errHandleClosed
	}
	return h.scorch.Reader()
}

// close ends the goroutines of scorch, or gives them up after limit: one that panicked may leave another
// waiting for it.
func (h *handle) close(limit time.Duration) error {
	h.mu.Lock()
	was := h.closed
	h.closed = true
	h.mu.Unlock()
	if was {
		return nil
	}
	handles.CompareAndDelete(h.dir, h)
	return within(limit, nil, h.scorch.Close)
}

// apply runs one batch. If it is durable it has also reached the disk, with all batches before.
func (h *handle) apply(ctx context.Context, batch *index.Batch, durable bool, limit time.Duration) error {
	select {
	case <-h.dead:
		return h.failure
	default:
	}
	persisted := make(chan error, 1)
	if durable {
		batch.SetPersistedCallback(func(err error) { persisted <- err })
	}
	// Once begun it is not given up with the context: nobody would know whether it was applied.
	err := within(limit, nil, func() error { return h.scorch.Batch(batch) })
	if err != nil || !durable {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-persisted:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-h.dead:
		return h.failure
	case <-timer.C:
		return errStuck
	}
}

// merge makes one segment of all that are on disk. Bleve does not say whether it did.
func (h *handle) merge(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// A merge that is cancelled returns soon. A merger that died, or fails again and again, never does.
	err := within(limit+closeLimit, h.dead, func() error {
		return h.scorch.ForceMerge(ctx, &mergeplan.SingleSegmentMergePlanOptions)
	})
	select {
	case <-h.dead:
		return h.failure
	default:
		return errors.Join(err, ctx.Err())
	}
}

// within runs f, which no context reaches, and gives it up after limit, or when dead is closed. A panic of f
// is an error.
func within(limit time.Duration, dead <-chan struct{}, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- guarded(f) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-dead:
		return errStuck
	case <-timer.C:
		return errStuck
	}
}

// guarded makes an error of a panic, and of a fault in memory that maps a file.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

// content is what a snapshot of an index holds.
type content struct {
	state    state
	none     bool     // no state: an index without documents
	segments []string // file names; in memory there may be more
	memory   int      // segments in memory
}

// contentOf reads what r, a reader of scorch, holds, and checks that documents and state agree.
func contentOf(r index.IndexReader) (c content, err error) {
	docs, err := r.DocCount()
	if err != nil {
		return c, err
	}
	for _, s := range r.(*scorch.IndexSnapshot).Segments() {
		if file, ok := s.Segment().(segment.PersistedSegment); ok {
			c.segments = append(c.segments, filepath.Base(file.Path()))
		} else {
			c.memory++
		}
	}
	raw, err := r.GetInternal(checkpointKey)
	if err != nil {
		return c, err
	}
	if raw == nil {
		if docs > 0 {
			return c, fmt.Errorf("%d documents without a checkpoint", docs)
		}
		c.none = true
		return c, nil
	}
	if c.state, err = decodeState(raw); err != nil {
		return c, err
	}
	if c.state.Docs != int64(docs) {
		return c, fmt.Errorf("%d documents where the checkpoint has %d", docs, c.state.Docs)
	}
	return c, nil
}

func (h *handle) content() (c content, err error) {
	r, err := h.reader()
	if err != nil {
		return c, err
	}
	defer r.Close()
	err = guarded(func() error { c, err = contentOf(r); return err })
	return c, err
}

// checkIndex reads all that an index consists of before Bleve sees it, and then what it holds. What a crash left
// is sound. A damaged segment would kill the merger, or the process: on opening one, Bleve allocates whatever
// its bytes ask for. Segments that root.bolt does not name are what a crash left, and nothing.
func checkIndex(ctx context.Context, p *Pool, dir string) (c content, err error) {
	list, err := checkBolt(dir)
	if err != nil {
		return c, damaged(dir, err)
	}
	if list.values == 0 {
		return content{none: true}, nil
	}
	for _, name := range list.segments {
		_, matches, err := sumFile(ctx, filepath.Join(dir, filepath.Base(name)), nil)
		if err == nil && !matches {
			err = fmt.Errorf("%s does not match its CRC", name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // an old list may name it
			return c, damaged(dir, err)
		}
	}
	h, err := openHandle(p, dir, true, func(*handle, error) {})
	if err != nil {
		return c, err
	}
	defer h.close(closeLimit)
	c, err = h.content()
	if err == nil && c.none { // scorch goes on without segments if it cannot open all of any list
		err = errors.New("no list of segments can be opened")
	}
	if err != nil {
		return c, damaged(dir, err)
	}
	return c, nil
}
