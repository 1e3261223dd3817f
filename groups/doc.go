// Package groups coordinates classic consumer groups: who is a member, which generation the members
// are in, what the group's leader assigned to each, and how far the group has read. It speaks the
// semantics of JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch, OffsetDelete,
// DescribeGroups, ListGroups and DeleteGroups; the wire layout of their versions is the caller's.
//
// What must always be true:
//
//   - A group's generation only grows while the group exists (I44), and a generation has at most one
//     assignment. Nobody learns that assignment before it is durable.
//   - Every join and every sync is answered exactly once, even across a failed save and a shutdown.
//   - A commit counts only if its member belongs to the generation that is durable: the coordinator
//     checks, and the Store checks again when it applies (I43).
//   - A committed offset vanishes only through a later commit, an explicit delete, or expiry (I42).
//   - A group has one coordinator. Whoever coordinated it before changes nothing any more: each write
//     carries the epoch under which the group was loaded, and the Store refuses older ones (I43).
//
// Two layers. The core (type group) is a state machine without goroutine, clock, lock or I/O: events
// and the time go in; replies, at most one operation on the Store, and the next deadline come out.
// The shell (type Coordinator) owns the locks, the one timer loop and the calls to the Store.
//
// Groups move between brokers by the shard (raftmeta.ShardOf). What moves is what was saved: generation,
// members, assignments and offsets. A Stable group goes on at its new coordinator as if nothing had
// happened; of a round that was under way nothing is known there, so that its members join once more.
//
// The core never lets two operations on one group run at once. While one is in flight heartbeats are
// answered as before, and what would change the group waits in a bounded queue, in order. So a
// transition either happens completely, when the Store has it, or not at all: nothing is rolled back.
//
// If the Store cannot say what became of a write, the group leaves memory and is read again when
// somebody asks for it, and what it saves from then on is of a higher generation than what may yet arrive.
//
// Lock order: entry.mu, then shard.mu, then timers.mu or persister.mu. None is held across a write to
// the Store.
package groups
