package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// conformance is what every FS must do; dir exists and is empty. Mem is trusted in all other tests
// because it passes the same table as the operating system.
var conformance = map[string]func(t *testing.T, fsys FS, dir string){
	"OpenMissing": func(t *testing.T, fsys FS, dir string) {
		_, err := fsys.OpenFile(filepath.Join(dir, "f"), os.O_RDWR)
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.OpenFile(filepath.Join(dir, "no", "f"), os.O_RDWR|os.O_CREATE)
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Stat(filepath.Join(dir, "f"))
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Stat("")
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Usage(filepath.Join(dir, "f"))
		wantErr(t, err, fs.ErrNotExist)
	},
	"OpenFlags": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "hello")
		_, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
		wantErr(t, err, fs.ErrExist)
		must(t, open(t, fsys, name, os.O_RDWR|os.O_CREATE).Close())
		wantContent(t, fsys, name, "hello")
		must(t, open(t, fsys, name, os.O_RDWR|os.O_TRUNC).Close())
		wantContent(t, fsys, name, "")
	},
	"ReadOnlyHandle": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "hello")
		f := open(t, fsys, name, os.O_RDONLY)
		_, err := f.WriteAt([]byte("x"), 0)
		wantErr(t, err, syscall.EBADF)
		if f.Truncate(0) == nil {
			t.Error("truncated through a read-only handle")
		}
		must(t, f.Sync())
		must(t, f.Close())
		wantContent(t, fsys, name, "hello")
	},
	"ReadAt": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "hello")
		f := open(t, fsys, name, os.O_RDWR)
		for _, c := range []struct {
			off  int64
			n    int
			want string
			err  error
		}{
			{0, 5, "hello", nil}, {1, 3, "ell", nil}, {3, 5, "lo", io.EOF}, {5, 1, "", io.EOF},
			{9, 1, "", io.EOF}, {9, 0, "", nil},
		} {
			p := make([]byte, c.n)
			n, err := f.ReadAt(p, c.off)
			if string(p[:n]) != c.want || err != c.err {
				t.Errorf("ReadAt(%d bytes, %d) = %q, %v, want %q, %v", c.n, c.off, p[:n], err, c.want, c.err)
			}
		}
		if _, err := f.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
			t.Errorf("ReadAt(-1) = %v", err)
		}
		if _, err := f.WriteAt([]byte("x"), -1); err == nil {
			t.Error("WriteAt(-1) succeeded")
		}
		must(t, f.Close())
	},
	"HolesReadZero": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "abcdef")
		f := open(t, fsys, name, os.O_RDWR)
		must(t, f.Truncate(2))
		must(t, f.Truncate(4))
		_, err := f.WriteAt([]byte("z"), 5)
		must(t, err)
		_, err = f.WriteAt(nil, 100)
		must(t, err)
		must(t, f.Preallocate(1000))
		if size, err := f.Size(); size != 6 || err != nil {
			t.Errorf("Size = %d, %v, want 6: neither an empty write nor Preallocate lengthens", size, err)
		}
		must(t, f.Close())
		wantContent(t, fsys, name, "ab\x00\x00\x00z")
	},
	"TwoHandles": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "old")
		a, b := open(t, fsys, name, os.O_RDWR), open(t, fsys, name, os.O_RDONLY)
		_, err := a.WriteAt([]byte("new!"), 0)
		must(t, err)
		p := make([]byte, 4)
		_, err = b.ReadAt(p, 0)
		must(t, err)
		if string(p) != "new!" {
			t.Errorf("second handle reads %q", p)
		}
		must(t, errors.Join(a.Close(), b.Close()))
	},
	"ClosedHandle": func(t *testing.T, fsys FS, dir string) {
		f := open(t, fsys, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
		must(t, f.Close())
		_, readErr := f.ReadAt(make([]byte, 1), 0)
		_, writeErr := f.WriteAt([]byte("x"), 0)
		_, sizeErr := f.Size()
		for op, err := range map[string]error{
			"ReadAt": readErr, "WriteAt": writeErr, "Size": sizeErr, "Sync": f.Sync(), "Truncate": f.Truncate(0),
			"Preallocate": f.Preallocate(1), "Close": f.Close(),
		} {
			if err == nil || err == io.EOF {
				t.Errorf("%s after Close = %v", op, err)
			}
		}
	},
	"RemoveOpenFile": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "first")
		f := open(t, fsys, name, os.O_RDWR)
		must(t, fsys.Remove(name))
		put(t, fsys, name, "second")
		_, err := f.WriteAt([]byte("F"), 0)
		must(t, err)
		p := make([]byte, 5)
		_, err = f.ReadAt(p, 0)
		must(t, err)
		if string(p) != "First" {
			t.Errorf("handle of the removed file reads %q", p)
		}
		must(t, errors.Join(f.Sync(), f.Close()))
		wantContent(t, fsys, name, "second")
	},
	"Directories": func(t *testing.T, fsys FS, dir string) {
		deep := filepath.Join(dir, "a", "b", "c")
		must(t, fsys.MkdirAll(deep))
		must(t, fsys.MkdirAll(deep))
		for _, name := range []string{"z", "y", "x"} {
			put(t, fsys, filepath.Join(dir, "a", name), name)
		}
		wantNames(t, fsys, filepath.Join(dir, "a"), "b/", "x", "y", "z")
		wantNames(t, fsys, deep)
		wantErr(t, fsys.Remove(filepath.Join(dir, "a")), syscall.ENOTEMPTY)
		must(t, fsys.SyncDir(deep))
		must(t, fsys.Remove(deep))
		wantErr(t, fsys.SyncDir(deep), fs.ErrNotExist)
		_, err := fsys.ReadDir(deep)
		wantErr(t, err, fs.ErrNotExist)
		st, err := fsys.Stat(filepath.Join(dir, "a", "x"))
		must(t, err)
		if st.Name() != "x" || st.Size() != 1 || st.IsDir() || !st.Mode().IsRegular() {
			t.Errorf("Stat = %v", st)
		}
	},
	"FileInPathIsNoDirectory": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "")
		wantErr(t, fsys.MkdirAll(name), syscall.ENOTDIR)
		wantErr(t, fsys.MkdirAll(filepath.Join(name, "sub")), syscall.ENOTDIR)
		_, err := fsys.OpenFile(filepath.Join(name, "sub"), os.O_RDWR|os.O_CREATE)
		wantErr(t, err, syscall.ENOTDIR)
		_, err = fsys.ReadDir(name)
		wantErr(t, err, syscall.ENOTDIR)
		_, err = fsys.OpenFile(dir, os.O_RDWR)
		wantErr(t, err, syscall.EISDIR)
	},
	"Rename": func(t *testing.T, fsys FS, dir string) {
		a, b, sub := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "sub")
		put(t, fsys, a, "A")
		put(t, fsys, b, "B")
		must(t, fsys.MkdirAll(sub))
		must(t, fsys.Rename(a, a))
		must(t, fsys.Rename(a, b))
		wantContent(t, fsys, b, "A")
		wantErr(t, fsys.Rename(a, b), fs.ErrNotExist)
		wantErr(t, fsys.Rename(b, sub), fs.ErrExist)
		wantErr(t, fsys.Rename(sub, b), syscall.ENOTDIR)
		wantErr(t, fsys.Rename(sub, filepath.Join(sub, "in")), syscall.EINVAL)
		wantErr(t, fsys.Rename(b, filepath.Join(dir, "no", "b")), fs.ErrNotExist)
		must(t, fsys.Rename(b, filepath.Join(sub, "c")))
		must(t, fsys.Rename(sub, filepath.Join(dir, "moved")))
		wantNames(t, fsys, dir, "moved/")
		wantContent(t, fsys, filepath.Join(dir, "moved", "c"), "A")
	},
	"RemoveAll": func(t *testing.T, fsys FS, dir string) {
		top := filepath.Join(dir, "top")
		must(t, fsys.MkdirAll(filepath.Join(top, "x", "y")))
		put(t, fsys, filepath.Join(top, "x", "y", "f"), "f")
		put(t, fsys, filepath.Join(dir, "stays"), "")
		must(t, fsys.RemoveAll(top))
		must(t, fsys.RemoveAll(top))
		wantErr(t, fsys.Remove(top), fs.ErrNotExist)
		wantNames(t, fsys, dir, "stays")
	},
	"Lock": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "lock")
		first, err := fsys.Lock(name)
		must(t, err)
		_, err = fsys.Lock(name)
		wantErr(t, err, ErrLocked)
		must(t, first.Close())
		second, err := fsys.Lock(name)
		must(t, err)
		if first.Close() == nil {
			t.Error("closed a lock twice")
		}
		_, err = fsys.Lock(name)
		wantErr(t, err, ErrLocked)
		must(t, second.Close())
	},
	"Usage": func(t *testing.T, fsys FS, dir string) {
		u, err := fsys.Usage(dir)
		must(t, err)
		if u.Total <= 0 || u.Free < 0 || u.Free > u.Total {
			t.Errorf("Usage = %+v", u)
		}
	},
	"WriteFileAtomic": func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "state")
		must(t, WriteFileAtomic(fsys, name, []byte("one")))
		must(t, WriteFileAtomic(fsys, name, []byte("2")))
		wantContent(t, fsys, name, "2")
		wantNames(t, fsys, dir, "state")
		must(t, WriteFileAtomic(fsys, name, nil))
		wantContent(t, fsys, name, "")
		must(t, WriteFileAtomic(fsys, name, []byte("too long")))
		if _, err := ReadFile(fsys, name, 3); err == nil {
			t.Error("ReadFile passed its limit")
		}
	},
}

