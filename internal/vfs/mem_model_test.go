package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"pgregory.net/rapid"
)

// crashModel is a dumb twin of Mem: one directory, a handful of names.
type crashModel struct {
	m     *Mem
	names map[string]*nameModel
	fill  byte // the last byte value written, so that each write can be told from the others
}

var modelNames = []string{"/a", "/b", "/c"}

// nameModel is what a name stands for. may begins with the durable file (nil: none) and goes on with all
// it stood for since the last SyncDir; the last is the current one.
type nameModel struct{ may []*fileModel }

func (n *nameModel) now() *fileModel    { return n.may[len(n.may)-1] }
func (n *nameModel) set(f *fileModel)   { n.may = append(n.may, f) }
func (n *nameModel) settle()            { n.may = n.may[len(n.may)-1:] }
func (n *nameModel) allowsAbsent() bool { return slices.Contains(n.may, nil) }

// fileModel is a file: its content now and what a crash may leave. Byte i is one of may[i]; the length
// lies in [short, long].
type fileModel struct {
	now         []byte
	durable     []byte // exactly what the unluckiest crash leaves
	may         [][]byte
	short, long int
}

func (f *fileModel) write(off int, data []byte) {
	f.grow(off + len(data))
	copy(f.now[off:], data)
	for i, b := range data {
		f.may[off+i] = append(f.may[off+i], b)
	}
}

func (f *fileModel) truncate(size int) {
	f.grow(size)
	f.now = f.now[:size]
	for i := size; i < len(f.may); i++ { // cut off, then perhaps read again below a later end
		f.may[i] = append(f.may[i], 0)
	}
	f.short = min(f.short, size)
}

// grow lengthens the file with zeroes to size; a longer one stays.
func (f *fileModel) grow(size int) {
	for len(f.now) < size {
		f.now = append(f.now, 0)
	}
	for len(f.may) < size {
		f.may = append(f.may, []byte{0})
	}
	f.long = max(f.long, size)
}

func (f *fileModel) settle() {
	f.may = nil
	for _, b := range f.now {
		f.may = append(f.may, []byte{b})
	}
	f.durable = bytes.Clone(f.now)
	f.short, f.long = len(f.now), len(f.now)
}

// allows tells why got cannot be what a crash left of f; nil if it can.
func (f *fileModel) allows(got []byte) error {
	if len(got) < f.short || len(got) > f.long {
		return fmt.Errorf("length %d outside [%d, %d]", len(got), f.short, f.long)
	}
	for i, b := range got {
		if !bytes.Contains(f.may[i], []byte{b}) {
			return fmt.Errorf("byte %d is %q, want one of %q", i, b, f.may[i])
		}
	}
	return nil
}

func newCrashModel(t *rapid.T) *crashModel {
	h := &crashModel{m: NewMem(), names: map[string]*nameModel{}}
	for _, name := range modelNames {
		h.names[name] = &nameModel{may: []*fileModel{nil}}
	}
	return h
}

func (h *crashModel) pick(t *rapid.T) (string, *nameModel) {
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	return name, h.names[name]
}

// existing picks a file that is there.
func (h *crashModel) existing(t *rapid.T) (string, *fileModel) {
	name, n := h.pick(t)
	if n.now() == nil {
		t.Skip("no such file")
	}
	return name, n.now()
}

func (h *crashModel) with(t *rapid.T, name string, do func(File) error) {
	f := open(t, h.m, name, os.O_RDWR)
	must(t, errors.Join(do(f), f.Close()))
}

func (h *crashModel) create(t *rapid.T) {
	name, n := h.pick(t)
	if n.now() != nil {
		t.Skip("exists")
	}
	put(t, h.m, name, "")
	n.set(&fileModel{})
}

func (h *crashModel) write(t *rapid.T) {
	name, file := h.existing(t)
	off, size := rapid.IntRange(0, 1500).Draw(t, "off"), rapid.IntRange(1, 1500).Draw(t, "size")
	h.fill = max(1, h.fill+1)
	data := bytes.Repeat([]byte{h.fill}, size)
	h.with(t, name, func(f File) error {
		_, err := f.WriteAt(data, int64(off))
		return err
	})
	file.write(off, data)
}

