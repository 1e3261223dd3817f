package schema

import (
	"fmt"
	"slices"
	"strings"
)

// layout counts the versions of the documents' layout: terms, levels of Cover, analyzers. It is part of
// Mapping.String, so that a chunk made by other code is known as such.
const layout = 1

// Mapping is the fields of a topic's documents: those that its config maps, those that every document
// has, and those learned from records under search.dynamic and search.headers. It is immutable.
type Mapping struct {
	config  Config
	learned []Field // sorted by path, none of them mapped
	byPath  map[string]Field
}

// NewMapping is the mapping that config makes, without learned fields.
func NewMapping(config Config) *Mapping { return config.mapping(nil) }

// With is m with the fields that a Builder learned (Builder.Learned) in place of those it had.
func (m *Mapping) With(learned []Field) *Mapping { return m.config.mapping(learned) }

func (c Config) mapping(learned []Field) *Mapping {
	m := &Mapping{config: c, byPath: map[string]Field{}}
	add := func(f Field) { m.byPath[f.Path] = f }
	add(Field{Path: TimestampField, Kind: Timestamp})
	add(Field{Path: timestampAlias, Kind: Timestamp})
	add(Field{Path: FieldsField, Kind: Keyword})
	if c.Key {
		add(Field{Path: KeyField, Kind: Keyword})
	}
	for _, f := range learned {
		add(f)
	}
	for _, f := range c.Fields {
		add(f)
	}
	for _, f := range learned {
		if m.byPath[f.Path] == f && !slices.Contains(m.learned, f) {
			m.learned = append(m.learned, f)
		}
	}
	slices.SortFunc(m.learned, byPath)
	return m
}

// String names the documents that m makes, before anything is learned: two mappings with the same String
// make the same documents of the same records.
func (m *Mapping) String() string {
	c := m.config
	fields := make([]string, len(c.Fields))
	for i, f := range c.Fields {
		fields[i] = f.String()
	}
	limit := ""
	if c.Dynamic || c.Headers {
		limit = fmt.Sprintf(" max.fields=%d", c.MaxFields)
	}
	return fmt.Sprintf("layout=%d format=%s key=%t headers=%t dynamic=%t%s fields=%s",
		layout, c.Format, c.Key, c.Headers, c.Dynamic, limit, strings.Join(fields, ","))
}

// Field is the field of that name: mapped, learned, or one that every document has. @timestamp is _timestamp
// where it is not mapped. With search.headers every _header.NAME is a field, also one that was never seen.
func (m *Mapping) Field(path string) (Field, bool) {
	f, ok := m.byPath[path]
	switch {
	case ok && f.Kind == Timestamp:
		f.Path = TimestampField
	case !ok && m.config.Headers && len(path) > len(HeaderPrefix) && strings.HasPrefix(path, HeaderPrefix):
		return Field{Path: path, Kind: Keyword}, true
	}
	return f, ok
}

// Fields lists the mapped and the learned fields, sorted by path.
func (m *Mapping) Fields() []Field {
	fields := append(slices.Clone(m.config.Fields), m.learned...)
	slices.SortFunc(fields, byPath)
	return fields
}

// Expand is the paths of the fields that pattern means, sorted: those it matches, with '*' for any text. "*"
// alone stands for what is searched by default: ValueField where it is mapped, or else every Text, or else all.
func (m *Mapping) Expand(pattern string) (paths []string) {
	_, whole := m.byPath[ValueField]
	texts := slices.ContainsFunc(m.config.Fields, func(f Field) bool { return f.Kind == Text })
	for _, f := range m.Fields() {
		wanted := matches(pattern, f.Path)
		if pattern == "*" && (whole || texts) {
			wanted = f.Path == ValueField || !whole && f.Kind == Text
		}
		if wanted {
			paths = append(paths, f.Path)
		}
	}
	return paths
}
