package exec

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/index/dsl"
	"github.com/chronik-stream/chronik/index/schema"
)

var errKey = errors.New("a hit's sort key is damaged")

// SortValues are what a hit was sorted by, as its sort array shows them: a string, int64, float64 or bool per sort
// key, and nil where the record has none. As search_after they lead to the hits behind it.
func SortValues(s *dsl.Search, h *Hit) ([]any, error) {
	sorts := s.Sort
	if len(sorts) == 0 {
		sorts = []dsl.Sort{{Field: scoreKey, Desc: true}}
	}
	values := make([]any, len(sorts))
	rest := h.Key
	for i, given := range sorts {
		if len(rest) == 0 {
			return nil, errKey
		}
		class := rest[0]
		rest = rest[1:]
		if class != present {
			continue
		}
		v, n, err := sortValue(rest, given)
		if err != nil {
			return nil, err
		}
		values[i], rest = v, rest[n:]
	}
	return values, nil
}

// sortValue reads a part behind its first byte, and says how long it is.
func sortValue(part []byte, s dsl.Sort) (v any, n int, err error) {
	if s.Desc {
		part = slices.Clone(part)
		for i := range part {
			part[i] = ^part[i]
		}
	}
	const number = 1 + 8 + 2 + 1
	switch {
	case len(part) >= number && part[0] == 'n':
		value := fromSortableBits(binary.BigEndian.Uint64(part[1:]))
		rest := int64(binary.BigEndian.Uint16(part[9:])) - 1<<15
		return numberValue(value, rest, part[number-1], s), number, nil
	case len(part) > 0 && part[0] == 's':
		return textValue(part)
	}
	return nil, 0, errKey
}

func numberValue(v float64, rest int64, kind byte, s dsl.Sort) any {
	switch k := schema.Kind(kind); {
	case kind == scoreKind || k == schema.Double:
		return v
	case v == 1<<63:
		return math.MaxInt64 + rest + 1
	case isDate(k) && s.Format != "":
		return dsl.FormatDate(int64(v)+rest, s.Format, time.UTC)
	}
	return int64(v) + rest
}

func textValue(part []byte) (any, int, error) {
	var text []byte
	for i := 1; i+1 < len(part); i++ {
		switch {
		case part[i] != 0:
			text = append(text, part[i])
			continue
		case part[i+1] == 0xff:
			text = append(text, 0)
			i++
			continue
		case i+2 < len(part):
			return schema.Field{Kind: schema.Kind(part[i+2])}.Value(text), i + 3, nil
		}
		break
	}
	return nil, 0, errKey
}
