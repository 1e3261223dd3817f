// Package chaos breaks a fleet of brokers under load and proves what replication.md promises.
//
// A Run starts a fleet, lets a workload write, read, commit and administer, and applies one fault after another, each
// drawn from the seed. The workload enters every attempt into a Ledger: when it began, when it ended, and whether it
// was acknowledged, refused for sure, or is of unknown outcome. When a round of faults is over, the History of the
// ledger and the logs that the replicas hold are checked by pure functions, one per invariant of replication.md 21,
// which return Violations with the rows that prove them.
//
// A fault must show that it bit (a leader changed, bytes were held, a disk filled). A cycle whose fault did not bite
// proves nothing and is not counted.
package chaos
