// Package chunk keeps the index of one replica of a partition on this node's disk: a row of chunks, each a
// Bleve index over a contiguous stretch of the log. The owner reads the log and decides when; this package
// knows no log, no network and no query. The log is the truth: whatever is lost here is asked for again.
//
//	start                                                        next
//	  [ sealed )[ sealed )[ gap, being filled )[ sealed )[ being built …
//
// What always holds:
//
//   - The row has no holes. Each chunk begins where the one before ends, and the last is open at its end. What
//     is not known is a chunk that has not come to its end: Pending.
//   - A chunk's documents and its checkpoint are written in one batch. Whatever a crash leaves, the index has
//     exactly the documents below the checkpoint.
//   - Every offset is indexed by one chunk, or answered for by one while another is built to replace it.
//   - What is sealed is read only. To delete from it, it is unsealed first and sealed again after.
//
// # What the owner does
//
// After Open, DeleteBefore the log's start; TruncateTo the log's end, or to where its leader epochs part from
// Checkpoint. Then, again and again: take the first range of Pending, or Next; read the log there; Index. After
// an error wait, and ask Pending and Next again. Beside it Seal while there is something Unsealed, Scrub, and
// Rebuild the first range of Stale when there is time for it.
//
// # On disk
//
// DIR/<base, 20 digits>-<n> holds one chunk: index/ is Bleve's, chunk.json says what it is (manifest). n grows
// with every directory made, so of two with one base the larger n is the newer. del-… is on its way out, bad-…
// was found damaged: the newest of these stays, for whoever wants to know why.
//
// # What a crash leaves
//
// A batch is visible before it is on disk (unsafe_batch). After a crash Next is what was on disk, less than it
// was, and the owner indexes the rest again.
//
//	create    the directory without chunk.json and index is removed
//	roll      1 the next chunk is made   2 chunk.json of the one before gets its end
//	          before 2: its end is where the next one begins. If its last batches are lost: Pending
//	seal      1 merge, flush   2 close, read what is on disk   3 chunk.json gets state and CRCs
//	          before 3: it is complete, and Seal begins again
//	replace   1 another chunk with the same base is made   2 it is filled and sealed   3 the old one is removed
//	          before 2: the old one answers, the new one is Pending   before 3: Open removes the old one
//	quarantine  1 an empty chunk is made   2 the damaged one is renamed
//	          before 2: as in replace; the damage is met again
//	drop      1 renamed to del-…   2 the last view is released   3 removed
//	          before 1: the owner calls DeleteBefore or TruncateTo again   after 1: Open removes it
//	truncate  1 chunks above are dropped, newest first   2 chunk.json of the last gets its end, and loses its seal
//	          3 what lies above that is deleted, durably   4 a new chunk is made
//	          before 2: Next is above the end of the log, and the owner truncates again   after 2: Open goes on
//	delete    1 chunk.json loses its seal   2 ids are deleted, durably   3 sealed again
//	          before 2: the owner calls DeleteBefore again at the log's start; what compaction took is a hit
//	          whose record is gone   before 3: as in seal
//
// # Damage
//
// Bleve never looks at a CRC: it allocates and goes where the bytes say, and so does bbolt. A flipped bit could
// end the process, at every start anew. So before an index is opened to write all of it is read: root.bolt page
// by page (checkBolt), each segment against its CRC, and then the number of documents against the checkpoint.
// A sealed one is compared with chunk.json: root.bolt whenever it is opened, segments the first time, and by
// Scrub from then on.
// What does not match, and any open that panics or fails by itself, is quarantined and becomes a range of
// Pending. Errors of the machine, such as too few descriptors, are returned instead.
//
// An error in a goroutine of Bleve closes the index, since they would try again without end, and opens it
// again at what is on disk. So a full disk costs some batches and not the chunk. What no one can recover from
// is a fault in such a goroutine: a segment that is cut while it is mapped, or a disk that cannot read it.
//
// # Goroutines and locks
//
// The callers' own do the work. A Set starts short ones only, to heal what failed and to remove what was
// dropped, and Close waits for them. A call of Bleve that does not come back is given up after a time, and
// counted (Stats.Abandoned): its goroutine is lost. Locks are taken in this order: Set.writer, chunk.gate (of
// a replacement before that of the old one), Set.mu, handle.mu or Pool.mu.
package chunk
