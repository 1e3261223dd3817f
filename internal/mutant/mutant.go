// Package mutant holds seeded bugs: each breaks one rule of replication.md in one place, in builds with
// the tag "mutant" only. A check that has never caught one is no evidence (I49), so the simulator runs
// with every bug of All in force and must fail each time.
package mutant

// Bug names a seeded bug. CHRONIK_MUTANT selects one.
type Bug string

// The bugs, each with the rule that it breaks.
const (
	AckBeforeHW           Bug = "ack-before-hw"           // 7.3: acks=all answered once the leader has it
	AckInAnotherEpoch     Bug = "ack-in-another-epoch"    // 7.3: a waiter outlives the epoch it appended in
	HWIgnoresFollowers    Bug = "hw-ignores-followers"    // 8.1
	HWFromCommittedISR    Bug = "hw-from-committed-isr"   // 9.2: a proposed member is not waited for
	ShrinkCountsAtOnce    Bug = "shrink-counts-at-once"   // 9.2: a member proposed out is not waited for
	HWBelowMin            Bug = "hw-below-min"            // 8.1: raised while the ISR is below min (I10)
	OldRunFetch           Bug = "old-run-fetch"           // 10.2, I11: a fetch of an earlier run of the broker counts
	SettledAtOnce         Bug = "settled-at-once"         // 8.3: a new leader takes its own high watermark for the true one
	AppendBelowMin        Bug = "append-below-min"        // 7.1
	HWFalls               Bug = "hw-falls"                // 8.3
	JoinBelowHW           Bug = "join-below-hw"           // 9.1 (a)
	JoinBelowEpochStart   Bug = "join-below-epoch-start"  // 9.1 (b)
	JoinWithoutFetch      Bug = "join-without-fetch"      // 9.1 (c)
	JoinOldBrokerEpoch    Bug = "join-old-broker-epoch"   // 9.1 (e): an earlier run of the broker had caught up
	AdoptOwnProposal      Bug = "adopt-own-proposal"      // 9.4: the answer is taken for the entry
	RefusalSettles        Bug = "refusal-settles"         // 9.4: a refused proposal may still be accepted from a copy
	NoTruncation          Bug = "no-truncation"           // 10.3
	TruncateToHW          Bug = "truncate-to-hw"          // KIP-101: by high watermark, not by epoch
	StaleEpochFetch       Bug = "stale-epoch-fetch"       // 10.2: a fetch of an older epoch is served and counted
	NoDivergenceCheck     Bug = "no-divergence-check"     // 10.2
	DivergenceMovesState  Bug = "divergence-moves-state"  // 10.2, I12: a diverging fetch counts
	HWBeforeTruncation    Bug = "hw-before-truncation"    // 10.3: a diverging answer's high watermark is taken
	StaleAnswerAppended   Bug = "stale-answer-appended"   // 10.3: an answer of an earlier assignment is used
	FollowerHWPastEnd     Bug = "follower-hw-past-end"    // 8.4
	EarlierLeaderCompares Bug = "earlier-leader-compares" // I18: a former leader tells a reader of later records where histories part
	ElectOutsideISR       Bug = "elect-outside-isr"       // 11.1
	ElectKeepsEpoch       Bug = "elect-keeps-epoch"       // 11.2
	ELRKeepsSuspect       Bug = "elr-keeps-suspect"       // 9.5, I16
	ELRForgotten          Bug = "elr-any-replica"         // 9.5: whoever is in the replica list is eligible
	AlterIgnoresEpoch     Bug = "alter-ignores-epoch"     // 9.3: partition epoch not compared
	AlterAdmitsFenced     Bug = "alter-admits-fenced"     // 9.3: members need not be active in their epoch
	FenceKeepsISR         Bug = "fence-keeps-isr"         // I14
	ReassignDropsEarly    Bug = "reassign-drops-early"    // 13.1, I28: complete before the new replicas are in sync
	ShardEpochNotChecked  Bug = "shard-epoch-unchecked"   // 18.1, I43: a former coordinator's commands take effect
)

// All lists every bug.
var All = []Bug{
	AckBeforeHW, AckInAnotherEpoch, HWIgnoresFollowers, HWFromCommittedISR, ShrinkCountsAtOnce, HWBelowMin,
	OldRunFetch, SettledAtOnce, AppendBelowMin, HWFalls, JoinBelowHW, JoinBelowEpochStart, JoinWithoutFetch,
	JoinOldBrokerEpoch, AdoptOwnProposal, RefusalSettles, NoTruncation, TruncateToHW, StaleEpochFetch,
	NoDivergenceCheck, DivergenceMovesState, HWBeforeTruncation, StaleAnswerAppended, FollowerHWPastEnd, EarlierLeaderCompares,
	ElectOutsideISR, ElectKeepsEpoch, ELRKeepsSuspect, ELRForgotten, AlterIgnoresEpoch, AlterAdmitsFenced, FenceKeepsISR,
	ReassignDropsEarly, ShardEpochNotChecked,
}
