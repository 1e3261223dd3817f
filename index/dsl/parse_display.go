package dsl

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// source reads false, "a.*", ["a", "b"] or {"includes": […], "excludes": […]}.
func (p *parser) source(o option) Source {
	switch {
	case o.text == "true" || o.text == "false":
		return Source{Disabled: !p.boolean(o)}
	case o.kind != '{':
		return Source{Includes: p.paths(o)}
	}
	var s Source
	for _, part := range p.options("_source", o.node) {
		switch part.name {
		case "includes", "include":
			s.Includes = append(s.Includes, p.paths(part)...)
		case "excludes", "exclude":
			s.Excludes = append(s.Excludes, p.paths(part)...)
		default:
			p.unknown(part)
		}
	}
	return s
}

func (p *parser) paths(o option) []string {
	paths := p.strings(o)
	if len(paths) > p.limits.MaxFields {
		p.fail(o.at, IllegalArgument, "[%s] %s may list %d fields at most [search.max.request.fields], found [%d]", o.clause, o.name, p.limits.MaxFields, len(paths))
		return nil
	}
	return paths
}

// storedFields says whether the list names _source. Nothing else is stored, so it changes no more than that.
func (p *parser) storedFields(o option) (source bool) {
	names := p.paths(o)
	if slices.Contains(names, "_none_") {
		p.unsupported(o, "hits always have an _id")
	}
	return slices.Contains(names, "_source")
}

// fieldFormats reads "a.*" and {"field": "ts", "format": "epoch_millis"}.
func (p *parser) fieldFormats(o option) []FieldFormat {
	items := p.list(o)
	if len(items) > p.limits.MaxFields {
		p.fail(o.at, IllegalArgument, "[%s] may list %d fields at most [search.max.request.fields], found [%d]", o.name, p.limits.MaxFields, len(items))
		return nil
	}
	var fields []FieldFormat
	for _, item := range items {
		var f FieldFormat
		if item.kind == '"' {
			f.Field = item.text
		} else {
			f = p.fieldFormat(item)
		}
		if f.Field == "" {
			p.fail(item.at, ParsingException, "[%s] needs the name of a field", o.name)
		}
		fields = append(fields, f)
	}
	return fields
}

func (p *parser) fieldFormat(item option) FieldFormat {
	var f FieldFormat
	for _, o := range p.options(item.name, item.node) {
		switch {
		case o.name == "field":
			f.Field = p.string(o)
		case o.name == "format" && o.text == "use_field_mapping": // what holds without one
		case o.name == "format":
			f.Format = p.dateFormat(o)
		case o.name == "include_unmapped" && item.name == "fields":
			f.IncludeUnmapped = p.boolean(o)
		default:
			p.unknown(o)
		}
	}
	return f
}

// highlight merges the options for all fields into those of each.
func (p *parser) highlight(o option) []Highlight {
	base := Highlight{PreTags: []string{"<em>"}, PostTags: []string{"</em>"}, FragmentSize: 100, NumberOfFragments: 5}
	var fields *option
	for _, option := range p.options("highlight", o.node) {
		if option.name == "fields" {
			fields = &option
			continue
		}
		p.highlightOption(&base, option)
	}
	if fields == nil {
		p.fail(o.at, ParsingException, "[highlight] needs [fields]")
		return nil
	}
	var all []Highlight
	for _, item := range p.listOrOne(*fields) {
		for _, field := range p.options("highlight", item.node) {
			h := base
			h.Field = field.name
			for _, option := range p.options("highlight", field.node) {
				p.highlightOption(&h, option)
			}
			p.checkTags(h, field)
			all = append(all, h)
		}
	}
	if len(all) > p.limits.MaxFields {
		p.fail(o.at, IllegalArgument, "[highlight] may list %d fields at most [search.max.request.fields]", p.limits.MaxFields)
	}
	return all
}

func (p *parser) checkTags(h Highlight, field option) {
	if len(h.PreTags) == 0 || len(h.PostTags) == 0 {
		p.bad(field, "pre_tags and post_tags need at least one tag each")
	}
	if h.Field == "" {
		p.fail(field.at, ParsingException, "[highlight] needs the name of a field")
	}
}

func (p *parser) highlightOption(h *Highlight, o option) {
	switch o.name {
	case "pre_tags":
		h.PreTags = p.tags(o)
	case "post_tags":
		h.PostTags = p.tags(o)
	case "fragment_size":
		h.FragmentSize = p.integer(o, 0, math.MaxInt32)
	case "number_of_fragments":
		h.NumberOfFragments = p.integer(o, 0, math.MaxInt32)
	case "no_match_size":
		h.NoMatchSize = p.integer(o, 0, math.MaxInt32)
	case "require_field_match":
		h.AnyField = !p.boolean(o)
	case "order":
		h.ByScore = p.oneOf(o, "none", "score") == "score"
	case "encoder":
		h.EncodeHTML = p.oneOf(o, "default", "html") == "html"
	case "highlight_query":
		h.Query = p.query(o.node)
	case "type":
		p.only(o, "unified", "plain")
	case "force_source":
		p.boolean(o) // fragments come from the record in any case
	default:
		p.unknown(o)
	}
}

// tags are not split at commas.
func (p *parser) tags(o option) []string {
	var tags []string
	for _, item := range p.listOrOne(o) {
		tags = append(tags, p.string(item))
	}
	return tags
}

// offsets reads {"0": 1234, "1": 88}, {"topic": {"0": 1234}}, or the text of both: 0:1234,topic:1:88.
func (p *parser) offsets(o option) []PartitionOffset {
	if o.kind == '"' {
		return p.offsetText(o)
	}
	all := []PartitionOffset{}
	seen := map[PartitionOffset]bool{}
	for _, outer := range p.options(o.name, o.node) {
		if outer.kind != '{' {
			all = p.offset(all, seen, outer, "", outer.name, outer.text)
			continue
		}
		for _, inner := range p.options(o.name, outer.node) {
			all = p.offset(all, seen, inner, outer.name, inner.name, inner.text)
		}
	}
	return all
}

func (p *parser) offsetText(o option) []PartitionOffset {
	all := []PartitionOffset{}
	seen := map[PartitionOffset]bool{}
	for _, item := range splitList(o.text) {
		topic, rest := "", item
		if strings.Count(item, ":") == 2 {
			topic, rest, _ = strings.Cut(item, ":")
		}
		partition, offset, _ := strings.Cut(rest, ":")
		all = p.offset(all, seen, o, topic, partition, offset)
	}
	return all
}

// offset appends one of them; seen has those before it, with no offset.
func (p *parser) offset(all []PartitionOffset, seen map[PartitionOffset]bool, o option, topic, partition, offset string) []PartitionOffset {
	id, ok := ParseID(partition + "-" + offset)
	if !ok {
		p.bad(o, "must be of partitions and offsets, as in 0:1234,1:88, found [%s:%s]", partition, offset)
		return all
	}
	key := PartitionOffset{Topic: topic, Partition: id.Partition}
	if seen[key] {
		p.bad(o, "partition [%s] is given twice", strconv.Itoa(int(id.Partition)))
	}
	seen[key] = true
	key.Offset = id.Offset
	return append(all, key)
}
