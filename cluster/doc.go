// Package cluster is how the nodes of a cluster find, reach and judge each other: gossip that introduces
// them, one port for everything they say to each other, the forming of the Raft group, heartbeats, and on
// the Raft leader the controller, which proposes what follows from who is alive. What it proposes are
// commands with preconditions; the decisions fall in raftmeta.
package cluster
