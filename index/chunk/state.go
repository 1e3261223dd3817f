package chunk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"maps"

	"github.com/chronik-stream/chronik/index/schema"
)

// Checkpoint says how far a chunk has come, and by whose log.
type Checkpoint struct {
	Next       int64 `json:"next"`        // the offset to index next: everything below it is in the index
	Epoch      int32 `json:"epoch"`       // leader epoch of the record before Next
	LastStable int64 `json:"last_stable"` // the log's last stable offset when this was indexed
}

// state is what a chunk knows of its documents. It is written in the same batch as they are, so whatever a
// crash leaves, the two agree.
type state struct {
	Checkpoint
	Low          int64            `json:"low"`           // documents below it were deleted with the log's start
	MinTimestamp int64            `json:"min_timestamp"` // ms since 1970; above MaxTimestamp if no document has one
	MaxTimestamp int64            `json:"max_timestamp"`
	Docs         int64            `json:"docs"`        // exactly what the index counts
	Deleted      int64            `json:"deleted"`     // by compaction: a measure of what space is lost
	InputBytes   int64            `json:"input_bytes"` // of keys, values and headers
	Tokens       map[string]int64 `json:"tokens,omitempty"`
	Learned      []schema.Field   `json:"learned,omitempty"`
}

// checkpointKey is the internal value of the index that holds the state.
var checkpointKey = []byte("ck")

func newState(base int64) state {
	return state{Checkpoint: Checkpoint{Next: base, Epoch: -1, LastStable: base}, Low: base, MaxTimestamp: -1}
}

func (s state) clone() state {
	s.Tokens = maps.Clone(s.Tokens)
	return s
}

func (s *state) addTimestamp(ms int64) {
	switch {
	case ms == schema.NoTimestamp:
	case s.MinTimestamp > s.MaxTimestamp:
		s.MinTimestamp, s.MaxTimestamp = ms, ms
	default:
		s.MinTimestamp, s.MaxTimestamp = min(s.MinTimestamp, ms), max(s.MaxTimestamp, ms)
	}
}

func (s *state) addTokens(field string, n int) {
	if s.Tokens == nil {
		s.Tokens = make(map[string]int64)
	}
	s.Tokens[field] += int64(n)
}

// encode guards the state by a CRC: Bleve keeps it in a file that has none.
func (s state) encode() []byte {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // a struct of numbers, strings and maps of them
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(raw)), raw...)
}

func decodeState(raw []byte) (s state, err error) {
	if len(raw) < 4 || binary.BigEndian.Uint32(raw) != crc32.ChecksumIEEE(raw[4:]) {
		return s, errors.New("the checkpoint does not match its CRC")
	}
	return s, json.Unmarshal(raw[4:], &s)
}
