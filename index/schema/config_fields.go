package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxMapped = 1000 // fields in search.fields
	maxPath   = 255  // bytes of a path
)

// reservedPaths are names that hits, sorting or Bleve use for something else.
var reservedPaths = []string{
	IDField, TimestampField, KeyField, FieldsField, "_header",
	"_offset", "_partition", "_headers", "_index", "_source", "_score", "_doc", "_all", "_type", "_shard_doc",
}

// ParseFields reads search.fields: PATH:KIND, separated by commas; a text may have options, as in
// msg:text(analyzer=en,positions=true). The fields come sorted by path. The error joins all mistakes.
func ParseFields(raw string) ([]Field, error) {
	var fields []Field
	var errs []error
	seen := map[string]bool{}
	for _, entry := range splitOutside(raw, ',') {
		field, err := parseField(entry)
		if err == nil && seen[field.Path] {
			err = fmt.Errorf("field %q is mapped twice", field.Path)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[field.Path] = true
		fields = append(fields, field)
	}
	if len(fields) > maxMapped {
		errs = append(errs, fmt.Errorf("%d fields are mapped, at most %d are allowed", len(fields), maxMapped))
	}
	slices.SortFunc(fields, byPath)
	return fields, errors.Join(errs...)
}

func byPath(a, b Field) int { return strings.Compare(a.Path, b.Path) }

func parseField(entry string) (Field, error) {
	path, kind, found := strings.Cut(entry, ":")
	if !found {
		return Field{}, fmt.Errorf("%q is not of the form path:kind", entry)
	}
	f := Field{Path: strings.TrimSpace(path)}
	if err := checkPath(f.Path); err != nil {
		return f, err
	}
	kind, options, hasOptions := strings.Cut(strings.TrimSpace(kind), "(")
	if err := f.setKind(strings.TrimSpace(kind)); err != nil {
		return f, err
	}
	if !hasOptions {
		return f, nil
	}
	options, closed := strings.CutSuffix(options, ")")
	if !closed {
		return f, fmt.Errorf("field %q: the options have no closing bracket", f.Path)
	}
	for _, option := range splitOutside(options, ',') {
		if err := f.setOption(option); err != nil {
			return f, fmt.Errorf("field %q: %w", f.Path, err)
		}
	}
	return f, nil
}

func (f *Field) setKind(name string) error {
	if err := f.Kind.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("field %q: %w", f.Path, err)
	}
	switch {
	case f.Path == ValueField && f.Kind != Text:
		return fmt.Errorf("field %q is the text of the whole value: its kind can only be text", f.Path)
	case f.Kind == Text:
		f.Analyzer = DefaultAnalyzer
	}
	return nil
}

func (f *Field) setOption(option string) error {
	name, value, _ := strings.Cut(option, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case f.Kind != Text:
		return fmt.Errorf("%s has no options; only text has, analyzer and positions", f.Kind)
	case name == "analyzer" && IsAnalyzer(value):
		f.Analyzer = value
	case name == "analyzer":
		return fmt.Errorf("%q is no analyzer; there are %s", value, strings.Join(Analyzers(), ", "))
	case name == "positions" && (value == "true" || value == "false"):
		f.Positions = value == "true"
	case name == "positions":
		return fmt.Errorf("positions is %q, neither true nor false", value)
	default:
		return fmt.Errorf("%q is no option of text; there are analyzer and positions", name)
	}
	return nil
}

// checkPath says why path cannot name a field. What the notation needs for itself is excluded, and '#',
// which separates the names of second fields.
func checkPath(path string) error {
	switch {
	case len(path) == 0 || len(path) > maxPath || !utf8.ValidString(path):
		return fmt.Errorf("field %q: a path has 1 to %d bytes of UTF-8", path, maxPath)
	case strings.ContainsFunc(path, func(r rune) bool {
		return strings.ContainsRune(`,:()=#*"`, r) || !unicode.IsGraphic(r) || unicode.IsSpace(r)
	}):
		return fmt.Errorf(`field %q: a path has no blanks and none of , : ( ) = # * "`, path)
	case strings.HasPrefix(path, ".") || strings.HasSuffix(path, ".") || strings.Contains(path, ".."):
		return fmt.Errorf("field %q: a key between dots is empty", path)
	case slices.Contains(reservedPaths, path) || strings.HasPrefix(path, HeaderPrefix):
		return fmt.Errorf("field %q: the name belongs to every document", path)
	}
	return nil
}

// splitOutside splits at each sep that is not within brackets. Blanks around parts do not count; an empty
// raw has no parts.
func splitOutside(raw string, sep byte) []string {
	if strings.TrimSpace(raw) == "" {
		return nil
	}
	var parts []string
	depth, start := 0, 0
	for i := range len(raw) {
		switch {
		case raw[i] == '(':
			depth++
		case raw[i] == ')':
			depth--
		case raw[i] == sep && depth == 0:
			parts = append(parts, strings.TrimSpace(raw[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(raw[start:]))
}
