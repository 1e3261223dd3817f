package raftmeta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// One Raft entry is a batch of commands: the format byte, a stamp if the format says so, then each command
// with its length in front.
const (
	entryPlain   = 1
	entryStamped = 2
)

const (
	// MaxCommandBytes bounds one encoded command.
	MaxCommandBytes = 4 << 20
	// maxEntryBytes is where a batch ends (replication.md 4.11). One larger command has an entry of its own.
	maxEntryBytes = 1 << 20
)

// beginEntry returns an entry without commands.
func beginEntry(s stamp) []byte {
	if s.sequence == 0 {
		return []byte{entryPlain}
	}
	c := coder{buf: []byte{entryStamped}}
	s.fields(&c)
	return c.buf
}

// appendToEntry adds an encoded command to an entry.
func appendToEntry(entry, command []byte) []byte {
	entry = binary.AppendUvarint(entry, uint64(len(command)))
	return append(entry, command...)
}

// decodeEntry reads the stamp and the commands of an entry. It is all or nothing.
func decodeEntry(entry []byte) (s stamp, commands []Command, err error) {
	if len(entry) == 0 || entry[0] != entryPlain && entry[0] != entryStamped {
		return s, nil, fmt.Errorf("%w: entry format", ErrUnsupportedCommand)
	}
	c := coder{buf: entry[1:], decoding: true}
	if entry[0] == entryStamped {
		s.fields(&c)
	}
	if c.err != nil {
		return s, nil, c.err
	}
	rest := c.buf
	for len(rest) > 0 {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > MaxCommandBytes || n > uint64(len(rest)-used) {
			return s, nil, fmt.Errorf("%w: command length", ErrCorrupt)
		}
		cmd, err := decodeCommand(rest[used : used+int(n)])
		if err != nil {
			return s, nil, err
		}
		commands = append(commands, cmd)
		rest = rest[used+int(n):]
	}
	return s, commands, nil
}

// applyCommand applies one command to an edit. A rejected command changes nothing.
func (e *edit) applyCommand(cmd Command) (Result, error) {
	result, err := cmd.apply(e)
	result.Index = e.base.index
	return result, err
}

// supersededOutcomes are those of an entry that came too late.
func (e *edit) supersededOutcomes(n int) []outcome {
	return slices.Repeat([]outcome{{Result{Index: e.base.index}, ErrSuperseded}}, n)
}

// Apply is the table as a pure function: the image after one command that stands alone in the entry
// at index, which must be larger than im.Index(). If the command is rejected (a Rejection), the image
// differs in its position only. cmd must not be modified afterwards: the image may share its memory.
func Apply(im *Image, index, term uint64, cmd Command) (*Image, Result, error) {
	e := newEdit(im)
	e.at(index, term)
	result, err := e.applyCommand(cmd)
	return e.done(), result, err
}

// NewImage returns the table before the first entry of the log.
func NewImage() *Image { return newImage() }

// rejected reports whether err is a definite no of the table.
func rejected(err error) bool {
	var r Rejection
	return errors.As(err, &r)
}
