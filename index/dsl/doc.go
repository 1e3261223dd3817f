// Package dsl turns what an Elasticsearch client sends (a search body, a query string, a URL, an _msearch)
// into one tree, and refuses what it cannot honour. What always holds:
//
//   - No clause and no option is ever ignored. One that this package does not know, or whose value Chronik
//     cannot honour, is an *Error that names it. Accepted without a trace in the tree are only options that
//     cannot change an answer here, and values that say what holds anyway (boost 1.0, slop 0).
//   - The tree holds no syntax: query_string and simple_query_string are parsed into the same nodes as the
//     rest. Values stay as the client wrote them (Value): only the topic's schema knows a field's type.
//   - Parsing is a pure function of the bytes, the Limits and now. A peer that is sent the same three gets
//     the same tree.
//   - Work and memory are linear in the input, whose length the caller bounds; depth and counts are bounded
//     by Limits.
package dsl
