package schema

// Extractor reads fields back out of records: what a document would hold, from the record itself. It is for
// hits only: highlights, docvalue_fields, the check of a phrase. One goroutine uses it.
type Extractor struct {
	builder *Builder
	fields  map[string]Field
}

// NewExtractor makes an Extractor of the fields of m with those names. Names that are no field are ignored:
// records have no such values.
func (m *Mapping) NewExtractor(paths ...string) *Extractor {
	x := &Extractor{fields: map[string]Field{}}
	only := m.config
	only.Fields, only.Dynamic, only.Headers, only.Key = nil, false, false, false
	var headers []Field
	for _, path := range paths {
		f, ok := m.Field(path)
		if _, twice := x.fields[path]; !ok || twice {
			continue
		}
		x.fields[path] = f
		switch {
		case f.Path == KeyField:
			only.Key = true
		case f.isKey():
			only.Headers = true
			headers = append(headers, f)
		case f.Path != TimestampField && f.Path != FieldsField:
			only.Fields = append(only.Fields, f)
		}
	}
	only.MaxFields = len(headers) // so that no other is learned
	x.builder = only.mapping(headers).NewBuilder()
	return x
}

// Read reads r. What Texts and Values give is of the record read last.
func (x *Extractor) Read(r *Record) { x.builder.collect(r) }

// Texts gives the values of the field path in the order of the record: of a Text what is analysed, one by one;
// of the other kinds their terms.
func (x *Extractor) Texts(path string) []string {
	f, ok := x.fields[path]
	if !ok {
		return nil
	}
	b := x.builder
	var texts []string
	for _, v := range b.values {
		if b.plans[v.plan].Path == f.Path {
			texts = append(texts, string(b.buf[v.start:v.end]))
		}
	}
	return texts
}

// Values gives the values of the field path as Field.Value does, in the order of the record.
func (x *Extractor) Values(path string) []any {
	var values []any
	f := x.fields[path]
	for _, text := range x.Texts(path) {
		values = append(values, f.Value([]byte(text)))
	}
	return values
}
