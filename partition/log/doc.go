// Package log keeps partitions on disk: each a durable array of record batches addressed by offset,
// recoverable from any crash, with no network and no Raft. What must always be true of a Log:
//
//	start <= high watermark <= end, and durable <= end
//
// The log holds the offsets [start, end). start rises with retention and DeleteBefore, end with Append,
// and durable follows end when the bytes below it were synced. Only TruncateTo and Reset lower them.
//
// A Dir is one data directory with all the logs in it. It owns what they share: the lock, the cache of
// open files, the group commit, the offset checkpoints, retention, compaction and deferred deletion. One
// set of goroutines serves the whole directory (Dir.Run): an idle log has no goroutine, no timer and no
// open file. Files are in Kafka's formats, so that Kafka's tools read them.
//
// # Order of effects
//
// A batch is written before the end offset rises; it is synced, together with the name of its segment
// and its leader epoch, before the durable offset rises (replication.md 14.1). Below the recovery point
// the segments, their indexes, the leader epochs and a snapshot of the producers are all synced; recovery
// scans from there. Between it and the durable offset only the batches are sure to be on disk: indexes
// are made again, and damage is told from a torn tail.
//
// # Locks
//
// Each is taken before those that follow it:
//
//	Log.structure       one structural change at a time: truncation, swap, deletion, moving the
//	                    recovery point; held during I/O
//	Log.saving          the leader-epoch file and the directory's name; held during I/O
//	checkpoints.writing the checkpoint files; held during I/O
//	Log.layout          the names of segment files: read-locked by readers, locked to rename them
//	Log.mu              positions and state; held during the write of an append, never during a sync
//	Dir.mu              which logs there are
//
// The commit queue, the file cache and the indexes have locks under which nothing else is locked.
package log
