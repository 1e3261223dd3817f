package log

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// epochModel is the history as one epoch per offset: the most naive form.
type epochModel []int32

// endFor finds the largest epoch <= the asked one that has records, and the offset after its last.
func (m epochModel) endFor(epoch int32, start int64) (int32, int64) {
	if int64(len(m)) <= start {
		return -1, -1
	}
	floor, end := int32(-1), int64(-1)
	for i := start; i < int64(len(m)); i++ {
		if m[i] <= epoch {
			floor, end = m[i], i+1
		}
	}
	if floor < 0 {
		return epoch, start
	}
	return floor, end
}

func TestEpochsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c epochCache
		var model epochModel
		epoch, start := int32(rapid.IntRange(0, 3).Draw(t, "first epoch")), int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "records") {
					known := start < int64(len(model)) && model[len(model)-1] == epoch
					if changed := c.assign(epoch, int64(len(model))); changed == known {
						t.Fatalf("assign(%d, %d) = %v", epoch, len(model), changed)
					}
					model = append(model, epoch)
				}
			},
			"new leader": func(t *rapid.T) { epoch += int32(rapid.IntRange(1, 3).Draw(t, "step")) },
			"truncate": func(t *rapid.T) {
				to := rapid.Int64Range(start, int64(len(model))).Draw(t, "to")
				before := len(c.entries)
				changed := c.truncateFrom(to)
				model = model[:to]
				if changed != (len(c.entries) != before) {
					t.Fatalf("truncateFrom(%d) = %v", to, changed)
				}
				if to == start {
					c = epochCache{} // an empty log has no history in the model
				}
			},
			"retention": func(t *rapid.T) {
				to := rapid.Int64Range(start, int64(len(model))).Draw(t, "to")
				if to == int64(len(model)) {
					return
				}
				c.truncateBefore(to)
				if c.truncateBefore(to) {
					t.Fatal("changed twice")
				}
				start = to
			},
			"": func(t *rapid.T) {
				end := int64(len(model))
				for asked := int32(0); asked <= epoch+2; asked++ {
					gotEpoch, gotEnd := c.endFor(asked, end)
					wantEpoch, wantEnd := model.endFor(asked, start)
					if gotEpoch != wantEpoch || gotEnd != wantEnd {
						t.Fatalf("endFor(%d) of %v = %d, %d, want %d, %d", asked, c.entries, gotEpoch, gotEnd, wantEpoch, wantEnd)
					}
				}
				again, err := decodeEpochs(c.encode())
				if err != nil || !slices.Equal(again.entries, c.entries) {
					t.Fatalf("decoded %v, %v from %v", again.entries, err, c.entries)
				}
			},
		})
	})
}

func TestEpochsAssign(t *testing.T) {
	for _, c := range []struct {
		name  string
		have  []epochEntry
		epoch int32
		start int64
		want  []epochEntry
	}{
		{"first", nil, 3, 7, []epochEntry{{3, 7}}},
		{"next", []epochEntry{{3, 7}}, 4, 9, []epochEntry{{3, 7}, {4, 9}}},
		{"same again", []epochEntry{{3, 7}}, 3, 9, []epochEntry{{3, 7}}},
		{"same, earlier", []epochEntry{{3, 7}}, 3, 5, []epochEntry{{3, 5}}},
		{"replaces what began as late", []epochEntry{{1, 0}, {3, 7}, {4, 9}}, 5, 7, []epochEntry{{1, 0}, {5, 7}}},
		{"replaces epochs as high", []epochEntry{{1, 0}, {3, 7}, {4, 9}}, 3, 12, []epochEntry{{1, 0}, {3, 12}}},
		{"no epoch", []epochEntry{{1, 0}}, -1, 12, []epochEntry{{1, 0}}},
	} {
		cache := epochCache{slices.Clone(c.have)}
		changed := cache.assign(c.epoch, c.start)
		if !slices.Equal(cache.entries, c.want) || changed == slices.Equal(c.have, c.want) {
			t.Errorf("%s: %v, changed %v; want %v", c.name, cache.entries, changed, c.want)
		}
	}
}

func TestEpochsFile(t *testing.T) {
	m, dir := testDir(t)
	if _, err := loadEpochs(m, dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	c := epochCache{[]epochEntry{{0, 0}, {4, 1 << 40}}}
	must(t, c.save(m, dir))
	got, err := loadEpochs(m.CrashLoseAll(), dir)
	must(t, err)
	if !slices.Equal(got.entries, c.entries) {
		t.Errorf("loaded %v", got.entries)
	}
	if want := "0\n2\n0 0\n4 1099511627776\n"; string(c.encode()) != want {
		t.Errorf("encoded %q, want %q", c.encode(), want)
	}
}

func FuzzEpochsDecode(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n4 1099511627776\n"))
	f.Add([]byte("0\n2\n4 0\n0 10\n"))
	f.Add([]byte("0\n1\n1 -1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeEpochs(data)
		if err != nil {
			if !errors.Is(err, errStateFile) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		for i := 1; i < len(c.entries); i++ {
			if a, b := c.entries[i-1], c.entries[i]; a.epoch >= b.epoch || a.start >= b.start {
				t.Fatalf("accepted %v before %v", a, b)
			}
		}
		if again, err := decodeEpochs(c.encode()); err != nil || !slices.Equal(again.entries, c.entries) {
			t.Fatal(err, again)
		}
	})
}

// TestForgottenEpochDoesNotComeBack: a leader wrote down its epoch and wrote nothing in it, followed
// again, and was killed before the file was written anew (found by the simulator).
func TestForgottenEpochDoesNotComeBack(t *testing.T) {
	cfg := testConfig()
	cfg.FlushMode = OS
	w, rng := newTestWorld(t, cfg)
	must(t, w.append(rng))
	must(t, w.l.StartEpoch(5))
	must(t, w.sync())
	w.l.ForgetEmptyEpochs()
	must(t, w.append(rng)) // of the other leader's epoch, which is an older one: it was there before
	w.m = w.m.CrashKeepAll()
	must(t, w.open())
	if epoch, end := w.l.EpochEnd(w.epoch); epoch != w.epoch || end != w.end() {
		t.Errorf("epoch %d ends at %d, the log does at %d and has no other", epoch, end, w.end())
	}
}
