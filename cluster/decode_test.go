package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

func testFoundation() *foundation {
	return &foundation{
		clusterID: uuid.ID{1: 0xc1, 15: 0x1d},
		founders: []founder{
			{identity{1, uuid.ID{0xd1}}, "10.0.0.1:9093"},
			{identity{2, uuid.ID{0xd2}}, "10.0.0.2:9093"},
			{identity{300, uuid.ID{0xd3}}, "c.example:9093"},
		},
	}
}

// pledgeGolden is the file of testFoundation, as docs/format/state.md describes it.
const pledgeGolden = "01" + "00c1000000000000000000000000001d" + "03" +
	"00000001" + "d1000000000000000000000000000000" + "0d" + "31302e302e302e313a39303933" +
	"00000002" + "d2000000000000000000000000000000" + "0d" + "31302e302e302e323a39303933" +
	"0000012c" + "d3000000000000000000000000000000" + "0e" + "632e6578616d706c653a39303933"

func TestPledgeOnDisk(t *testing.T) {
	f := testFoundation()
	encoded := f.append(nil)
	if got := hex.EncodeToString(encoded[:len(encoded)-4]); got != pledgeGolden {
		t.Errorf("pledge is\n%s, want\n%s", got, pledgeGolden)
	}
	if got := hex.EncodeToString(encoded[len(encoded)-4:]); got != "c63b9f44" {
		t.Errorf("its checksum is %s", got)
	}
	got, err := readFoundation(encoded)
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("read back %+v, %v", got, err)
	}
	for i := range encoded {
		damaged := bytes.Clone(encoded)
		damaged[i] ^= 0x40
		if _, err := readFoundation(damaged); err == nil {
			t.Errorf("damage of byte %d is not seen", i)
		}
		if _, err := readFoundation(encoded[:i]); err == nil {
			t.Errorf("%d bytes are taken for a pledge", i)
		}
	}
}

