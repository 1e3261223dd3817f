// Package fleet runs several nodes of the broker as processes of one machine and puts a network between them that the
// caller can break: node N lives on 127.0.0.N, and what other nodes send to its peer port goes through a proxy of this
// package, which knows both ends of every connection.
//
// Gossip and the ports of clients are reached directly: gossip fences nobody, and clients see the nodes as they are.
//
// Every node dies with the process that started it. A Fleet must be closed all the same, which also ends its goroutines.
package fleet
