package log

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	lockFile           = ".lock"
	metaFile           = "meta.properties"
	runFile            = "chronik.run"
	failedFile         = "failed" // left by a run in which a write or sync failed
	unknownBrokerEpoch = -1
	maxRunBytes        = 4 << 10
	strayKind          = "-stray"
	deleteKind         = "-delete"
)

// OpenDir locks a data directory, making it if need be, and reads what is shared by its logs; the logs
// themselves are opened by Open. The mark of a clean stop is taken before anything else is looked at, so
// that a crash from here on is not taken for one (replication.md 5.1). A directory that another process
// has open is vfs.ErrLocked.
func OpenDir(o DirOptions) (*Dir, error) {
	o = o.withDefaults()
	d := &Dir{
		options:  o,
		path:     o.Path,
		fs:       o.FS,
		now:      o.Now,
		logger:   o.Logger,
		started:  o.Now(),
		files:    newFileCache(o.FS, o.MaxOpenFiles),
		commits:  newCommitQueue(),
		settling: make(chan struct{}, 1),
		logs:     map[checkpointKey]*Log{},
		found:    map[checkpointKey]foundLog{},
	}
	d.elapsed = func() time.Duration { return d.now().Sub(d.started) }
	d.names.sync = func() error { return d.syncNames(d.path) }
	d.metrics = newMetrics(o.Registerer, d)
	if err := d.fs.MkdirAll(d.path); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	lock, err := d.fs.Lock(filepath.Join(d.path, lockFile))
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", d.path, err)
	}
	d.lock = lock
	if err := d.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", d.path, err), lock.Close())
	}
	return d, nil
}

func (d *Dir) load() error {
	_, clean, err := takeCleanShutdown(d.fs, d.path)
	if err != nil {
		return err
	}
	if err := d.loadMeta(clean); err != nil {
		return err
	}
	if err := d.loadCheckpoints(); err != nil {
		return err
	}
	if d.cleaner, err = newCleaner(d, d.path, d.options.CleanerDedupeBytes, d.options.CleanerBytesPerSecond); err != nil {
		return err
	}
	if err := d.checkSpace(); err != nil {
		return err
	}
	return d.findLogs()
}

// runInfo is what a run leaves for the next one to judge it by.
type runInfo struct {
	Version int    `json:"version"`
	BootID  string `json:"bootId"`
}

// loadMeta reads or chooses the storage id, classifies the previous stop, and records this run.
func (d *Dir) loadMeta(clean bool) error {
	first, err := d.loadID()
	if err != nil {
		return err
	}
	var before runInfo
	data, err := vfs.ReadFile(d.fs, filepath.Join(d.path, runFile), maxRunBytes)
	if err == nil && json.Unmarshal(data, &before) != nil {
		before = runInfo{} // then nothing is known of that run
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read run file: %w", err)
	}
	_, err = d.fs.Stat(filepath.Join(d.path, failedFile))
	failed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.sameBoot = d.options.BootID != "" && before.BootID == d.options.BootID
	switch {
	case failed:
		d.previous.Suspect = true
	case clean || first:
		d.previous.Clean = true
	case d.sameBoot:
		d.previous.Intact = true
	default:
		d.previous.Suspect = true
	}
	if d.sameBoot {
		return nil // the file says what it would say
	}
	data, err = json.Marshal(runInfo{BootID: d.options.BootID})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(d.fs, filepath.Join(d.path, runFile), data)
}

// loadID reads the storage id from meta.properties, Kafka's directory.id, or chooses it for a directory
// that has none.
func (d *Dir) loadID() (first bool, err error) {
	name := filepath.Join(d.path, metaFile)
	data, err := vfs.ReadFile(d.fs, name, maxMetaBytes)
	if err == nil {
		for line := range strings.Lines(string(data)) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "directory.id="); ok {
				d.id, err = uuid.Parse(text)
				return false, err
			}
		}
		return false, fmt.Errorf("%w: %s has no directory.id", errStateFile, name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if d.id, err = uuid.New(nil); err != nil {
		return false, err
	}
	if err := vfs.WriteFileAtomic(d.fs, name, fmt.Appendf(nil, "version=1\ndirectory.id=%s\n", d.id)); err != nil {
		return false, err
	}
	return true, d.fs.SyncDir(filepath.Dir(filepath.Clean(d.path)))
}

func (d *Dir) markFailed() error {
	return vfs.WriteFileAtomic(d.fs, filepath.Join(d.path, failedFile), []byte(d.Failed().Error()+"\n"))
}

// foundLog is a partition's directory that was there at the start and is not open.
type foundLog struct {
	ident Ident
	path  string
	known bool // ident has the topic id
}

