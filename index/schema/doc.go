// Package schema knows what a record of a topic looks like as a document of the index, and back. It turns
// records into documents, and what a query asks for into the terms that such documents hold. What always
// holds:
//
//   - Nothing is stored twice: a document has terms and doc values, and no stored field but Bleve's own _id.
//     What a record holds is read from the record again (Source, Texts).
//   - A field has one Kind for the life of a chunk. A value that does not fit it is left out of the document
//     and counted (Skipped); it never fails the record.
//   - Terms of numbers, dates and addresses have a fixed width and sort like what they stand for. Where a
//     field is Ranged, its RangeName holds the leading digits of each term as terms of their own (Cover).
//   - Every term of a field with doc values is valid UTF-8: Bleve separates doc values by the byte 0xff.
//   - The same record and the same Mapping give the same document. Mapping.String names that mapping, and
//     the layout of the documents, for those who compare.
//
// It touches no file and starts no goroutine. A Mapping may be shared by goroutines, a Builder may not.
package schema
