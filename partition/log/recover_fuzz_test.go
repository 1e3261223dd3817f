package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/wire/record"
)

// FuzzRecoverSegment opens a log whose segment and indexes are arbitrary bytes. Whatever they are, it
// opens or is quarantined, what it serves from the recovery point on has valid checksums, and a second
// recovery changes nothing. Below that point recovery verifies nothing, as it would have to read the whole
// log at each start: all of it is read here too, but damage is not a failure (KNOWN_ISSUES.md, bit rot).
func FuzzRecoverSegment(f *testing.F) {
	w, rng := newTestWorld(f, testConfig())
	for range 8 {
		must(f, w.append(rng))
	}
	must(f, w.sync())
	must(f, w.d.Close())
	s := w.l.list()[0]
	read := func(suffix string) []byte {
		data, err := vfs.ReadFile(w.m, s.path(suffix), 1<<20)
		must(f, err)
		return data
	}
	good, index, times := read(logSuffix), read(indexSuffix), read(timeIndexSuffix)
	f.Add(good, index, times, uint16(0))
	f.Add(good, index, times, uint16(w.durable))
	f.Add(good[:len(good)-7], index, times, uint16(0))
	f.Add(append(good[:len(good):len(good)], make([]byte, 300)...), index[:5], times, uint16(3))
	f.Add(good, times, index, uint16(5))
	f.Add([]byte{}, index, times, uint16(1))
	f.Fuzz(func(t *testing.T, data, index, times []byte, point uint16) {
		m, dir := testDir(t)
		id := Ident{Topic: "topic", Partition: 0, TopicID: testIdent.TopicID}
		must(t, writePartitionMetadata(m, dir, id.TopicID))
		writeFile(t, m, segmentPath(dir, 0, logSuffix), data)
		writeFile(t, m, segmentPath(dir, 0, indexSuffix), index)
		writeFile(t, m, segmentPath(dir, 0, timeIndexSuffix), times)
		must(t, m.SyncDir(dir))
		must(t, writeCheckpoint(m, filepath.Join(filepath.Dir(dir), recoveryPointFile), map[checkpointKey]int64{id.key(): int64(point)}))
		open := func() *Log {
			d, err := OpenDir(DirOptions{Path: filepath.Dir(dir), FS: m})
			must(t, err)
			l, err := d.Open(id, testConfig())
			must(t, err)
			return l
		}
		l := open()
		if err := l.Failed(); err != nil {
			if !errors.Is(err, ErrQuarantined) || point == 0 {
				t.Fatal(err)
			}
			return
		}
		got := readValid(t, l, int64(point))
		if end := l.EndOffset(); end < int64(point) {
			t.Fatalf("log ends at %d, everything below %d was synced", end, point)
		}
		m = m.CrashLoseAll()
		again := open()
		if again.EndOffset() != l.EndOffset() || readValid(t, again, int64(point)) != got {
			t.Fatalf("first recovery ended at %d, second at %d", l.EndOffset(), again.EndOffset())
		}
	})
}

// readValid reads all of a log, checks it, and returns how many bytes that is. Below verified, damage is
// possible: it is told as ErrCorrupt or it shows in the bytes, and hides nothing of what was verified.
func readValid(t *testing.T, l *Log, verified int64) (size int) {
	for from := l.StartOffset(); from < l.EndOffset(); {
		v, err := l.Read(from, l.EndOffset(), 1000, true)
		if from < verified && errors.Is(err, ErrCorrupt) {
			from = verified
			continue
		}
		must(t, err)
		data, err := v.Bytes(nil)
		v.Release()
		must(t, err)
		if len(data) == 0 {
			break // a gap up to the end
		}
		size += len(data)
		for len(data) > 0 {
			b, rest, err := record.Next(data)
			if err == nil && b.NextOffset() <= from {
				err = fmt.Errorf("%w: [%d, %d) read at %d", record.ErrCorrupt, b.BaseOffset(), b.NextOffset(), from)
			}
			if from < verified && err != nil {
				from = verified
				break
			}
			must(t, err)
			if err := b.Check(); b.NextOffset() > verified {
				must(t, err)
			}
			from, data = b.NextOffset(), rest
		}
	}
	return size
}
