package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a parsed config. Which field counts depends on the type.
type value struct {
	text string // canonical form, of every type
	b    bool
	i    int64 // TypeInt, TypeShort, TypeLong
	f    float64
	list []string
}

var errSyntax = errors.New("not a value of this type")

// parse reads raw as Kafka does: blanks around it do not count, booleans come in any case.
func parse(t Type, raw string) (value, error) {
	v := value{text: strings.TrimSpace(raw)}
	var err error
	switch t {
	case TypeBoolean:
		v.text = strings.ToLower(v.text)
		v.b = v.text == "true"
		if !v.b && v.text != "false" {
			return v, errSyntax
		}
	case TypeInt:
		err = v.parseInt(32)
	case TypeShort:
		err = v.parseInt(16)
	case TypeLong:
		err = v.parseInt(64)
	case TypeDouble:
		v.f, err = strconv.ParseFloat(v.text, 64)
	case TypeList:
		v.list = SplitList(v.text)
		v.text = strings.Join(v.list, ",")
	case TypePassword:
		v.text = raw // its blanks count
	}
	return v, err
}

func (v *value) parseInt(bits int) (err error) {
	v.i, err = strconv.ParseInt(v.text, 10, bits)
	v.text = strconv.FormatInt(v.i, 10) // "+7" and "007" are "7"
	return err
}

// SplitList gives the elements of a list value, without the blanks around them. The empty value has none.
func SplitList(raw string) []string {
	if strings.TrimSpace(raw) == "" {
		return nil
	}
	parts := strings.Split(raw, ",")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return parts
}

// AppendList is IncrementalAlterConfigs' APPEND: the elements of raw that current lacks, behind it.
func AppendList(current, raw string) string {
	list := SplitList(current)
	for _, part := range SplitList(raw) {
		if !slices.Contains(list, part) {
			list = append(list, part)
		}
	}
	return strings.Join(list, ",")
}

// SubtractList is IncrementalAlterConfigs' SUBTRACT: current without the elements of raw.
func SubtractList(current, raw string) string {
	gone := SplitList(raw)
	list := slices.DeleteFunc(SplitList(current), func(part string) bool { return slices.Contains(gone, part) })
	return strings.Join(list, ",")
}

// NoLimit is the Duration of a config of -1.
const NoLimit time.Duration = -1

// millis converts Kafka's milliseconds. Kafka says "never" with the largest long, 292 million years; a
// Duration ends after 292 years, and that must do. Negative values are NoLimit.
func millis(ms int64) time.Duration {
	switch {
	case ms < 0:
		return NoLimit
	case ms > math.MaxInt64/int64(time.Millisecond):
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

// Synonym is a broker key that stands in for another key.
type Synonym struct {
	Name string
	Unit time.Duration // what its value counts; 0: the same as the key it stands in for, else that one counts ms
}

// convert brings a synonym's value to the unit of its key. Without a limit stays without a limit.
func (s Synonym) convert(v value) string {
	if s.Unit == 0 {
		return v.text
	}
	factor := s.Unit.Milliseconds()
	switch {
	case v.i < 0:
		return "-1"
	case v.i > math.MaxInt64/factor:
		return strconv.FormatInt(math.MaxInt64, 10)
	}
	return strconv.FormatInt(v.i*factor, 10)
}

// option completes a row of a table.
type option func(*Key)

// key is a row of a table: what the key is called, its type, default and meaning.
func key(name string, t Type, def, doc string, options ...option) *Key {
	k := &Key{Name: name, Type: t, Default: def, HasDefault: true, Doc: doc}
	for _, o := range options {
		o(k)
	}
	return k
}

// nullable is a key without a default.
func nullable(name string, t Type, doc string, options ...option) *Key {
	k := key(name, t, "", doc, options...)
	k.HasDefault = false
	return k
}

func accepts(valid string, ok func(value) bool) option {
	return func(k *Key) { k.Valid, k.accept = valid, ok }
}

func atLeast(low int64) option {
	return accepts(fmt.Sprintf("[%d,...]", low), func(v value) bool { return v.i >= low })
}

func between(low, high int64) option {
	return accepts(fmt.Sprintf("[%d,...,%d]", low, high), func(v value) bool { return v.i >= low && v.i <= high })
}

// zeroToOne is false for NaN.
func zeroToOne() option {
	return accepts("[0,...,1]", func(v value) bool { return v.f >= 0 && v.f <= 1 })
}

func oneOf(words ...string) option {
	return accepts("["+strings.Join(words, ", ")+"]", func(v value) bool { return slices.Contains(words, v.text) })
}

// someOf is for lists: at least one of words, each at most once.
func someOf(words ...string) option {
	return accepts("["+strings.Join(words, ", ")+"]", func(v value) bool {
		for i, part := range v.list {
			if !slices.Contains(words, part) || slices.Contains(v.list[:i], part) {
				return false
			}
		}
		return len(v.list) > 0
	})
}

// only refuses every value but the default, and says why.
func only(why string) option {
	return func(k *Key) {
		neutral := k.Default
		k.unsupported, k.Valid = why, fmt.Sprintf("[%s]", neutral)
		k.accept = func(v value) bool { return v.text == neutral }
	}
}

func readOnly(k *Key) { k.ReadOnly = true }

func perBroker(k *Key) { k.PerBroker = true }

// byFlag marks a broker key that a command-line flag decides.
func byFlag(flag string) option { return func(k *Key) { k.Flag, k.ReadOnly = flag, true } }

// from adds the synonym that counts in the key's own unit.
func from(name string) option { return fromUnit(name, 0) }

func fromUnit(name string, unit time.Duration) option {
	return func(k *Key) { k.Synonyms = append(k.Synonyms, Synonym{name, unit}) }
}
