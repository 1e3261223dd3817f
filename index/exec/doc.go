// Package exec runs a search over chunks, which are Bleve indexes of stretches of a partition, and merges
// what they find. It knows no disk, no network and no log. What always holds:
//
//   - A Plan is made once per topic and search, and is safe for goroutines. A Partial is what one chunk, or
//     any number of them merged, found; merging is associative, and its order never shows in a result.
//   - Hits have a total order: their sort key, then topic, partition and offset. A sort key is bytes that
//     compare like what they stand for, so that whoever merges needs no schema.
//   - Scores are comparable across chunks once their Statistics are merged: BM25 from the counts of all of
//     them, with nothing that depends on a chunk's own size.
//   - A chunk may only be skipped (Prune, Done) where its records could not change the answer.
//   - What a search would expand to is bounded before it is read, by Limits; passing one is a *dsl.Error
//     that names it.
//
// Scores. Terms of text score by BM25 (k1 1.2, b 0.75), the length and number of documents being those that
// have the field. Keywords and booleans have neither frequency nor length and score their idf. A phrase
// scores as its terms together, a fuzzy term 1/(1+edits), and everything else 1. Bleve's own scorers are not
// used: they square and normalise weights per chunk and round the average length, which would have to be
// undone chunk by chunk, and they have no dis_max.
package exec