// findLogs lists the partitions, and what was being removed when the last run ended.
func (d *Dir) findLogs() error {
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasSuffix(name, vfs.TempSuffix):
			err = removeIfThere(d.fs, filepath.Join(d.path, name))
		case e.IsDir() && strings.HasPrefix(name, "@"):
			err = d.findTenantLogs(name[1:])
		case e.IsDir():
			err = d.findLog("", d.path, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) findTenantLogs(tenant string) error {
	parent := filepath.Join(d.path, "@"+tenant)
	entries, err := d.fs.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := d.findLog(tenant, parent, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Dir) findLog(tenant, parent, name string) error {
	path := filepath.Join(parent, name)
	if strings.HasSuffix(name, deleteKind) {
		d.unlinkLater(0, path)
		return nil
	}
	topic, partition, ok := parseDirName(name)
	if !ok {
		return nil // a stray, or nothing of ours
	}
	f := foundLog{ident: Ident{Tenant: tenant, Topic: topic, Partition: partition}, path: path}
	id, err := readPartitionMetadata(d.fs, path)
	switch {
	case err == nil:
		f.ident.TopicID, f.known = id, true
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errStateFile):
		return err
	}
	d.found[f.ident.key()] = f
	return nil
}

func parseDirName(name string) (topic string, partition int32, ok bool) {
	dash := strings.LastIndexByte(name, '-')
	if dash <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != name[dash+1:] {
		return "", 0, false
	}
	return name[:dash], int32(n), true
}

func (d *Dir) parentOf(id Ident) string {
	if id.Tenant == "" {
		return d.path
	}
	return filepath.Join(d.path, "@"+id.Tenant)
}

// Open opens the log of a partition, making it if it is not there, and recovers it: when Open returns,
// what the log holds is on disk. Several logs may be opened at once. A directory of that name which
// belongs to another topic id is moved aside and left alone; one with data that names no topic id is an
// error. A damaged log is opened too, but quarantined:
// see Log.Failed. An error says that the disk could not be used, or that the log is open already.
func (d *Dir) Open(id Ident, cfg Config) (*Log, error) {
	if id.Topic == "" || id.TopicID.IsZero() || id.Partition < 0 || strings.ContainsAny(id.Tenant+id.Topic, `/\`) {
		return nil, fmt.Errorf("open log: %+v names no partition", id)
	}
	if err := d.Failed(); err != nil {
		return nil, err
	}
	key := id.key()
	d.mu.Lock()
	_, open := d.logs[key]
	closed := d.closed
	if !open && !closed {
		d.logs[key] = nil
	}
	found, there := d.found[key]
	d.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if open {
		return nil, fmt.Errorf("open log %s: it is open already", id)
	}
	l, err := d.open(id, cfg.withDefaults(), found, there)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.logs, key)
		return nil, fmt.Errorf("open log %s: %w", id, err)
	}
	d.logs[key] = l
	delete(d.found, key)
	d.forgetSavedLocked(key)
	return l, nil
}

func (d *Dir) open(id Ident, cfg Config, found foundLog, there bool) (*Log, error) {
	l := &Log{dir: d, id: id, key: id.key(), path: filepath.Join(d.parentOf(id), fmt.Sprintf("%s-%d", id.Topic, id.Partition))}
	l.cfg.Store(&cfg)
	if there && found.ident.TopicID != id.TopicID {
		usable, err := d.isUnused(found)
		if err != nil {
			return nil, err
		}
		if !usable && !found.known { // nobody can tell whose data that is: not ours to hide behind an empty log
			return nil, fmt.Errorf("%w: %s holds data, but its %s names no topic id", errStateFile, found.path, partitionMetadataFile)
		}
		if !usable {
			if err := d.moveAside(found.path, strayKind); err != nil {
				return nil, err
			}
			d.logger.Warn("a directory of another topic id was moved aside", "log", id.String(), "wanted", id.TopicID, "found", found.ident.TopicID)
		}
		there = false
	}
	var err error
	if there {
		err = l.recover(d.savedOf(l.key), false)
	} else {
		err = l.create()
	}
	if err != nil {
		return nil, errors.Join(err, l.close(false))
	}
	return l, nil
}

// isUnused tells whether a directory without a topic id is what a crash left of a creation: there is
// nothing in it.
func (d *Dir) isUnused(f foundLog) (bool, error) {
	if f.known {
		return false, nil
	}
	entries, err := d.fs.ReadDir(f.path)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return false, err
		}
		if info.IsDir() || info.Size() > 0 && !strings.HasSuffix(e.Name(), vfs.TempSuffix) {
			return false, nil
		}
	}
	return true, nil
}

// create makes a new log. The topic id is written last: until it is there, the directory belongs to
// nobody.
func (l *Log) create() error {
	d := l.dir
	if err := d.forgetDurably(l.key); err != nil {
		return err
	}
	if err := d.cleaner.lower(l, 0); err != nil {
		return err
	}
	if err := d.fs.MkdirAll(l.path); err != nil {
		return d.stateError(err)
	}
	if err := l.recover(savedOffsets{}, true); err != nil {
		return d.stateError(err)
	}
	if err := writePartitionMetadata(d.fs, l.path, l.id.TopicID); err != nil { // syncs l.path
		return d.stateError(err)
	}
	if l.id.Tenant != "" {
		if err := d.syncNames(d.parentOf(l.id)); err != nil {
			return err
		}
	}
	return d.names.wait()
}

// nameSyncer syncs a directory for many who have changed names in it, with as few syncs as possible.
type nameSyncer struct {
	sync func() error

	mu    sync.Mutex // guards asked
	asked int64

	syncing sync.Mutex // guards the fields below; held during the sync
	done    int64      // requests that a sync has covered
	err     error
}

// wait returns when the names changed before the call are durable.
func (n *nameSyncer) wait() error {
	n.mu.Lock()
	n.asked++
	mine := n.asked
	n.mu.Unlock()
	n.syncing.Lock()
	defer n.syncing.Unlock()
	if n.done >= mine {
		return n.err
	}
	n.mu.Lock()
	covered := n.asked
	n.mu.Unlock()
	n.err = n.sync()
	n.done = covered
	return n.err
}
