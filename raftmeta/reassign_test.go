package raftmeta

import "testing"

func reassign(replicas ...int32) Command { return &Reassign{TopicID: testID(1), Replicas: replicas} }

// Nothing is dropped before all that come are in sync, and enough of those that stay (I28).
func TestReassignment(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, map[string]string{minInSyncKey: "2"})
	s.do("to 3 4 5", reassign(3, 4, 5))
	s.do("again", reassign(3, 4, 5))
	s.do("4 joins", s.alter(1, 2, 3, 4))
	s.do("5 joins", s.alter(1, 2, 3, 4, 5))
	s.do("same", reassign(3, 4, 5))
	s.do("reorder", reassign(4, 3, 5))
	s.do("remove 3", reassign(4, 5))
	s.do("remove the leader", reassign(5))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	to 3 4 5               leader=1@0 isr=[3 1 2] elr=[] lke=[] pe=1 replicas=[3 4 5 1 2]+[4 5]-[1 2]
	again                  leader=1@0 isr=[3 1 2] elr=[] lke=[] pe=1 replicas=[3 4 5 1 2]+[4 5]-[1 2]
	4 joins                leader=1@0 isr=[3 4 1 2] elr=[] lke=[] pe=2 replicas=[3 4 5 1 2]+[4 5]-[1 2]
	5 joins                leader=3@1 isr=[3 4 5] elr=[] lke=[] pe=3 replicas=[3 4 5]+[]-[]
	same                   leader=3@1 isr=[3 4 5] elr=[] lke=[] pe=3 replicas=[3 4 5]+[]-[]
	reorder                leader=3@1 isr=[4 3 5] elr=[] lke=[] pe=4 replicas=[4 3 5]+[]-[]
	remove 3               leader=4@2 isr=[4 5] elr=[] lke=[] pe=5 replicas=[4 5]+[]-[]
	remove the leader      leader=5@3 isr=[5] elr=[] lke=[] pe=6 replicas=[5]+[]-[]`)
}

func TestReassignmentWaitsForMin(t *testing.T) {
	s := newScript(t, []int32{1, 2, 3}, map[string]string{minInSyncKey: "2"})
	s.do("3 dies", s.fence(3))
	s.do("remove 1", reassign(2, 3))
	s.do("3 is back", s.activate(3))
	s.do("3 joins", s.alter(1, 2, 3))
	s.want(`
	start                  leader=1@0 isr=[1 2 3] elr=[] lke=[] pe=0
	3 dies                 leader=1@0 isr=[1 2] elr=[] lke=[] pe=1
	remove 1               leader=1@0 isr=[2 1] elr=[] lke=[] pe=2 replicas=[2 3 1]+[]-[1]
	3 is back              leader=1@0 isr=[2 1] elr=[] lke=[] pe=2 replicas=[2 3 1]+[]-[1]
	3 joins                leader=2@1 isr=[2 3] elr=[] lke=[] pe=3 replicas=[2 3]+[]-[]`)
}

// A fence can be what makes it complete, and the leader that goes can be the one that is dropped.
func TestReassignmentThroughFailures(t *testing.T) {
	s := newScript(t, []int32{1}, map[string]string{minInSyncKey: "2"})
	s.do("to 2 3", reassign(2, 3))
	s.do("2 joins", s.alter(1, 2))
	s.do("1 stops", s.stop(1))
	s.do("2 dies", s.fence(2))
	s.do("1 is gone", s.fence(1))
	s.do("2 is back", s.activate(2))
	s.do("3 joins", s.alter(2, 3))
	s.want(`
	start                  leader=1@0 isr=[1] elr=[] lke=[] pe=0
	to 2 3                 leader=1@0 isr=[1] elr=[] lke=[] pe=1 replicas=[2 3 1]+[2 3]-[1]
	2 joins                leader=1@0 isr=[2 1] elr=[] lke=[] pe=2 replicas=[2 3 1]+[2 3]-[1]
	1 stops                leader=2@1 isr=[2] elr=[1] lke=[] pe=3 replicas=[2 3 1]+[2 3]-[1]
	2 dies                 leader=-1@2 isr=[] elr=[2 1] lke=[] pe=4 replicas=[2 3 1]+[2 3]-[1]
	1 is gone              leader=-1@2 isr=[] elr=[2 1] lke=[] pe=4 replicas=[2 3 1]+[2 3]-[1]
	2 is back              leader=2@3 isr=[2] elr=[1] lke=[] pe=5 replicas=[2 3 1]+[2 3]-[1]
	3 joins                leader=2@4 isr=[2 3] elr=[] lke=[] pe=6 replicas=[2 3]+[]-[]`)
}

func TestReassignmentIsReplacedAndCancelled(t *testing.T) {
	s := newScript(t, []int32{1, 2}, map[string]string{minInSyncKey: "2"})
	s.do("nothing to cancel", reassign())
	s.do("to a stranger", reassign(1, 9))
	s.do("twice", reassign(1, 1))
	s.do("to 3 4", reassign(3, 4))
	s.do("3 joins", s.alter(1, 2, 3))
	s.do("1 dies", s.fence(1))
	s.do("rather 4 5", reassign(4, 5))
	s.do("rather 3 5", reassign(3, 5))
	s.do("cancel", reassign())
	s.do("1 is back", s.activate(1))
	s.do("1 joins", s.alter(1, 2, 3))
	s.do("cancel", reassign())
	s.want(`
	start                  leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	nothing to cancel !no reassignment is in progress leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	to a stranger !replica assignment is not valid leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	twice !replica assignment is not valid leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	to 3 4                 leader=1@0 isr=[1 2] elr=[] lke=[] pe=1 replicas=[3 4 1 2]+[3 4]-[1 2]
	3 joins                leader=1@0 isr=[3 1 2] elr=[] lke=[] pe=2 replicas=[3 4 1 2]+[3 4]-[1 2]
	1 dies                 leader=3@1 isr=[3 2] elr=[] lke=[] pe=3 replicas=[3 4 1 2]+[3 4]-[1 2]
	rather 4 5 !too few replicas would be in sync leader=3@1 isr=[3 2] elr=[] lke=[] pe=3 replicas=[3 4 1 2]+[3 4]-[1 2]
	rather 3 5             leader=3@2 isr=[3 2] elr=[] lke=[] pe=4 replicas=[3 5 1 2]+[3 5]-[1 2]
	cancel !too few replicas would be in sync leader=3@2 isr=[3 2] elr=[] lke=[] pe=4 replicas=[3 5 1 2]+[3 5]-[1 2]
	1 is back              leader=3@2 isr=[3 2] elr=[] lke=[] pe=4 replicas=[3 5 1 2]+[3 5]-[1 2]
	1 joins                leader=3@2 isr=[3 1 2] elr=[] lke=[] pe=5 replicas=[3 5 1 2]+[3 5]-[1 2]
	cancel                 leader=1@3 isr=[1 2] elr=[] lke=[] pe=6`)
}

// What a replaced reassignment had brought in stays where the next one, with the replicas that it adds, would be left with too
// few in sync (I28; found by the simulator).
func TestReassignmentIsReplacedByALargerOne(t *testing.T) {
	s := newScript(t, []int32{1, 2}, map[string]string{minInSyncKey: "3"})
	s.do("to 3 4 5", reassign(3, 4, 5))
	s.do("3 and 4 join", s.alter(1, 2, 3, 4))
	s.do("rather 1 5", reassign(1, 5))
	s.do("cancel", reassign())
	s.want(`
	start                  leader=1@0 isr=[1 2] elr=[] lke=[] pe=0
	to 3 4 5               leader=1@0 isr=[1 2] elr=[] lke=[] pe=1 replicas=[3 4 5 1 2]+[3 4 5]-[1 2]
	3 and 4 join           leader=1@0 isr=[3 4 1 2] elr=[] lke=[] pe=2 replicas=[3 4 5 1 2]+[3 4 5]-[1 2]
	rather 1 5 !too few replicas would be in sync leader=1@0 isr=[3 4 1 2] elr=[] lke=[] pe=2 replicas=[3 4 5 1 2]+[3 4 5]-[1 2]
	cancel                 leader=1@1 isr=[1 2] elr=[] lke=[] pe=3`)
}
