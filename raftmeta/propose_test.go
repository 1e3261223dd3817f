package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// fakeLog stands for the Raft library: entries arrive on a channel, and the test says what they come to.
type fakeLog struct {
	entries chan fakeEntry
}

type fakeEntry struct {
	stamp    stamp
	commands []Command
	bytes    int
	reply    chan fakeReply
}

type fakeReply struct {
	response any
	err      error
}

func (l *fakeLog) apply(entry []byte) (any, error) {
	s, commands, err := decodeEntry(entry)
	if err != nil {
		return nil, err
	}
	reply := make(chan fakeReply)
	l.entries <- fakeEntry{s, commands, len(entry), reply}
	r := <-reply
	return r.response, r.err
}

// commit answers an entry as if each command got the given error.
func (e fakeEntry) commit(err error) {
	outcomes := make([]outcome, len(e.commands))
	for i := range outcomes {
		outcomes[i] = outcome{Result{Index: uint64(i + 1)}, err}
	}
	e.reply <- fakeReply{response: outcomes}
}

func newFakeProposals(senders int) (*proposals, *fakeLog) {
	log := &fakeLog{entries: make(chan fakeEntry)}
	return newProposals(log.apply, newMetrics(nil), senders), log
}

// proposeAsync starts a proposal whose outcome arrives on the channel.
func proposeAsync(ctx context.Context, p *proposals, cmd Command) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		result, err := p.propose(ctx, cmd)
		done <- answer{result, err}
	}()
	return done
}

func closeProposals(p *proposals) {
	p.close()
	p.wait()
}

func TestIdlePipelineSendsAtOnceAndBusyOneCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newFakeProposals(1)
		defer closeProposals(p)
		first := proposeAsync(t.Context(), p, &DeleteTopic{testID(0)})
		entry := <-log.entries
		var rest []<-chan answer
		for i := range 100 {
			rest = append(rest, proposeAsync(t.Context(), p, &DeleteTopic{testID(i)}))
		}
		synctest.Wait()
		entry.commit(nil)
		if a := <-first; a.err != nil || a.result.Index != 1 {
			t.Errorf("%+v", a)
		}
		second := <-log.entries
		if len(entry.commands) != 1 || len(second.commands) != 100 {
			t.Errorf("%d and %d commands, want 1 and 100", len(entry.commands), len(second.commands))
		}
		second.commit(ErrUnknownTopic)
		for _, done := range rest {
			if a := <-done; !errors.Is(a.err, ErrUnknownTopic) || a.result.Index == 0 {
				t.Errorf("%+v", a)
			}
		}
	})
}

func TestEntriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newFakeProposals(1)
		defer closeProposals(p)
		first := proposeAsync(t.Context(), p, &DeleteTopic{testID(0)})
		entry := <-log.entries
		var rest []<-chan answer
		for i := range 8 { // 300 KiB each
			meta := CommittedOffset{Metadata: string(make([]byte, 300<<10))}
			rest = append(rest, proposeAsync(t.Context(), p, &CommitOffsets{Group: fmt.Sprint(i), Offsets: []CommittedOffset{meta}}))
		}
		large := &CommitOffsets{Offsets: make([]CommittedOffset, 3)}
		for i := range large.Offsets {
			large.Offsets[i].Metadata = string(make([]byte, maxBlob))
		}
		rest = append(rest, proposeAsync(t.Context(), p, large))
		synctest.Wait()
		entry.commit(nil)
		<-first
		for answered := 0; answered < len(rest); {
			entry := <-log.entries
			if entry.bytes > maxEntryBytes+100 && len(entry.commands) > 1 {
				t.Errorf("entry of %d bytes with %d commands", entry.bytes, len(entry.commands))
			}
			answered += len(entry.commands)
			entry.commit(nil)
		}
		for _, done := range rest {
			if a := <-done; a.err != nil {
				t.Error(a.err)
			}
		}
		large.Offsets = append(large.Offsets, large.Offsets[:2]...)
		if _, err := p.propose(t.Context(), large); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a command of 5 MiB: %v", err)
		}
	})
}