func TestFoundationIsHeldToWhatItIs(t *testing.T) {
	for name, spoil := range map[string]func(*foundation){
		"unsorted":   func(f *foundation) { f.founders[0], f.founders[1] = f.founders[1], f.founders[0] },
		"twice":      func(f *foundation) { f.founders[1] = f.founders[0] },
		"nobody":     func(f *foundation) { f.founders = nil },
		"no cluster": func(f *foundation) { f.clusterID = uuid.ID{} },
		"no address": func(f *foundation) { f.founders[0].address = "" },
	} {
		f := testFoundation()
		spoil(f)
		if _, err := readFoundation(f.append(nil)); !errors.Is(err, errFoundation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func openTestPledges(t *testing.T, disk vfs.FS, node identity) (*pledges, error) {
	t.Helper()
	o := Options{NodeID: node.node, DirectoryID: node.directory, DataDir: "/data", FS: disk, BootstrapExpect: 3}.withDefaults()
	return openPledges(&o)
}

func newDisk(t *testing.T) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	if err := errors.Join(disk.MkdirAll("/data"), disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestPledgeIsForOneList(t *testing.T) {
	ctx := testContext(t)
	disk, f := newDisk(t), testFoundation()
	self := f.founders[1].identity
	p, err := openTestPledges(t, disk, self)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.accept(ctx, f); err != nil {
		t.Fatal(err)
	}
	if p, err = openTestPledges(t, disk, self); err != nil { // the next run keeps it
		t.Fatal(err)
	}
	given, err := p.current(ctx)
	if err != nil || given == nil || given.clusterID != f.clusterID {
		t.Fatalf("pledge %+v, %v", given, err)
	}
	other := testFoundation()
	other.clusterID[0]++
	if err := p.accept(ctx, other); !errors.Is(err, ErrRefused) {
		t.Errorf("a second list: %v", err)
	}
	if err := p.accept(ctx, f); err != nil {
		t.Errorf("the same list again: %v", err)
	}
	if settled, err := p.settle(ctx); settled || err != nil {
		t.Errorf("a pledged node joins another cluster: %v %v", settled, err)
	}
	if err := p.release(ctx, given); err != nil {
		t.Fatal(err)
	}
	if err := p.accept(ctx, other); err != nil {
		t.Errorf("after the release: %v", err)
	}
	if _, err := openTestPledges(t, disk, identity{2, uuid.ID{9}}); err == nil || !strings.Contains(err.Error(), "another directory") {
		t.Errorf("the pledge of another directory: %v", err)
	}
}

// TestPledgeSurvivesPowerLoss cuts the power at every operation of giving a pledge and of taking it back:
// afterwards the disk holds all of it or nothing, and what was reported done is done.
func TestPledgeSurvivesPowerLoss(t *testing.T) {
	ctx := testContext(t)
	f := testFoundation()
	self := f.founders[1].identity
	for _, releasing := range []bool{false, true} {
		for at := 0; ; at++ {
			disk := newDisk(t)
			p, err := openTestPledges(t, disk, self)
			if err != nil {
				t.Fatal(err)
			}
			if releasing {
				if err := p.accept(ctx, f); err != nil {
					t.Fatal(err)
				}
			}
			done := 0
			disk.OnOp(func(vfs.Op) error {
				if done++; done > at {
					return errCrash
				}
				return nil
			})
			if releasing {
				err = p.release(ctx, f)
			} else {
				err = p.accept(ctx, f)
			}
			for _, after := range []*vfs.Mem{disk.CrashLoseAll(), disk.CrashKeepAll()} {
				again, openErr := openTestPledges(t, after, self)
				if openErr != nil {
					t.Fatalf("releasing=%v, %d operations: %v", releasing, at, openErr)
				}
				if err == nil && (again.given == nil) != releasing {
					t.Errorf("releasing=%v, %d operations: reported done, pledge is %+v", releasing, at, again.given)
				}
			}
			if err == nil {
				break
			}
		}
	}
}

func TestMemberFitsIntoGossip(t *testing.T) {
	m := member{
		identity: identity{7, uuid.ID{1}}, run: 1 << 60, clusterID: uuid.ID{2}, standing: standingFormed, expect: 3,
		peerAddress: strings.Repeat("x", maxAddress),
	}
	encoded := m.append(nil)
	if len(encoded) > 512 {
		t.Errorf("%d bytes", len(encoded))
	}
	if got, err := readMember(append(encoded, "of a later release"...)); err != nil || got != m {
		t.Errorf("read back %+v, %v", got, err)
	}
	for i := range encoded {
		if _, err := readMember(encoded[:i]); err == nil {
			t.Errorf("%d bytes are taken for a member", i)
		}
	}
}

func FuzzReadFoundation(f *testing.F) {
	f.Add(testFoundation().append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := readFoundation(b)
		if err != nil {
			return
		}
		again, err := readFoundation(x.append(nil))
		if err != nil || !reflect.DeepEqual(again, x) || !x.holds(x.proposer().identity) {
			t.Errorf("%+v became %+v, %v", x, again, err)
		}
	})
}

func FuzzReadMember(f *testing.F) {
	m := member{identity: identity{1, uuid.ID{1}}, peerAddress: "h:1"}
	f.Add(m.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := readMember(b)
		if err != nil {
			return
		}
		if again, err := readMember(x.append(nil)); err != nil || again != x {
			t.Errorf("%+v became %+v, %v", x, again, err)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte{byte(codeOK), 1, 2})
	f.Add(appendCallError(nil, ErrRefused))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readAnswer(b)
		if err == nil && (len(b) == 0 || b[0] != byte(codeOK) || len(body) != len(b)-1) {
			t.Errorf("%x is taken for an answer", b)
		}
		if err != nil {
			if _, again := readAnswer(appendCallError(nil, err)); again == nil {
				t.Errorf("%v became an answer", err)
			}
		}
	})
}
