package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// never is the first flexible version of a request that has none.
const never = 1 << 14

// bodySpecs says, for every request kmsg knows, which bytes may follow which: the first flexible version
// and the fields in the order of the wire, in this notation:
//
//	b h i l u     1, 2, 4, 8, 16 bytes (bool and int8; int16; int32; int64 and float64; uuid)
//	s d           string, bytes; null or not
//	[x]           array of x
//	(x y)         struct, ended by tagged fields in flexible versions
//	?(x y)        struct that may be absent, behind an int8
//	{0:x 1:y}     last in a struct: its known tagged fields
//	x3+ x0-2      field in versions from 3 on; from 0 to 2
//
// TestBodySpecs holds it against what kmsg encodes, for every key and version.
var bodySpecs = [kmsg.MaxKey + 1]struct {
	flexible int16
	fields   string
}{
	0:  {9, "s3+ h i [(s0-12 u13+ [(i d)])]"},                                                                                                                                // Produce
	1:  {12, "i0-14 i i i3+ b4+ i7+ i7+ [(s0-12 u13+ [(i i9+ l i12+ l5+ i {0:u 1:l})])] [(s7-12 u13+ [i])]7+ s11+ {0:s 1:(i l)}"},                                            // Fetch
	2:  {6, "i b2+ [(s [(i i4+ l i0-0)])] i10+"},                                                                                                                             // ListOffsets
	3:  {9, "[(u10+ s)] b4+ b8-10 b8+"},                                                                                                                                      // Metadata
	4:  {4, "i b7+ i l2+ b5+ [(s0-1 i i i i [i] i [i] [i]3+ [i]3+ b1+ b6+)]0-1 [(s u5+ [(s0-1 i i i i [i] i [i] [i]3+ [i]3+ b1+ b6+)])]2+ [(i s i)]"},                        // LeaderAndISR
	5:  {2, "i i b4+ l1+ b0-2 [(s i0-0 [i]1-2 [(i i b)]3+)]"},                                                                                                                // StopReplica
	6:  {6, "i b8+ i l5+ [(s0-4 i i i i [i] i [i] [i]4+)]0-4 [(s u7+ [(s0-4 i i i i [i] i [i] [i]4+)])]5+ [(i s0-0 i0-0 [(i s s3+ h)]1+ s2+)]"},                              // UpdateMetadata
	7:  {3, "i l2+"},                                                                                                                                                         // ControlledShutdown
	8:  {8, "s i1+ s1+ s7+ l2-4 [(s0-9 u10+ [(i l l1-1 i6+ s)])]"},                                                                                                           // OffsetCommit
	9:  {6, "s0-7 [(s [i])]0-7 [(s s9+ i9+ [(s8-9 u10+ [i])])]8+ b7+"},                                                                                                       // OffsetFetch
	10: {3, "s0-3 b1+ [s]4+"},                                                                                                                                                // FindCoordinator
	11: {6, "s i i1+ s s5+ s [(s d)] s8+"},                                                                                                                                   // JoinGroup
	12: {4, "s i s s3+"},                                                                                                                                                     // Heartbeat
	13: {4, "s s0-2 [(s s s5+)]3+"},                                                                                                                                          // LeaveGroup
	14: {4, "s i s s3+ s5+ s5+ [(s d)]"},                                                                                                                                     // SyncGroup
	15: {5, "[s] b3+"},                                                                                                                                                       // DescribeGroups
	16: {3, "[s]4+ [s]5+"},                                                                                                                                                   // ListGroups
	17: {never, "s"},                                                                                                                                                         // SASLHandshake
	18: {3, "s3+ s3+ s5+ i5+"},                                                                                                                                               // ApiVersions
	19: {5, "[(s i h [(i [i])] [(s s)])] i b1+"},                                                                                                                             // CreateTopics
	20: {4, "[s]0-5 [(s u)]6+ i"},                                                                                                                                            // DeleteTopics
	21: {2, "[(s [(i l)])] i"},                                                                                                                                               // DeleteRecords
	22: {2, "s i l3+ h3+"},                                                                                                                                                   // InitProducerID
	23: {4, "i3+ [(s [(i i2+ i)])]"},                                                                                                                                         // OffsetForLeaderEpoch
	24: {3, "s0-3 l0-3 h0-3 [(s [i])]0-3 [(s l h b [(s [i])])]4+"},                                                                                                           // AddPartitionsToTxn
	25: {3, "s l h s"},                                                                                                                                                       // AddOffsetsToTxn
	26: {3, "s l h b"},                                                                                                                                                       // EndTxn
	27: {1, "[(l h b [(s [i])] i b2+)]"},                                                                                                                                     // WriteTxnMarkers
	28: {3, "s s l h i3+ s3+ s3+ [(s0-5 u6+ [(i l i2+ s)])]"},                                                                                                                // TxnOffsetCommit
	29: {2, "b s b1+ s s b b"},                                                                                                                                               // DescribeACLs
	30: {2, "[(b s b1+ s s b b)]"},                                                                                                                                           // CreateACLs
	31: {2, "[(b s b1+ s s b b)]"},                                                                                                                                           // DeleteACLs
	32: {4, "[(b s [s])] b1+ b3+"},                                                                                                                                           // DescribeConfigs
	33: {2, "[(b s [(s s)])] b"},                                                                                                                                             // AlterConfigs
	34: {2, "[(s [(s [i])])]"},                                                                                                                                               // AlterReplicaLogDirs
	35: {2, "[(s [i])]"},                                                                                                                                                     // DescribeLogDirs
	36: {2, "d"},                                                                                                                                                             // SASLAuthenticate
	37: {2, "[(s i [([i])])] i b"},                                                                                                                                           // CreatePartitions
	38: {2, "s3+ s3+ [(s s)] l"},                                                                                                                                             // CreateDelegationToken
	39: {2, "d l"},                                                                                                                                                           // RenewDelegationToken
	40: {2, "d l"},                                                                                                                                                           // ExpireDelegationToken
	41: {2, "[(s s)]"},                                                                                                                                                       // DescribeDelegationToken
	42: {2, "[s]"},                                                                                                                                                           // DeleteGroups
	43: {2, "b1+ [(s [i])] i"},                                                                                                                                               // ElectLeaders
	44: {1, "[(b s [(s b s)])] b"},                                                                                                                                           // IncrementalAlterConfigs
	45: {0, "i b1+ [(s [(i [i])])]"},                                                                                                                                         // AlterPartitionAssignments
	46: {0, "i [(s [i])]"},                                                                                                                                                   // ListPartitionReassignments
	47: {never, "s [(s [(i)])]"},                                                                                                                                             // OffsetDelete
	48: {1, "[(s b s)] b"},                                                                                                                                                   // DescribeClientQuotas
	49: {1, "[([(s s)] [(s l b)])] b"},                                                                                                                                       // AlterClientQuotas
	50: {0, "[(s)]"},                                                                                                                                                         // DescribeUserSCRAMCredentials
	51: {0, "[(s b)] [(s b i d d)]"},                                                                                                                                         // AlterUserSCRAMCredentials
	52: {0, "s i1+ [(s [(i i i u1+ u1+ i l b2+)])]"},                                                                                                                         // Vote
	53: {1, "s i1+ [(s [(i u1+ i i)])] [(s s h)]1+"},                                                                                                                         // BeginQuorumEpoch
	54: {1, "s [(s [(i i i [i]0-0 [(i u)]1+)])] [(s s h)]1+"},                                                                                                                // EndQuorumEpoch
	55: {0, "[(s [(i)])]"},                                                                                                                                                   // DescribeQuorum
	56: {0, "i l [(s0-1 u2+ [(i i [i]0-2 [(i l)]3+ b1+ i)])]"},                                                                                                               // AlterPartition
	57: {0, "i [(s h b0-0 b1+)] b1+"},                                                                                                                                        // UpdateFeatures
	58: {0, "d d d"},                                                                                                                                                         // Envelope
	59: {0, "i i [(s [(i i (l i) l {0:u})])] {0:s}"},                                                                                                                         // FetchSnapshot
	60: {0, "b b1+ b2+"},                                                                                                                                                     // DescribeCluster
	61: {0, "[(s [i])]"},                                                                                                                                                     // DescribeProducers
	62: {0, "i s u [(s s h h)] [(s h h)] s b1+ [u]2+ l3+"},                                                                                                                   // BrokerRegistration
	63: {0, "i l l b b {0:[u] 1:[u]}"},                                                                                                                                       // BrokerHeartbeat
	64: {0, "i"},                                                                                                                                                             // UnregisterBroker
	65: {0, "[s]"},                                                                                                                                                           // DescribeTransactions
	66: {0, "[s] [l] l1+ s2+"},                                                                                                                                               // ListTransactions
	67: {0, "i l"},                                                                                                                                                           // AllocateProducerIDs
	68: {0, "s s i s s i [s] s1+ s [(u [i])]"},                                                                                                                               // ConsumerGroupHeartbeat
	69: {0, "[s] b"},                                                                                                                                                         // ConsumerGroupDescribe
	70: {0, "i u b [(s s h h)] [(s h h)]"},                                                                                                                                   // ControllerRegistration
	71: {0, "u"},                                                                                                                                                             // GetTelemetrySubscriptions
	72: {0, "u i b b d"},                                                                                                                                                     // PushTelemetry
	73: {0, "i l [(u [(u [(i)])])]"},                                                                                                                                         // AssignReplicasToDirs
	74: {0, "[b]1+"},                                                                                                                                                         // ListConfigResources
	75: {0, "[(s)] i ?(s i)"},                                                                                                                                                // DescribeTopicPartitions
	76: {0, "s s i s [s]"},                                                                                                                                                   // ShareGroupHeartbeat
	77: {0, "[s] b"},                                                                                                                                                         // ShareGroupDescribe
	78: {0, "s s i i i i i1+ i1+ b2+ b2+ [(u [(i i0-0 [(l l [b])])])] [(u [i])]"},                                                                                            // ShareFetch
	79: {0, "s s i b2+ [(u [(i [(l l [b])])])]"},                                                                                                                             // ShareAcknowledge
	80: {0, "s i i u [(s s h)] b1+"},                                                                                                                                         // AddRaftVoter
	81: {0, "s i u"},                                                                                                                                                         // RemoveRaftVoter
	82: {0, "s i i u [(s s h)] (h h)"},                                                                                                                                       // UpdateRaftVoter
	83: {0, "s [(u [(i i l)])]"},                                                                                                                                             // InitializeShareGroupState
	84: {0, "s [(u [(i i)])]"},                                                                                                                                               // ReadShareGroupState
	85: {0, "s [(u [(i i i l i1+ [(l l b h)])])]"},                                                                                                                           // WriteShareGroupState
	86: {0, "s [(u [(i)])]"},                                                                                                                                                 // DeleteShareGroupState
	87: {0, "s [(u [(i i)])]"},                                                                                                                                               // ReadShareGroupStateSummary
	88: {0, "s s i i s s i ?(i [(s [s] [s] [(s i h [(s s)])] [s] [(s i h [(s s)])] [([h] [h] [h])])]) [(s [i])] [(s [i])] [(s [i])] s ?(s h) [(s s)] [(s i l)] [(s i l)] b"}, // StreamsGroupHeartbeat
	89: {0, "[s] b b1+"},                                                                                                                                                     // StreamsGroupDescribe
	90: {0, "[(s [(s [i])])]"},                                                                                                                                               // DescribeShareGroupOffsets
	91: {0, "s [(s [(i l)])]"},                                                                                                                                               // AlterShareGroupOffsets
	92: {0, "s [(s)]"},                                                                                                                                                       // DeleteShareGroupOffsets
	93: {0, "s s i ([(s [(s b [s] s [s] [s])])] [((s b [s] s [s] [s]) (s b [s] s [s] [s]))])"},                                                                               // StreamsGroupTopologyDescriptionUpdate
	94: {0, "i"},                                                                                                                                                             // UnregisterController
}
