package chunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chronik-stream/chronik/index/schema"
)

// Open opens the row in Dir and repairs it: what is damaged, missing or twice becomes a range of Pending.
// An error is one of the machine, or of ctx, never of what was found. Indexes that were being built are read
// whole (1.8 GB/s), sealed ones only once they are needed.
func Open(ctx context.Context, o Options) (*Set, error) {
	o.setDefaults()
	if _, twice := openDirs.LoadOrStore(o.Dir, true); twice {
		return nil, fmt.Errorf("index %s is open already", o.Dir)
	}
	s := &Set{opt: o, writer: newGate(), mapping: schema.NewMapping(o.Config)}
	s.stats.Quarantined = make(map[string]int64)
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.recover(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// openDirs are the directories of the Sets of this process. A second Set would find them locked, which it could
// not tell from damage; other processes are kept out by the lock on the data directory.
var openDirs sync.Map

func (s *Set) recover(ctx context.Context) error {
	if err := os.MkdirAll(s.opt.Dir, 0o750); err != nil {
		return err
	}
	found, start, err := s.scan()
	if err != nil {
		return err
	}
	if found, err = s.pair(found); err != nil {
		return err
	}
	if err := s.line(found, start); err != nil {
		return err
	}
	for _, c := range s.chunks(false) {
		if err := c.recover(ctx); err != nil {
			return err
		}
	}
	return nil
}

// scan reads the directory. start is where the row begins: at the first chunk, readable or not.
func (s *Set) scan() (found []*chunk, start int64, err error) {
	entries, err := os.ReadDir(s.opt.Dir)
	if err != nil {
		return nil, 0, err
	}
	start = -1
	for _, e := range entries {
		dir := filepath.Join(s.opt.Dir, e.Name())
		quarantined := strings.HasPrefix(e.Name(), quarantinedPrefix)
		base, n, ok := parseName(strings.TrimPrefix(e.Name(), quarantinedPrefix))
		if ok {
			s.lastN = max(s.lastN, n)
		}
		switch {
		case strings.HasPrefix(e.Name(), removedPrefix):
			err = os.RemoveAll(dir)
		case !ok:
			s.opt.Logger.Warn("not a chunk of the index, left alone", "path", dir)
		case !quarantined:
			c, ours, loadErr := s.load(dir, base, n)
			if c != nil {
				found = append(found, c)
			}
			if ours && (start < 0 || base < start) {
				start = base
			}
			err = loadErr
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if start < 0 {
		start = s.opt.Start
	}
	return found, start, nil
}

// load reads chunk.json. ours says that there was a chunk of this row, even if it cannot be read.
func (s *Set) load(dir string, base int64, n int) (c *chunk, ours bool, err error) {
	if !exists(filepath.Join(dir, manifestName)) && !exists(filepath.Join(dir, indexName)) {
		return nil, false, os.RemoveAll(dir) // creating it was cut short
	}
	m, err := readManifest(dir)
	if err == nil && m.Base != base {
		err = errors.New("it is another chunk's")
	}
	switch {
	case err != nil:
		if err = damaged(dir, err); !isDamaged(err) {
			return nil, false, err
		}
		return nil, true, s.putAway(dir, "manifest", err)
	case m.TopicID != s.opt.TopicID:
		s.opt.Logger.Info("removing the index of another topic", "dir", dir, "topic_id", m.TopicID)
		return nil, false, os.RemoveAll(dir)
	}
	mapping := schema.NewMapping(m.Config)
	c = &chunk{
		set: s, base: base, n: n, dir: dir, end: m.End, gate: newGate(), state: newState(base),
		mapping: mapping, config: m.Config,
		stale: mapping.String() != m.Mapping, // an older version of us laid out its documents
	}
	if m.Sealed != nil {
		c.state, c.files = m.Sealed.State, m.Sealed.Files
	}
	return c, true, nil
}

// putAway quarantines a directory that no chunk in memory stands for.
func (s *Set) putAway(dir, how string, cause error) error {
	s.opt.Logger.Error("chunk of the index quarantined", "dir", dir, "how", how, "err", cause)
	s.count(func(st *Stats) { st.Quarantined[how]++ })
	if _, err := moveAside(dir, quarantinedPrefix); err != nil {
		return err
	}
	return removeOldQuarantined(s.opt.Dir)
}

// pair leaves one chunk for each base: the newest sealed one, or the newest. One that was being built to
// replace a sealed one is built on.
func (s *Set) pair(found []*chunk) (left []*chunk, err error) {
	slices.SortFunc(found, func(a, b *chunk) int { return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(a.n, b.n)) })
	for _, c := range found {
		last := len(left) - 1
		if last < 0 || left[last].base != c.base {
			left = append(left, c)
			continue
		}
		before := left[last]
		left[last] = c
		switch {
		case c.files != nil: // it replaced all before
			err = errors.Join(err, removeAll(before, before.old))
		case before.files != nil && before.end == c.end:
			c.old = before
		case before.old != nil && before.old.end == c.end: // before was being built, was damaged, and c took its place
			c.old = before.old
			err = errors.Join(err, removeAll(before))
		default:
			err = errors.Join(err, removeAll(before, before.old))
		}
	}
	return left, err
}

func removeAll(chunks ...*chunk) (err error) {
	for _, c := range chunks {
		if c != nil {
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
	}
	return err
}

// line makes a row of found, ascending by base: no gaps, no overlaps, and an open end.
func (s *Set) line(found []*chunk, start int64) error {
	at := start
	for i, c := range found {
		if c.base < at {
			if err := s.putAway(c.dir, "overlap", nil); err != nil {
				return err
			}
			if c.old != nil {
				if err := s.putAway(c.old.dir, "overlap", nil); err != nil {
					return err
				}
			}
			continue
		}
		if c.base > at {
			if err := s.append(at, c.base); err != nil {
				return err
			}
		}
		if i+1 < len(found) && c.files == nil && c.end > found[i+1].base { // a roll was cut short
			end := found[i+1].base
			if err := c.rewrite(func() { c.end = end }); err != nil {
				return err
			}
		}
		s.mu.Lock()
		s.row = append(s.row, c)
		s.mu.Unlock()
		at = c.end
	}
	if at == openEnd {
		return nil
	}
	return s.append(at, openEnd)
}

// append adds a new chunk to the end of the row.
func (s *Set) append(base, end int64) error {
	c := s.newChunk(base, end)
	if err := c.create(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row = append(s.row, c)
	return nil
}

func (s *Set) newChunk(base, end int64) *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastN++
	return &chunk{
		set: s, base: base, n: s.lastN, end: end, dir: filepath.Join(s.opt.Dir, nameOf(base, s.lastN)),
		gate: newGate(), state: newState(base), mapping: s.mapping, config: s.opt.Config,
	}
}

// recover opens an index that was being built, and takes away what a truncation that was cut short left.
func (c *chunk) recover(ctx context.Context) error {
	if err := c.gate.enter(ctx); err != nil {
		return err
	}
	defer c.gate.leave()
	if c.files != nil || !exists(filepath.Join(c.dir, indexName)) {
		return nil
	}
	h, err := c.writable(ctx)
	if err == nil {
		err = c.trim(ctx, h)
	}
	if isDamaged(err) {
		c.quarantine("open", err)
		return nil
	}
	return err
}
