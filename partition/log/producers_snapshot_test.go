package log

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/chronik-stream/chronik/wire/record"
)

// fixSnapshotCRC lets changed bytes get past the checksum, to what lies behind it.
func fixSnapshotCRC(data []byte) {
	binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[6:], castagnoli))
}

func TestSnapshotRefusesDoubt(t *testing.T) {
	var p producerStates
	must(t, p.update(producedBatch(t, 3, record.Producer{ID: 1, Sequence: 8}, 2, false), testNow))
	good := p.encodeSnapshot()
	for name, spoil := range map[string]func(b []byte) []byte{
		"cut":              func(b []byte) []byte { return b[:len(b)-1] },
		"short":            func(b []byte) []byte { return b[:5] },
		"version":          func(b []byte) []byte { b[1] = 2; return b },
		"crc":              func(b []byte) []byte { b[20]++; return b },
		"count":            func(b []byte) []byte { b[9] = 3; fixSnapshotCRC(b); return b },
		"negative count":   func(b []byte) []byte { b[6] = 0xff; fixSnapshotCRC(b); return b },
		"negative id":      func(b []byte) []byte { b[10] = 0xff; fixSnapshotCRC(b); return b },
		"negative epoch":   func(b []byte) []byte { b[18] = 0xff; fixSnapshotCRC(b); return b },
		"delta":            func(b []byte) []byte { b[32] = 0xff; fixSnapshotCRC(b); return b },
		"offset past end":  func(b []byte) []byte { b[26] = 1; fixSnapshotCRC(b); return b },
		"transaction past": func(b []byte) []byte { b[48] = 1; fixSnapshotCRC(b); return b },
	} {
		if _, err := decodeSnapshot(spoil(append([]byte(nil), good...)), 5, testNow); !errors.Is(err, errStateFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeSnapshot(good, 5, testNow); err != nil {
		t.Errorf("unspoiled: %v", err)
	}
}
