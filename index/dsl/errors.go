package dsl

import (
	"errors"
	"fmt"
)

// The types of an Error, as Elasticsearch calls them. All answer with status 400.
const (
	ParsingException = "parsing_exception"          // a clause or option is unknown or malformed
	IllegalArgument  = "illegal_argument_exception" // it is understood, and not allowed
	TooManyClauses   = "too_many_clauses"           // a limit on the number of clauses is passed
)

// Error says why a request is refused, in the client's terms.
type Error struct {
	Type, Reason string
	Line, Col    int // where in the JSON, from 1; 0: nowhere
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: %s (line %d, column %d)", e.Type, e.Reason, e.Line, e.Col)
	}
	return e.Type + ": " + e.Reason
}

func refusef(kind, format string, args ...any) *Error {
	return &Error{Type: kind, Reason: fmt.Sprintf(format, args...)}
}

// reason is what an error says without its type.
func reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}
