package config

import "fmt"

// crossRule checks values against each other. Each value is valid by itself.
type crossRule func(get func(name string) value) error

// validateCross runs the rules over raw values; a null counts as the zero value.
func (s *Schema) validateCross(raw func(name string) (string, bool)) error {
	get := func(name string) value {
		text, ok := raw(name)
		if !ok {
			return value{}
		}
		v, err := parse(s.keys[name].Type, text)
		if err != nil {
			return value{}
		}
		return v
	}
	for _, rule := range s.cross {
		if err := rule(get); err != nil {
			return err
		}
	}
	return nil
}

// ConflictError says which two values contradict each other. It is the client's mistake (INVALID_CONFIG).
type ConflictError struct {
	Key, Value      string
	Other, OtherVal string
	Want            string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("config %s: value %s %s the value %s of %s", e.Key, e.Value, e.Want, e.OtherVal, e.Other)
}

func notAbove(get func(string) value, low, high string) error {
	l, h := get(low), get(high)
	if l.i <= h.i {
		return nil
	}
	return &ConflictError{Key: low, Value: l.text, Other: high, OtherVal: h.text, Want: "must not exceed"}
}

func compactionLags(low, high string) crossRule {
	return func(get func(string) value) error { return notAbove(get, low, high) }
}

func sessionTimeouts(get func(string) value) error {
	return notAbove(get, "group.min.session.timeout.ms", "group.max.session.timeout.ms")
}

// sameNodeID: the two names are one id; -1 is "not given".
func sameNodeID(get func(string) value) error {
	node, broker := get("node.id"), get("broker.id")
	if node.i == broker.i || node.i == -1 || broker.i == -1 {
		return nil
	}
	return &ConflictError{Key: "node.id", Value: node.text, Other: "broker.id", OtherVal: broker.text, Want: "must equal"}
}
