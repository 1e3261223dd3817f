// Command failover measures what the producer of a three-node cluster notices when its leader fails, and what it takes to
// run a thousand partitions. `make failover-bench` builds the broker and runs it; --help lists the flags.
//
// The nodes are processes of this machine, with the settings that a cluster of three begins with: min.insync.replicas 2 and
// flush.mode=sync. Two idempotent producers with acks=all send a record every few milliseconds to one partition of three
// replicas. A sample is one fault; its gap is the longest time between two acknowledgements that follow each other.
//
//	kill     SIGKILL of the leader, which is not the controller
//	both     SIGKILL of the leader, which is the controller too
//	pause    SIGSTOP of the leader, and SIGCONT once the others have taken over
//	cut      the leader cannot reach the other nodes nor they it, while clients reach all
//	restart  SIGTERM of the leader and a new start, until it leads what it led before
//
//	partitions  create a topic of 1,000 partitions of three replicas, kill a node, start it again
//
// The stock producer is franz-go with its defaults. It asks for metadata at most every 5 s, so a fault comes only when it has
// not done so for that long: as in a cluster whose leaders do not move. The quick one differs in what its user would set for
// a short failover: see quickOptions. A client hears nothing from a paused node and waits for its own request timeout, 20 s
// in franz-go and longer elsewhere; so the pause is measured with the quick producer alone.
//
// After every sample the fault is healed, all in-sync replicas are full again, and a consumer has read every record that was
// acknowledged at the offset that was acknowledged, once and in order. A sample that fails this ends the run.
package main
