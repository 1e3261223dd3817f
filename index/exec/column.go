package exec

import (
	"bytes"

	index "github.com/blevesearch/bleve_index_api"

	"github.com/chronik-stream/chronik/index/schema"
)

// column reads the values of one field, document by document. All that need the field share it.
type column struct {
	field  schema.Field
	reader index.DocValueReader
	doc    uint64
	read   bool
	id     [8]byte
	buf    []byte
	values [][]byte // each once
	visit  index.DocValueVisitor
}

// column is that of f.
func (o *opener) column(f schema.Field) (*column, error) {
	if c := o.columns[f.Path]; c != nil {
		return c, nil
	}
	reader, err := o.chunk.Reader.DocValueReader([]string{f.Path})
	if err != nil {
		return nil, err
	}
	c := &column{field: f, reader: reader, buf: make([]byte, 0, 64)} // never nil: an empty value is one
	c.visit = func(_ string, term []byte) {
		start := len(c.buf)
		c.buf = append(c.buf, term...)
		c.values = append(c.values, c.buf[start:len(c.buf):len(c.buf)])
	}
	if o.columns == nil {
		o.columns = map[string]*column{}
	}
	o.columns[f.Path] = c
	return c, nil
}

// terms are the values of a document, valid until the next one is read. A document has each value once: what is
// indexed is a set.
func (c *column) terms(doc uint64) ([][]byte, error) {
	if c.read && c.doc == doc {
		return c.values, nil
	}
	c.doc, c.read = doc, true
	c.buf, c.values = c.buf[:0], c.values[:0]
	err := c.reader.VisitDocValues(index.NewIndexInternalID(c.id[:], doc), c.visit)
	return c.values, err
}

// least and greatest are the ends of values in the order of terms, nil if there are none.
func least(values [][]byte) (found []byte) {
	for _, v := range values {
		if found == nil || bytes.Compare(v, found) < 0 {
			found = v
		}
	}
	return found
}

func greatest(values [][]byte) (found []byte) {
	for _, v := range values {
		if found == nil || bytes.Compare(v, found) > 0 {
			found = v
		}
	}
	return found
}
