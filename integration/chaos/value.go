package chaos

import (
	"bytes"
	"fmt"
	"strconv"
)

// ID names a record that the workload wrote: the number of its stream, and its number in there.
type ID struct{ Stream, Seq int32 }

func (id ID) String() string { return fmt.Sprintf("%d/%d", id.Stream, id.Seq) }

// Value is the record's content. It is a function of the ID, so that a changed byte shows, and of varying length, so that
// batches have varying borders.
func (id ID) Value() []byte {
	mix := uint32(id.Stream)*2654435761 ^ uint32(id.Seq)*2246822519
	v := fmt.Appendf(nil, "%d/%d/", id.Stream, id.Seq)
	return append(v, bytes.Repeat([]byte{'a' + byte(mix>>8%26)}, int(20+mix>>16%200))...)
}

// ParseValue is the inverse of Value. An error is a record that the workload did not write.
func ParseValue(value []byte) (ID, error) {
	stream, rest, ok := bytes.Cut(value, []byte("/"))
	seq, _, ok2 := bytes.Cut(rest, []byte("/"))
	s, err := strconv.ParseInt(string(stream), 10, 32)
	n, err2 := strconv.ParseInt(string(seq), 10, 32)
	id := ID{int32(s), int32(n)}
	if !ok || !ok2 || err != nil || err2 != nil || !bytes.Equal(value, id.Value()) {
		return ID{}, fmt.Errorf("a record that nobody wrote: %.40q", value)
	}
	return id, nil
}
