// Package broker is where requests meet state: it composes a node from the packages below and holds one
// numbered file for each Kafka API, so that the directory listing is the coverage map. Handlers are
// thin: they decode, look up, call, encode. What decides anything lives in a package of its own.
//
// A node is started from the bottom up and stopped from the top down: the data directory and its lock,
// the logs, the metadata log (alone, this node forms a Raft group of one), the registration, the
// replicas, the group coordinator, and last the listeners. Nothing is served before all that is
// committed is loaded.
package broker
