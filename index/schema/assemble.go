package schema

import (
	"slices"

	"github.com/blevesearch/bleve/v2/document"
)

// assemble makes the document of what was collected. All its fields share one array, and so do their terms:
//
//	terms of n   prefixes of n   terms of level   …   names for FieldsField
func (b *Builder) assemble(offset int64) *document.Document {
	terms, texts, fields := 0, 0, 1
	for _, at := range b.touched {
		p := &b.plans[at]
		p.placed = 0
		fields++
		switch {
		case p.analyzer != nil:
			p.start = texts
			texts += b.count[at]
			continue
		case p.levels != nil:
			fields++
		}
		p.start = terms
		terms += b.count[at] * (1 + len(p.levels))
	}
	a := assembly{
		data:   slices.Clone(b.buf),
		text:   string(b.buf),
		fields: make([]field, 0, fields),
		terms:  make([]string, terms, terms+len(b.touched)),
		texts:  make([][]byte, texts),
	}
	for _, v := range b.values {
		a.place(v, &b.plans[v.plan], b.count[v.plan])
	}
	for _, at := range b.touched {
		a.addFields(&b.plans[at], b.count[at])
	}
	a.addFieldNames(b)
	doc := document.NewDocument(OffsetTerm(offset))
	doc.Fields = make([]document.Field, len(a.fields), len(a.fields)+1) // Bleve adds _id
	for i := range a.fields {
		doc.Fields[i] = &a.fields[i]
	}
	return doc
}

// assembly is the memory of one document.
type assembly struct {
	data   []byte // what was collected, twice: texts may be overwritten when they are analysed,
	text   string // and terms may not
	fields []field
	terms  []string
	texts  [][]byte
}

// place puts v where its plan, which has count values, has room for the next.
func (a *assembly) place(v value, p *plan, count int) {
	at := p.start + p.placed
	p.placed++
	if p.analyzer != nil {
		a.texts[at] = a.data[v.start:v.end:v.end]
		return
	}
	a.terms[at] = a.text[v.start:v.end]
	at = p.start + count + (p.placed-1)*len(p.levels)
	start := v.end
	for _, drop := range p.levels {
		end := start + 1 + (v.end - v.start) - drop
		a.terms[at] = a.text[start:end]
		start, at = end, at+1
	}
}

// addFields makes the field of a plan, and its second one if it is Ranged.
func (a *assembly) addFields(p *plan, count int) {
	f := field{name: p.Path, options: p.options, analyzer: p.analyzer}
	end := p.start + count
	if p.analyzer != nil {
		f.texts = a.texts[p.start:end]
	} else {
		f.terms = a.terms[p.start:end]
	}
	a.fields = append(a.fields, f)
	if p.levels != nil {
		prefixes := a.terms[end : end+count*len(p.levels)]
		a.fields = append(a.fields, field{name: p.rangeName, options: termOptions, terms: prefixes})
	}
}

// addFieldNames makes the field that says which others there are. The timestamp is left out: a record that
// has one has prefixes of it.
func (a *assembly) addFieldNames(b *Builder) {
	names := len(a.terms)
	for _, at := range b.touched {
		if at != b.time {
			a.terms = append(a.terms, b.plans[at].Path)
		}
	}
	if len(a.terms) > names {
		a.fields = append(a.fields, field{name: FieldsField, options: termOptions, terms: a.terms[names:]})
	}
}
