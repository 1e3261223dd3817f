// Package uuid holds the 128-bit identifiers that Kafka gives to topics, clusters and storage
// directories, in Kafka's own text form. An identifier is chosen by whoever proposes a thing, never
// while a command is applied.
package uuid

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
)

// ID is one identifier. The zero ID means "none", as it does on the wire.
type ID [16]byte

// New draws an identifier from r, or from the system's secure source when r is nil. The two values
// that Kafka reserves, and those whose text form begins with '-', which would read as a flag on a
// command line, are drawn again.
func New(r io.Reader) (ID, error) {
	if r == nil {
		r = rand.Reader
	}
	for {
		var id ID
		if _, err := io.ReadFull(r, id[:]); err != nil {
			return ID{}, fmt.Errorf("draw identifier: %w", err)
		}
		id[6] = id[6]&0x0f | 0x40 // version 4
		id[8] = id[8]&0x3f | 0x80 // RFC 4122 variant
		if id.String()[0] != '-' {
			return id, nil
		}
	}
}

// Parse reads the form that String writes.
func Parse(s string) (ID, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) != 16 {
		return ID{}, fmt.Errorf("%q is not an identifier: want 22 characters of URL-safe base64", s)
	}
	return ID(raw), nil
}

// String is the 22-character URL-safe base64 that Kafka's tools and files use.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// MarshalText gives JSON the same form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// IsZero reports whether id is absent.
func (id ID) IsZero() bool { return id == ID{} }
