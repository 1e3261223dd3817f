package raftmeta

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chronik-stream/chronik/internal/uuid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file under testdata, which is what older releases have on disk.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: the format on disk has changed: %s", name, diff)
	}
}

// exampleCommands has one of every kind with every field set.
func exampleCommands() []Command {
	change := ConfigChange{Replace: true, Ops: []ConfigOp{{Kind: ConfigAppend, Key: "k", Value: "v", Base: "b"}}}
	return []Command{
		&InitCluster{testID(1)},
		&RegisterBroker{1, testID(2), []uuid.ID{testID(3)}, "host", 9092, "peer:9093", "rack", true, []TopicPartition{{testID(4), 1}}, 299},
		&ActivateBroker{1, 300},
		&FenceBroker{2, 301},
		&CreateTopic{testID(4), "tenant", "name", map[string]string{"b": "2", "a": "1"}, [][]int32{{1, 2}, {2}}},
		&DeleteTopic{testID(4)},
		&ConfirmDeletion{testID(4), 1},
		&CreatePartitions{testID(4), 2, [][]int32{{1}}},
		&SetTopicConfig{testID(4), change},
		&SetConfig{BrokerResource, "1", change},
		&AllocateProducerIDs{1, 300, 1000},
		&AlterPartition{testID(4), 1, 1, 300, 5, 6, []ISRMember{{1, 300}, {2, 301}}, true},
		&ElectLeader{testID(4), 1, true},
		&PutGroup{7, exampleGroup()},
		&DeleteGroup{7, "tenant", "group", true},
		&CommitOffsets{7, "tenant", "group", "member", 3, []CommittedOffset{exampleOffset()}},
		&DeleteOffsets{7, "tenant", "group", true, []OffsetKey{{testID(4), 1, 99}}},
		&BeginShutdown{1, 300},
		&MoveShard{63, 7, 2},
		&Reassign{testID(4), 1, []int32{3, 1}},
		&RecoverLeader{testID(4), 1, 6, 2},
		&SetDraining{1, true},
		&RemoveBroker{2, 301},
	}
}

func exampleGroup() Group {
	return Group{
		Tenant: "tenant", ID: "group", Generation: 3, ProtocolType: "consumer", Protocol: "range", Leader: "m",
		Members: []GroupMember{{
			ID: "m", InstanceID: "i", ClientID: "c", ClientHost: "/h", SessionTimeout: 1, RebalanceTimeout: 2,
			Protocols: []GroupProtocol{{"range", []byte{1}}}, Assignment: []byte{2, 3},
		}},
		EmptySince: -1,
	}
}

func exampleOffset() CommittedOffset {
	return CommittedOffset{testID(4), 1, 1 << 40, -1, "meta", 98, 99}
}

func TestCommandBytes(t *testing.T) {
	var text strings.Builder
	seen := map[kind]bool{}
	for _, cmd := range exampleCommands() {
		b, err := appendCommand(nil, cmd)
		if err != nil {
			t.Fatal(err)
		}
		seen[cmd.kind()] = true
		fmt.Fprintf(&text, "%s %s\n", strings.TrimPrefix(reflect.TypeOf(cmd).String(), "*raftmeta."), hex.EncodeToString(b))
		got, err := decodeCommand(b)
		if diff := cmp.Diff(cmd, got); err != nil || diff != "" {
			t.Errorf("%T: %v %s", cmd, err, diff)
		}
		if _, err := decodeCommand(append(b, 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%T with a byte too many: %v", cmd, err)
		}
		for n := 2; n < len(b); n++ {
			if _, err := decodeCommand(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%T cut to %d bytes: %v", cmd, n, err)
			}
		}
		b[1]++
		if _, err := decodeCommand(b); !errors.Is(err, ErrUnsupportedCommand) {
			t.Errorf("%T of a newer version: %v", cmd, err)
		}
	}
	for k := kind(0); k < 255; k++ {
		if known := newCommand(k) != nil; known != seen[k] {
			t.Errorf("kind %d: known %v, but tested %v", k, known, seen[k])
		}
	}
	golden(t, "commands.golden", text.String())
}

func TestCommandsSurviveTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []Command
		number := stamp{drawFrom(t, worldBrokers), rapid.Int64().Draw(t, "epoch"), rapid.Uint64().Draw(t, "sequence")}
		if number.sequence == 0 {
			number = stamp{}
		}
		entry := beginEntry(number)
		drawLog(t, NewImage(), func(index uint64, cmd Command, im *Image) *Image {
			b, err := appendCommand(nil, cmd)
			if err != nil {
				t.Fatal(err)
			}
			entry, want = appendToEntry(entry, b), append(want, cmd)
			next, _, _ := Apply(im, index, 1, cmd)
			return next
		})
		s, got, err := decodeEntry(entry)
		if err != nil {
			t.Fatal(err)
		}
		if s != number || len(got) != len(want) {
			t.Fatalf("entry %v of %d commands became %v of %d", number, len(want), s, len(got))
		}
		for i := range want { // nil and empty lists are one and the same
			a, _ := appendCommand(nil, want[i])
			b, _ := appendCommand(nil, got[i])
			if !bytes.Equal(a, b) || reflect.TypeOf(want[i]) != reflect.TypeOf(got[i]) {
				t.Fatalf("%+v became %+v", want[i], got[i])
			}
		}
	})
}

func TestEncodingRefusesWhatCannotBeRead(t *testing.T) {
	for _, cmd := range []Command{
		&CreateTopic{Name: strings.Repeat("x", maxName+1)},
		&CreateTopic{Tenant: strings.Repeat("x", maxTenant+1)},
		&CommitOffsets{Offsets: []CommittedOffset{{Metadata: strings.Repeat("x", maxBlob+1)}}},
		&PutGroup{Group: Group{Members: []GroupMember{{Assignment: make([]byte, maxBlob+1)}}}},
	} {
		if _, err := appendCommand(nil, cmd); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%T: %v", cmd, err)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, cmd := range exampleCommands() {
		b, err := appendCommand(nil, cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(appendToEntry(beginEntry(stamp{}), b))
		f.Add(appendToEntry(beginEntry(stamp{1, 1, 7}), b))
	}
	f.Add([]byte{entryPlain, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{entryPlain, 18, byte(kindInitCluster), 1})
	f.Fuzz(func(t *testing.T, entry []byte) {
		s, commands, err := decodeEntry(entry)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupportedCommand) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		// What was read is written the same, apart from length prefixes, and can be applied.
		im := worldForFuzzing()
		if !bytes.HasPrefix(entry, beginEntry(s)) {
			t.Fatalf("stamp %v is not canonical in %x", s, entry)
		}
		for _, cmd := range commands {
			b, err := appendCommand(nil, cmd)
			if err != nil {
				t.Fatalf("cannot be encoded again: %v", err)
			}
			if !bytes.Contains(entry, b) {
				t.Fatalf("encoding is not canonical: %x", b)
			}
			var rejection Rejection
			next, _, err := Apply(im, im.Index()+1, 1, cmd)
			if err != nil && !errors.As(err, &rejection) {
				t.Fatal(err)
			}
			im = next
		}
		snapshotAndBack(t, im)
	})
}

func worldForFuzzing() *Image {
	im := NewImage()
	for _, cmd := range firstCommands() {
		next, _, err := Apply(im, im.Index()+1, 1, cmd)
		if err != nil {
			panic(err)
		}
		im = next
	}
	return im
}