func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newFakeProposals(1)
		defer closeProposals(p)
		inFlightCtx, giveUpInFlight := context.WithCancel(t.Context())
		inFlight := proposeAsync(inFlightCtx, p, &DeleteTopic{testID(0)})
		entry := <-log.entries
		queuedCtx, giveUpQueued := context.WithCancel(t.Context())
		queued := proposeAsync(queuedCtx, p, &DeleteTopic{testID(1)})
		synctest.Wait()

		giveUpInFlight()
		if a := <-inFlight; !errors.Is(a.err, ErrOutcomeUnknown) || !errors.Is(a.err, context.Canceled) {
			t.Errorf("in flight: %v", a.err)
		}
		giveUpQueued()
		if a := <-queued; errors.Is(a.err, ErrOutcomeUnknown) || !errors.Is(a.err, context.Canceled) {
			t.Errorf("queued: %v", a.err)
		}
		last := proposeAsync(t.Context(), p, &DeleteTopic{testID(2)})
		synctest.Wait()
		entry.commit(nil)
		next := <-log.entries
		if len(next.commands) != 1 || next.commands[0].(*DeleteTopic).ID != testID(2) {
			t.Errorf("a withdrawn proposal was sent: %+v", next.commands)
		}
		next.commit(nil)
		if a := <-last; a.err != nil {
			t.Error(a.err)
		}
		// All room has come back.
		if !p.room.TryAcquire(maxQueuedBytes) {
			t.Error("given-up proposals still hold room")
		}
	})
}

func TestOutcomesOfAnEntry(t *testing.T) {
	cause := errors.New("cause")
	for _, test := range []struct {
		reply fakeReply
		want  error
	}{
		{fakeReply{err: raft.ErrNotLeader}, ErrNotLeader},
		{fakeReply{err: raft.ErrLeadershipTransferInProgress}, ErrNotLeader},
		{fakeReply{err: raft.ErrLeadershipLost}, ErrOutcomeUnknown},
		{fakeReply{err: raft.ErrRaftShutdown}, ErrOutcomeUnknown},
		{fakeReply{err: cause}, ErrOutcomeUnknown},
		{fakeReply{response: errHalted}, ErrOutcomeUnknown},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, log := newFakeProposals(2)
			defer closeProposals(p)
			done := proposeAsync(t.Context(), p, &DeleteTopic{})
			(<-log.entries).reply <- test.reply
			a := <-done
			if !errors.Is(a.err, test.want) || errors.Is(a.err, ErrOutcomeUnknown) != (test.want == ErrOutcomeUnknown) {
				t.Errorf("%+v became %v, want %v", test.reply, a.err, test.want)
			}
			if test.reply.err != nil && !errors.Is(a.err, test.reply.err) {
				t.Errorf("the cause %v is lost in %v", test.reply.err, a.err)
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newFakeProposals(1)
		defer closeProposals(p)
		big := &CommitOffsets{Offsets: []CommittedOffset{{Metadata: string(make([]byte, maxBlob))}}}
		var group sync.WaitGroup
		for range 100 { // more than the 64 MiB that are allowed
			group.Go(func() {
				if _, err := p.propose(t.Context(), big); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		late := proposeAsync(ctx, p, big)
		synctest.Wait()
		cancel()
		if a := <-late; !errors.Is(a.err, context.Canceled) || errors.Is(a.err, ErrOutcomeUnknown) {
			t.Errorf("without room: %v", a.err)
		}
		for range 100 {
			(<-log.entries).commit(nil)
		}
		group.Wait()
	})
}

func TestCloseTurnsAwayWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newFakeProposals(1)
		inFlight := proposeAsync(t.Context(), p, &DeleteTopic{testID(0)})
		entry := <-log.entries
		queued := proposeAsync(t.Context(), p, &DeleteTopic{testID(1)})
		synctest.Wait()
		p.close()
		if a := <-queued; !errors.Is(a.err, ErrClosed) {
			t.Errorf("queued: %v", a.err)
		}
		if _, err := p.propose(t.Context(), &DeleteTopic{}); !errors.Is(err, ErrClosed) {
			t.Errorf("late: %v", err)
		}
		entry.commit(nil)
		if a := <-inFlight; a.err != nil {
			t.Errorf("in flight: %v", a.err)
		}
		p.wait()
	})
}
