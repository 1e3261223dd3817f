package chaos

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// diskBatch is the bytes of a batch of one record as a leader stores it.
func diskBatch(base int64, epoch int32, pid int64, seq int32, value string) []byte {
	raw := recordBatch([]byte(value), 1000, pid, 0, seq)
	binary.BigEndian.PutUint64(raw, uint64(base))
	binary.BigEndian.PutUint32(raw[batchEpochAt:], uint32(epoch))
	return raw
}

func replicaOf(t *testing.T, node int32, hw string, segments ...[]byte) (Replica, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "log", "t-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"replication-offset-checkpoint": []byte(hw)}
	for i, s := range segments {
		files[filepath.Join("t-0", string(rune('a'+i))+".log")] = s
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, "log", name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return ReadReplica(node, dir, p0)
}

func TestReadReplica(t *testing.T) {
	first := append(diskBatch(0, 1, -1, -1, "a"), diskBatch(1, 1, 7, 0, "b")...)
	second := append(diskBatch(2, 2, 7, 1, "c"), make([]byte, 500)...) // reserved space
	r, err := replicaOf(t, 3, "0\n3\nother 0 9\nt 0 2\nt 1 7\n", first, second)
	if err != nil {
		t.Fatal(err)
	}
	if r.HighWatermark != 2 || r.End() != 3 || len(r.Batches) != 3 {
		t.Fatalf("high watermark %d, end %d, %d batches", r.HighWatermark, r.End(), len(r.Batches))
	}
	if b := r.Batches[2]; b.Base != 2 || b.Epoch != 2 || b.Producer != 7 || b.Sequence != 1 || b.File != "b.log" || b.Position != 0 {
		t.Errorf("the third batch is %+v", b)
	}
	if found := CheckReplicas(p0, []Replica{r}); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

func TestReadReplicaSeesDamage(t *testing.T) {
	good := diskBatch(0, 1, -1, -1, "a")
	flipped := slices.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for name, segment := range map[string][]byte{"bad CRC": flipped, "unexpected EOF": good[:len(good)-1], "magic 9": append(slices.Clone(good), []byte(strings.Repeat("\x09", 100))...)} {
		if _, err := replicaOf(t, 1, "", segment); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := replicaOf(t, 1, ""); err == nil {
		t.Error("a replica without segments was read")
	}
}

// TestCheckReplicasSeesEveryFault gives the second replica one fault each.
func TestCheckReplicasSeesEveryFault(t *testing.T) {
	batch := func(base, end int64, epoch, seq int32, digest uint64) Batch {
		return Batch{Base: base, End: end, Epoch: epoch, Producer: 5, Sequence: seq, Digest: digest}
	}
	whole := func() []Batch {
		return []Batch{batch(0, 2, 1, 0, 10), batch(2, 3, 1, 2, 11), batch(3, 5, 2, 3, 12), batch(5, 6, 2, 5, 13)}
	}
	for name, c := range map[string]struct {
		change    func(r *Replica)
		invariant string // "" if it is no fault
		text      string
	}{
		"the same":                                 {func(*Replica) {}, "", ""},
		"behind":                                   {func(r *Replica) { r.Batches, r.HighWatermark = r.Batches[:2], 3 }, "", ""},
		"another tail of an older epoch":           {func(r *Replica) { r.Batches[3] = batch(5, 7, 3, 5, 99); r.HighWatermark = 5 }, "", ""},
		"other bytes below both high watermarks":   {func(r *Replica) { r.Batches[2].Digest, r.Batches[2].Epoch = 99, 1 }, "I6", "differ below both high watermarks"},
		"other batches below both high watermarks": {func(r *Replica) { r.Batches[0] = batch(0, 1, 1, 0, 9); r.Batches[1] = batch(1, 3, 1, 1, 9) }, "I6", "lacks"},
		"shorter than its high watermark":          {func(r *Replica) { r.Batches = r.Batches[:3] }, "I8", "a log that ends at 5"},
		"other bytes at one offset and epoch":      {func(r *Replica) { r.Batches[3].Digest = 99; r.HighWatermark = 5 }, "I7", "different bytes at one offset and epoch"},
		"a hole":                                   {func(r *Replica) { r.Batches = slices.Delete(r.Batches, 1, 2) }, "I1", "hole"},
		"an epoch that goes back":                  {func(r *Replica) { r.Batches[3].Epoch = 1 }, "I22", "goes back"},
		"a sequence twice":                         {func(r *Replica) { r.Batches[3].Sequence = 3 }, "I35", "is 3 where 5 comes next"},
		"a sequence left out":                      {func(r *Replica) { r.Batches[3].Sequence = 6 }, "I35", "is 6 where 5 comes next"},
		"a sequence that does not begin at 0": {func(r *Replica) {
			for i := range r.Batches {
				r.Batches[i].Sequence += 4
			}
		}, "I35", "is 4 where 0 comes next"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := Replica{1, 6, whole()}, Replica{2, 6, whole()}
			c.change(&b)
			found := CheckReplicas(p0, []Replica{a, b})
			if c.invariant == "" {
				if len(found) != 0 {
					t.Errorf("found %v", found)
				}
				return
			}
			for _, v := range found {
				if v.Invariant == c.invariant && strings.Contains(v.Text, c.text) && len(v.Rows)+len(v.Text) > 0 {
					return
				}
			}
			t.Errorf("want %s %q; found %v", c.invariant, c.text, found)
		})
	}
}
