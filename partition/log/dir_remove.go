package log

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// maxNameBytes is how long a file name may be.
const maxNameBytes = 255

// Remove takes a log out of service and deletes it: its directory is renamed at once, durably, and
// unlinked after FileDeleteDelay, or at the next start. Views of the log stay readable until then.
func (d *Dir) Remove(l *Log) error {
	if err := l.close(false); err != nil {
		return fmt.Errorf("remove log %s: %w", l.id, err)
	}
	l.saving.Lock()
	defer l.saving.Unlock()
	if err := d.discard(l.key, l.path, l.config().FileDeleteDelay); err != nil {
		return fmt.Errorf("remove log %s: %w", l.id, err)
	}
	d.mu.Lock()
	delete(d.logs, l.key)
	d.mu.Unlock()
	return d.cleaner.lower(l, 0)
}

// SetAside takes a quarantined log out of service and keeps its directory, renamed like that of a stray, for
// whoever wants to know what happened: the next Open of the partition begins with an empty log, which its
// owner fills from a peer (replication.md 14.4).
func (d *Dir) SetAside(l *Log) error {
	if err := l.close(false); err != nil && !errors.Is(err, ErrQuarantined) {
		return fmt.Errorf("set log %s aside: %w", l.id, err)
	}
	l.saving.Lock()
	defer l.saving.Unlock()
	if err := d.moveAside(l.path, strayKind); err != nil {
		return fmt.Errorf("set log %s aside: %w", l.id, err)
	}
	d.mu.Lock()
	delete(d.logs, l.key)
	d.forgetSavedLocked(l.key)
	d.mu.Unlock()
	for _, name := range checkpointFiles {
		d.changed(name)
	}
	return nil
}

// RemoveTopic removes every log of a topic id, open or not.
func (d *Dir) RemoveTopic(id uuid.ID) error {
	return d.removeAll(func(log Ident) bool { return log.TopicID == id })
}

// RemovePartition removes the log of one partition of a topic id, open or not.
func (d *Dir) RemovePartition(id uuid.ID, partition int32) error {
	return d.removeAll(func(log Ident) bool { return log.TopicID == id && log.Partition == partition })
}

func (d *Dir) removeAll(doomed func(Ident) bool) error {
	d.mu.Lock()
	var open []*Log
	for _, l := range d.logs {
		if l != nil && doomed(l.id) {
			open = append(open, l)
		}
	}
	var closed []foundLog
	for _, f := range d.found {
		if f.known && doomed(f.ident) {
			closed = append(closed, f)
		}
	}
	d.mu.Unlock()
	var errs []error
	for _, l := range open {
		errs = append(errs, d.Remove(l))
	}
	for _, f := range closed {
		errs = append(errs, d.discard(f.ident.key(), f.path, 0))
	}
	return errors.Join(errs...)
}

// discard moves a directory out of the way to be unlinked later.
func (d *Dir) discard(key checkpointKey, path string, delay time.Duration) error {
	d.mu.Lock()
	delete(d.found, key)
	d.forgetSavedLocked(key)
	d.mu.Unlock()
	for _, name := range checkpointFiles {
		d.changed(name)
	}
	to, err := d.moveAway(path, deleteKind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.unlinkLater(delay, to)
	return nil
}

// moveAside renames a directory so that it is not found as a log any more.
func (d *Dir) moveAside(path, kind string) error {
	_, err := d.moveAway(path, kind)
	return err
}

// moveAway renames TOPIC-P to TOPIC-P.<random><kind>, as Kafka names them, durably.
func (d *Dir) moveAway(path, kind string) (string, error) {
	if err := d.Failed(); err != nil {
		return "", err
	}
	id, err := uuid.New(nil)
	if err != nil {
		return "", err
	}
	parent, name := filepath.Split(path)
	suffix := "." + strings.ReplaceAll(id.String(), "-", "_") + kind // a '-' and a number at the end would be a partition's
	if room := maxNameBytes - len(suffix); len(name) > room {
		name = name[:room]
	}
	to := filepath.Join(parent, name+suffix)
	if err := d.fs.Rename(path, to); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return "", d.stateError(err)
	}
	if err := d.syncNames(filepath.Dir(path)); err != nil {
		return "", err
	}
	return to, nil
}

// unlink is a file or directory to be removed when its time has come.
type unlink struct {
	due  time.Time
	path string
}

// unlinkLater has Run remove paths. If the process ends before, the next start finds them by their
// names.
func (d *Dir) unlinkLater(delay time.Duration, paths ...string) {
	due := d.now().Add(delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, path := range paths {
		d.unlinks = append(d.unlinks, unlink{due, path})
	}
}

// unlinkDue removes what has waited long enough.
func (d *Dir) unlinkDue() {
	now := d.now()
	d.mu.Lock()
	var due []string
	rest := d.unlinks[:0]
	for _, u := range d.unlinks {
		if u.due.After(now) {
			rest = append(rest, u)
		} else {
			due = append(due, u.path)
		}
	}
	clear(d.unlinks[len(rest):])
	d.unlinks = rest
	d.mu.Unlock()
	for _, path := range due {
		if err := d.fs.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.logger.Warn("a deleted file could not be unlinked; the next start tries again", "path", path, "err", err)
		}
	}
}

func compareIdents(a, b Ident) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}
