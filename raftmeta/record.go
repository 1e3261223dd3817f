package raftmeta

// Record types of a snapshot, which also keep the objects of the state sum apart. Numbers are never reused.
const (
	recordEnd byte = iota
	recordHeader
	recordBroker
	recordConfig
	recordTopic
	recordTombstone
	recordGroup
	recordOffsets
	recordSequence
)
