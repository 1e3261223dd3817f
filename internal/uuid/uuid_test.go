package uuid

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTextFormRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "raw")
		id, err := New(bytes.NewReader(raw))
		if err != nil {
			return // every draw began with '-', which a reader of 64 bytes can do
		}
		back, err := Parse(id.String())
		if err != nil || back != id {
			t.Fatalf("%v came back as %v, %v", id, back, err)
		}
		if strings.HasPrefix(id.String(), "-") || len(id.String()) != 22 {
			t.Fatalf("%q does not read as an argument", id)
		}
	})
}

func TestParseRefusesWhatIsNoID(t *testing.T) {
	for _, s := range []string{"", "x", strings.Repeat("A", 21), strings.Repeat("A", 23), strings.Repeat("+", 22)} {
		if id, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v", s, id)
		}
	}
}

// TestKnownForm pins the form to what Kafka prints for the same bytes.
func TestKnownForm(t *testing.T) {
	id := ID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	if got := id.String(); got != "AAECAwQFBgcICQoLDA0ODw" {
		t.Errorf("String = %q", got)
	}
}
