package dsl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

const (
	maxJSONDepth  = 200     // far above what the other limits allow, far below what hurts a stack
	maxJSONValues = 200_000 // of one body: three bytes of "[],[],…" cost a hundred in memory
)

// node is a JSON value that knows where it stands.
type node struct {
	at, end int  // byte offsets in the body, end being set for { and [ only
	kind    byte // { [ " 0 (a number) t (true or false) n (null)
	text    string
	members []member // of {, in their order, each name once
	items   []node   // of [
}

type member struct {
	name string
	at   int
	node node
}

// jsonReader builds nodes out of tokens.
type jsonReader struct {
	body   []byte
	dec    *json.Decoder
	values int
}

// readJSON reads a body that is one JSON value.
func readJSON(body []byte) (node, *Error) {
	if !utf8.Valid(body) {
		return node{}, refusef(ParsingException, "the request body is not valid UTF-8")
	}
	r := &jsonReader{body: body, dec: json.NewDecoder(bytes.NewReader(body))}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return node{}, err
	}
	if at := r.next(); at < len(body) {
		return node{}, r.fail(at, "the request body goes on after its end")
	}
	return n, nil
}

// next is where the next token starts.
func (r *jsonReader) next() int {
	at := int(r.dec.InputOffset())
	for at < len(r.body) && bytes.IndexByte([]byte(" \t\r\n,:"), r.body[at]) >= 0 {
		at++
	}
	return at
}

func (r *jsonReader) fail(at int, format string, args ...any) *Error {
	err := refusef(ParsingException, format, args...)
	err.Line, err.Col = position(r.body, at)
	return err
}

func (r *jsonReader) token() (json.Token, int, *Error) {
	at := r.next()
	token, err := r.dec.Token()
	if err == nil {
		return token, at, nil
	}
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, at, r.fail(len(r.body), "the request body ends too early")
	case errors.As(err, &syntax):
		return nil, at, r.fail(at, "the request body is not JSON: %s", syntax.Error())
	}
	return nil, at, r.fail(at, "the request body is not JSON: %s", err)
}

func (r *jsonReader) value(depth int) (node, *Error) {
	token, at, err := r.token()
	if err != nil {
		return node{}, err
	}
	if r.values++; r.values > maxJSONValues {
		return node{}, r.fail(at, "the request body has more than %d values", maxJSONValues)
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxJSONDepth {
			return node{}, r.fail(at, "the request body is nested deeper than %d", maxJSONDepth)
		}
		if token == '{' {
			return r.object(at, depth)
		}
		return r.array(at, depth)
	case string:
		return node{at: at, kind: '"', text: token}, nil
	case json.Number:
		return node{at: at, kind: '0', text: token.String()}, nil
	case bool:
		if token {
			return node{at: at, kind: 't', text: "true"}, nil
		}
		return node{at: at, kind: 't', text: "false"}, nil
	}
	return node{at: at, kind: 'n', text: "null"}, nil
}

func (r *jsonReader) object(at, depth int) (node, *Error) {
	n := node{at: at, kind: '{'}
	seen := map[string]bool{}
	for r.dec.More() {
		token, nameAt, err := r.token()
		if err != nil {
			return node{}, err
		}
		name, _ := token.(string)
		if seen[name] {
			return node{}, r.fail(nameAt, "duplicate field [%s]", name)
		}
		seen[name] = true
		value, err := r.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, member{name: name, at: nameAt, node: value})
	}
	_, closing, err := r.token()
	n.end = closing + 1
	return n, err
}

func (r *jsonReader) array(at, depth int) (node, *Error) {
	n := node{at: at, kind: '['}
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, closing, err := r.token()
	n.end = closing + 1
	return n, err
}

// position is the line and the column, in bytes, of an offset.
func position(body []byte, at int) (line, col int) {
	before := body[:min(at, len(body))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