func TestConformance(t *testing.T) {
	for name, check := range conformance {
		t.Run("OS/"+name, func(t *testing.T) { check(t, OS{}, t.TempDir()) })
		t.Run("Mem/"+name, func(t *testing.T) {
			m := NewMem()
			must(t, m.MkdirAll("/tmp/dir"))
			check(t, m, "/tmp/dir")
		})
		t.Run("MemRelative/"+name, func(t *testing.T) {
			m := NewMem()
			must(t, m.MkdirAll("dir"))
			check(t, m, "dir")
		})
	}
}

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t rapid.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error = %v, want %v", err, want)
	}
}

func open(t rapid.TB, fsys FS, name string, flag int) File {
	t.Helper()
	f, err := fsys.OpenFile(name, flag)
	must(t, err)
	return f
}

// put creates or replaces a file without syncing anything.
func put(t rapid.TB, fsys FS, name, content string) {
	t.Helper()
	f := open(t, fsys, name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	_, err := f.WriteAt([]byte(content), 0)
	must(t, errors.Join(err, f.Close()))
}

// putDurable is put with everything synced.
func putDurable(t rapid.TB, fsys FS, name, content string) {
	t.Helper()
	put(t, fsys, name, content)
	f := open(t, fsys, name, os.O_RDWR)
	must(t, errors.Join(f.Sync(), f.Close(), fsys.SyncDir(filepath.Dir(name))))
}

func readAll(t rapid.TB, fsys FS, name string) string {
	t.Helper()
	data, err := ReadFile(fsys, name, 1<<20)
	must(t, err)
	return string(data)
}

func wantContent(t rapid.TB, fsys FS, name, want string) {
	t.Helper()
	if got := readAll(t, fsys, name); got != want {
		t.Errorf("%s holds %q, want %q", name, got, want)
	}
}

// listing gives the names in a directory, those of directories with a slash.
func listing(t rapid.TB, fsys FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	names := []string{}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names
}

func wantNames(t rapid.TB, fsys FS, dir string, want ...string) {
	t.Helper()
	if got := listing(t, fsys, dir); !slices.Equal(got, want) {
		t.Errorf("%s lists %s, want %s", dir, strings.Join(got, " "), strings.Join(want, " "))
	}
}