func (h *crashModel) truncate(t *rapid.T) {
	name, file := h.existing(t)
	size := rapid.IntRange(0, 3000).Draw(t, "size")
	h.with(t, name, func(f File) error { return f.Truncate(int64(size)) })
	file.truncate(size)
}

func (h *crashModel) sync(t *rapid.T) {
	name, file := h.existing(t)
	h.with(t, name, File.Sync)
	file.settle()
}

func (h *crashModel) syncDir(t *rapid.T) {
	must(t, h.m.SyncDir("/"))
	for _, n := range h.names {
		n.settle()
	}
}

func (h *crashModel) rename(t *rapid.T) {
	from, file := h.existing(t)
	to, target := h.pick(t)
	must(t, h.m.Rename(from, to))
	if from != to {
		target.set(file)
		h.names[from].set(nil)
	}
}

func (h *crashModel) remove(t *rapid.T) {
	name, _ := h.existing(t)
	must(t, h.m.Remove(name))
	h.names[name].set(nil)
}

// crash looks at what power losses of all kinds leave, and at the original, which they must not touch.
func (h *crashModel) crash(t *rapid.T) {
	seed := rapid.Uint64().Draw(t, "seed")
	h.check(t, h.m.Crash(rand.New(rand.NewPCG(seed, 1))))
	h.checkLost(t, h.m.CrashLoseAll())
	h.checkLost(t, h.m.CrashKeepAll().CrashLoseAll())
	h.checkNow(t, h.m.CrashKeepAll())
	for _, clone := range []*Mem{h.m.CrashKeepAll(), h.m.CrashLoseAll()} {
		scribble(t, clone)
	}
	h.checkNow(t, h.m)
	h.checkLost(t, h.m.CrashLoseAll())
}

// scribble overwrites all files in place, to show that two file systems share nothing.
func scribble(t *rapid.T, m *Mem) {
	for _, name := range listing(t, m, "/") {
		f := open(t, m, "/"+name, os.O_RDWR)
		_, err := f.WriteAt([]byte("scribble"), 0)
		must(t, errors.Join(err, f.Sync(), f.Close()))
	}
}

// reboot goes on with what a crash left, which is durable as it is.
func (h *crashModel) reboot(t *rapid.T) {
	after := h.m.Crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2)))
	h.check(t, after)
	h.m = after
	for _, name := range modelNames {
		h.names[name] = &nameModel{may: []*fileModel{nil}}
		if data, err := ReadFile(after, name, 1<<20); err == nil {
			file := &fileModel{now: data}
			file.settle()
			h.names[name].may[0] = file
		}
	}
}

// check holds what any power loss may leave against the model.
func (h *crashModel) check(t *rapid.T, after *Mem) {
	for name, n := range h.names {
		got, err := ReadFile(after, name, 1<<20)
		if err != nil {
			if !n.allowsAbsent() {
				t.Fatalf("%s is durable, but after the crash: %v", name, err)
			}
			continue
		}
		reasons := []error{errors.New("it is no file of this name")}
		for _, file := range n.may {
			if file == nil {
				continue
			}
			reason := file.allows(got)
			if reason == nil {
				reasons = nil
				break
			}
			reasons = append(reasons, reason)
		}
		if reasons != nil {
			t.Fatalf("%s holds what it cannot: %v", name, errors.Join(reasons...))
		}
	}
}

// checkLost is check for a crash that lost all it could.
func (h *crashModel) checkLost(t *rapid.T, after *Mem) {
	for name, n := range h.names {
		got, err := ReadFile(after, name, 1<<20)
		durable := n.may[0]
		switch {
		case durable == nil && err == nil:
			t.Fatalf("%s survived without a sync", name)
		case durable != nil && (err != nil || !bytes.Equal(got, durable.durable)):
			t.Fatalf("%s holds %d bytes (%v), not the %d that were synced", name, len(got), err, len(durable.durable))
		}
	}
}

func (h *crashModel) checkNow(t *rapid.T, m *Mem) {
	for name, n := range h.names {
		got, err := ReadFile(m, name, 1<<20)
		if n.now() == nil {
			if err == nil {
				t.Fatalf("%s exists", name)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, n.now().now) {
			t.Fatalf("%s reads %d bytes (%v), want %d", name, len(got), err, len(n.now().now))
		}
	}
}
