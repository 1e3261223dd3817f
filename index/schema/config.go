package schema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The topic configs that decide what is indexed.
const (
	KeyFields    = "search.fields"
	KeyFormat    = "search.format"
	KeyHeaders   = "search.headers"
	KeyKey       = "search.key"
	KeyDynamic   = "search.dynamic"
	KeyMaxFields = "search.max.fields"
	KeyLinger    = "search.linger.ms"
	KeyStart     = "search.start"
)

// Format says how a record's value is read.
type Format string

const (
	FormatAuto Format = "auto" // JSON if it begins with '{' and is well-formed, else text
	FormatJSON Format = "json"
	FormatText Format = "text"
	FormatNone Format = "none" // not at all: key, headers and metadata only
)

// Start says where indexing begins when a topic that has records becomes searchable.
type Start string

const (
	StartEarliest Start = "earliest"
	StartLatest   Start = "latest"
)

const (
	maxMaxFields = 1000 // as Elasticsearch: past it an index is slow to open, and queries over * to plan
	minLinger    = 5 * time.Millisecond
	maxLinger    = 10 * time.Second
)

// Config is what a topic's search configs say.
type Config struct {
	Fields    []Field // sorted by path, each path once
	Format    Format
	Headers   bool
	Key       bool
	Dynamic   bool
	MaxFields int // that Dynamic and Headers may add together, per chunk
	Linger    time.Duration
	Start     Start
}

// DefaultConfig is the config of a topic that sets nothing.
func DefaultConfig() Config {
	return Config{
		Fields: []Field{{Path: ValueField, Kind: Text, Analyzer: DefaultAnalyzer}},
		Format: FormatAuto, Key: true, MaxFields: 64, Linger: 100 * time.Millisecond, Start: StartEarliest,
	}
}

// ParseConfig reads the search configs among settings, which are named and written as Kafka's topic configs.
// Missing ones have their defaults, others are not looked at. The error joins all mistakes.
func ParseConfig(settings map[string]string) (Config, error) {
	c := DefaultConfig()
	p := parser{settings: settings}
	p.text(KeyFields, func(raw string) (err error) { c.Fields, err = ParseFields(raw); return err })
	p.text(KeyFormat, func(raw string) error {
		return oneOf(&c.Format, raw, FormatAuto, FormatJSON, FormatText, FormatNone)
	})
	p.boolean(KeyHeaders, &c.Headers)
	p.boolean(KeyKey, &c.Key)
	p.boolean(KeyDynamic, &c.Dynamic)
	maxFields := int64(c.MaxFields)
	p.number(KeyMaxFields, &maxFields, 1, maxMaxFields)
	c.MaxFields = int(maxFields)
	linger := c.Linger.Milliseconds()
	p.number(KeyLinger, &linger, minLinger.Milliseconds(), maxLinger.Milliseconds())
	c.Linger = time.Duration(linger) * time.Millisecond
	p.text(KeyStart, func(raw string) error { return oneOf(&c.Start, raw, StartEarliest, StartLatest) })
	return c, errors.Join(p.errs...)
}

// parser collects the mistakes of all settings.
type parser struct {
	settings map[string]string
	errs     []error
}

func (p *parser) text(key string, set func(raw string) error) {
	raw, ok := p.settings[key]
	if !ok {
		return
	}
	if err := set(strings.TrimSpace(raw)); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", key, err))
	}
}

func (p *parser) boolean(key string, to *bool) {
	p.text(key, func(raw string) error {
		switch strings.ToLower(raw) {
		case "true":
			*to = true
		case "false":
			*to = false
		default:
			return fmt.Errorf("%q is neither true nor false", raw)
		}
		return nil
	})
}

func (p *parser) number(key string, to *int64, low, high int64) {
	p.text(key, func(raw string) error {
		n, err := strconv.ParseInt(raw, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is no whole number from %d to %d", raw, low, high)
		}
		*to = n
		return nil
	})
}

func oneOf[T ~string](to *T, raw string, allowed ...T) error {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if raw == string(a) {
			*to = a
			return nil
		}
		names[i] = string(a)
	}
	return fmt.Errorf("%q is none of %s", raw, strings.Join(names, ", "))
}
