// Package sim plays the replication protocol with simulated brokers, network, disks and clients, in one
// goroutine and from one seed. The decisions are the production code's own: partition/core for what a
// replica does, raftmeta.Apply for what the metadata becomes. The simulator is the shell around them, the
// faults, and a judge that knows what no broker can: every log, every disk and everything ever shown.
//
// After every step the judge asserts the invariants of replication.md 21. A seed that fails prints the
// invariant and the events that led there, and fails the same way each time it is played.
package sim
