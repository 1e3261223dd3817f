package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// TestEncMatchesKmsg encodes a Metadata response by hand in every version.
func TestEncMatchesKmsg(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Int16Range(5, 12).Draw(t, "version")
		name := rapid.StringN(0, 10, 300).Draw(t, "name")
		var cluster *string
		if rapid.Bool().Draw(t, "cluster") {
			cluster = &name
		}
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version, resp.ThrottleMillis, resp.ClusterID, resp.ControllerID = version, 7, cluster, 3
		topic := kmsg.NewMetadataResponseTopic()
		topic.ErrorCode, topic.Topic, topic.TopicID, topic.IsInternal = 5, &name, [16]byte{1, 2}, true
		resp.Topics = append(resp.Topics, topic)

		e := Enc{Flexible: version >= 9}
		e.Int32(7)
		e.Array(0)
		e.NullableString(cluster)
		e.Int32(3)
		e.Array(1)
		e.Int16(5)
		e.String(name)
		if version >= 10 {
			e.UUID([16]byte{1, 2})
		}
		e.Bool(true)
		e.Array(0)
		if version >= 8 {
			e.Int32(-1 << 31)
		}
		e.Tags()
		if version >= 8 && version <= 10 {
			e.Int32(-1 << 31)
		}
		e.Tags()
		if want := resp.AppendTo(nil); !bytes.Equal(e.B, want) {
			t.Fatalf("version %d\ngot  %x\nwant %x", version, e.B, want)
		}
	})
}

// TestDecReadsWhatEncWrites, and fails on every truncation of it.
func TestDecReadsWhatEncWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flexible := rapid.Bool().Draw(t, "flexible")
		s := rapid.StringN(0, 20, 300).Draw(t, "s")
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		i := rapid.Int64().Draw(t, "i")
		e := Enc{Flexible: flexible}
		e.Int8(int8(i))
		e.Int16(int16(i))
		e.Int32(int32(i))
		e.Uvarint(uint32(i))
		e.String(s)
		e.NullableString(nil)
		e.Bytes(b)
		e.BytesLen(2)
		e.B = append(e.B, 1, 2)
		e.Null()
		e.Array(3)
		e.B = append(e.B, 1, 2, 3)
		e.Tags()

		read := func(d *Dec) error {
			same := d.Int8() == int8(i) && d.Int16() == int16(i) && d.Int32() == int32(i) &&
				d.Uvarint() == uint32(i) && string(d.StringBytes()) == s && d.StringBytes() == nil && bytes.Equal(d.Bytes(), b) &&
				bytes.Equal(d.Bytes(), []byte{1, 2}) && d.Bytes() == nil && d.Array(3) == 3 && bytes.Equal(d.Span(3), []byte{1, 2, 3})
			if flexible {
				d.skipTags(d.tagCount())
			}
			if err := d.Err(); err != nil {
				return err
			}
			if !same || len(d.B) != 0 {
				return errors.New("something else came back")
			}
			return nil
		}
		if err := read(&Dec{B: e.B, Flexible: flexible}); err != nil {
			t.Fatal(err)
		}
		cut := rapid.IntRange(0, len(e.B)-1).Draw(t, "cut")
		if err := read(&Dec{B: e.B[:cut], Flexible: flexible}); err == nil {
			t.Fatalf("%d of %d bytes were enough", cut, len(e.B))
		}
	})
}

func TestDecLimits(t *testing.T) {
	d := Dec{B: []byte{0, 0, 0, 5, 1, 2, 3, 4, 5}}
	if n := d.Array(4); n != 0 || !errors.Is(d.Err(), errTooMany) {
		t.Errorf("Array = %d, err %v", n, d.Err())
	}
	d = Dec{B: []byte{0x91, 0x4E}, Flexible: true} // 10001
	if d.skipTags(d.tagCount()); !errors.Is(d.Err(), errTooMany) {
		t.Errorf("tags: %v", d.Err())
	}
}
