package record

import (
	"errors"
	"fmt"
	"strings"
)

// RecordError is a reason against one record of a batch.
type RecordError struct {
	Index   int32 // in the batch, from 0
	Message string
}

// maxRecordErrors bounds the answer to a batch in which everything is wrong.
const maxRecordErrors = 100

// ProduceError is why ValidateProduce refused, in the terms of a produce response.
type ProduceError struct {
	Err          error         // one of the package's sentinels; errors.Is finds it
	Message      string        // for the client
	RecordErrors []RecordError // the first 100; empty if no single record is to blame
}

// Error is the sentinel's text and the message.
func (e *ProduceError) Error() string { return e.Err.Error() + ": " + e.Message }

// Unwrap is the sentinel.
func (e *ProduceError) Unwrap() error { return e.Err }

func refuse(sentinel error, format string, args ...any) *ProduceError {
	return &ProduceError{Err: sentinel, Message: fmt.Sprintf(format, args...)}
}

func (e *ProduceError) blame(index int, message string) {
	if len(e.RecordErrors) < maxRecordErrors {
		e.RecordErrors = append(e.RecordErrors, RecordError{int32(index), message})
	}
}

// refuseAs is a refusal with the text of err, without the sentinel's own text in front.
func refuseAs(sentinel, err error) *ProduceError {
	text := err.Error()
	for _, known := range []error{ErrCorrupt, ErrInvalid, ErrTooLarge, ErrUnsupported} {
		text = strings.TrimPrefix(text, known.Error()+": ")
	}
	return &ProduceError{Err: sentinel, Message: text}
}

// refuseRecords turns an error from opening records whose CRC was right into a refusal. Such records
// were sent as they are: CORRUPT_MESSAGE would make clients send them again, INVALID_RECORD does not.
func refuseRecords(err error) error {
	if refused := (*ProduceError)(nil); errors.As(err, &refused) {
		return err
	}
	for _, sentinel := range []error{ErrTooLarge, ErrUnsupported} {
		if errors.Is(err, sentinel) {
			return refuseAs(sentinel, err)
		}
	}
	return refuseAs(ErrInvalid, err)
}

// refuseSet is refuseRecords for message sets, whose CRCs are checked on the way and not before.
func refuseSet(err error) error {
	if refused := (*ProduceError)(nil); !errors.As(err, &refused) && errors.Is(err, ErrCorrupt) {
		return refuseAs(ErrCorrupt, err)
	}
	return refuseRecords(err)
}
