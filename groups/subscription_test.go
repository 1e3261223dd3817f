package groups

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzDecodeSubscription: no input does harm, and whatever a full decoder accepts is read alike.
func FuzzDecodeSubscription(f *testing.F) {
	f.Add([]byte{})
	f.Add(subscriptionOf("logs+news"))
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0})
	full := kmsg.NewConsumerMemberMetadata()
	full.Version, full.Topics, full.UserData = 3, []string{"a", "", "b"}, []byte("user")
	full.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: []int32{1, 2}}}
	f.Add(full.AppendTo(nil))
	f.Add(full.AppendTo(nil)[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeSubscription(b)
		var want kmsg.ConsumerMemberMetadata
		if want.ReadFrom(b) != nil || want.Version < 0 {
			return
		}
		negative := len(b) >= 6 && b[2]&0x80 != 0 // which kmsg takes for an empty list
		if negative {
			return
		}
		if err != nil || !slices.Equal(got, want.Topics) {
			t.Errorf("decoded %q, %v; want %q", got, err, want.Topics)
		}
	})
}
