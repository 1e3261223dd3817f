package raftmeta

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// One Raft entry is a batch of commands: the format byte, then each command with its length in front.
const entryFormat = 1

const (
	// MaxCommandBytes bounds one encoded command.
	MaxCommandBytes = 4 << 20
	// maxEntryBytes is where a batch ends (replication.md 4.11). One larger command has an entry of its own.
	maxEntryBytes = 1 << 20
)

// appendToEntry adds an encoded command to an entry; an empty one is begun.
func appendToEntry(entry, command []byte) []byte {
	if len(entry) == 0 {
		entry = append(entry, entryFormat)
	}
	entry = binary.AppendUvarint(entry, uint64(len(command)))
	return append(entry, command...)
}

// decodeEntry reads the commands of an entry. It is all or nothing.
func decodeEntry(entry []byte) ([]Command, error) {
	if len(entry) == 0 || entry[0] != entryFormat {
		return nil, fmt.Errorf("%w: entry format", ErrUnsupportedCommand)
	}
	rest := entry[1:]
	var commands []Command
	for len(rest) > 0 {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > MaxCommandBytes || n > uint64(len(rest)-used) {
			return nil, fmt.Errorf("%w: command length", ErrCorrupt)
		}
		cmd, err := decodeCommand(rest[used : used+int(n)])
		if err != nil {
			return nil, err
		}
		commands = append(commands, cmd)
		rest = rest[used+int(n):]
	}
	return commands, nil
}

// applyCommand applies one command to an edit. A rejected command changes nothing.
func (e *edit) applyCommand(cmd Command) (Result, error) {
	result, err := cmd.apply(e)
	result.Index = e.base.index
	return result, err
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
