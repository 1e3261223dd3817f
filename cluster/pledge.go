package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// pledges keeps a node's word about which cluster it founds (replication.md 4.8). It is a two-phase commit
// in which the proposer, the first founder of a list, decides:
//
//   - The proposer asks all others to pledge. Each writes the list to its disk, and from then on refuses
//     every other.
//   - When all have, the proposer pledges itself, last. That write is the decision: the list is founded.
//     Before it, nothing is; no other write or message matters.
//   - A founder in doubt asks the proposer. "Founded" lets it bootstrap. "Abandoned" releases it, and is
//     true for ever, because a proposer that has forgotten an attempt never takes it up again: the next one
//     has another cluster id. While the proposer does not answer, the founder waits.
//
// Two lists that share a founder cannot both get its word, so two groups cannot form from them. A node that
// has a cluster gives its word to nobody.
type pledges struct {
	fs     vfs.FS
	file   string
	self   identity
	expect int
	crash  func(line string) error

	busy    chan struct{} // holds a token while the fields below are in use, also across a write
	given   *foundation   // what is on disk
	attempt *foundation   // proposed by this node, not decided
	settled bool          // this node has a cluster, or is about to join one
}

// pledgeFile is the name of the file with the pledge. It stays for good: other founders may ask late.
const pledgeFile = "pledge"

// maxPledgeFile bounds it: 15 founders with addresses of 255 bytes.
const maxPledgeFile = 8 << 10

func openPledges(o *Options) (*pledges, error) {
	p := &pledges{
		fs: o.FS, file: filepath.Join(o.DataDir, pledgeFile), self: identity{o.NodeID, o.DirectoryID},
		expect: o.BootstrapExpect, crash: o.crash, busy: make(chan struct{}, 1), settled: o.HasState,
	}
	data, err := vfs.ReadFile(p.fs, p.file, maxPledgeFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return nil, fmt.Errorf("read the pledge: %w", err)
	}
	// A torn file is no pledge: it was replaced atomically, so this is damage, and guessing could found a
	// second cluster.
	if p.given, err = readFoundation(data); err != nil {
		return nil, fmt.Errorf("the pledge in %s is damaged: %w; if this node belongs to a cluster, or never joined one, remove the file", p.file, err)
	}
	if !p.given.holds(p.self) {
		return nil, fmt.Errorf("the pledge in %s was given by another directory than %s", p.file, p.self)
	}
	return p, nil
}

// with runs a step of the protocol, one at a time.
func (p *pledges) with(ctx context.Context, step func() error) error {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
		return step()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current is the pledge that was given, nil for none.
func (p *pledges) current(ctx context.Context) (given *foundation, err error) {
	err = p.with(ctx, func() error { given = p.given; return nil })
	return given, err
}

// accept gives this node's word to a proposer, and keeps it if it had given it before.
func (p *pledges) accept(ctx context.Context, f *foundation) error {
	return p.with(ctx, func() error {
		switch {
		case p.given != nil && p.given.clusterID == f.clusterID:
			return nil
		case p.settled:
			return fmt.Errorf("%w: node %s has a cluster", ErrRefused, p.self)
		case p.given != nil:
			return fmt.Errorf("%w: node %s is pledged to %s", ErrRefused, p.self, p.given.clusterID)
		case !f.holds(p.self):
			return fmt.Errorf("%w: node %s is not on the list", ErrRefused, p.self)
		case f.proposer().identity == p.self:
			return fmt.Errorf("%w: node %s has not proposed that", ErrRefused, p.self)
		case len(f.founders) != p.expect:
			return fmt.Errorf("%w: node %s expects %d founders, not %d", ErrRefused, p.self, p.expect, len(f.founders))
		case p.attempt != nil && p.attempt.proposer().compare(f.proposer().identity) < 0:
			return fmt.Errorf("%w: node %s proposes a list itself", ErrRefused, p.self)
		}
		p.attempt = nil // the lower proposer goes first
		return p.write(f)
	})
}

// write makes a pledge durable.
func (p *pledges) write(f *foundation) error {
	if err := p.crash("before the pledge of " + p.self.String()); err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(p.fs, p.file, f.append(nil)); err != nil {
		return fmt.Errorf("write the pledge: %w", err)
	}
	p.given = f
	return p.crash("after the pledge of " + p.self.String())
}

// propose begins an attempt, unless this node has given its word or has a cluster.
func (p *pledges) propose(ctx context.Context, f *foundation) (began bool, err error) {
	err = p.with(ctx, func() error {
		if began = p.given == nil && !p.settled; began {
			p.attempt = f
		}
		return nil
	})
	return began, err
}

// decide founds the list of an attempt for which all others have given their word, by giving this node's
// own. It reports false if the attempt is over already.
func (p *pledges) decide(ctx context.Context, f *foundation) (founded bool, err error) {
	err = p.with(ctx, func() error {
		if p.attempt != f || p.settled {
			return nil
		}
		if err := p.write(f); err != nil {
			return err
		}
		p.attempt, founded = nil, true
		return nil
	})
	return founded, err
}

// abandon ends an attempt for good.
func (p *pledges) abandon(ctx context.Context, f *foundation) error {
	return p.with(ctx, func() error {
		if p.attempt == f {
			p.attempt = nil
		}
		return nil
	})
}

// Outcomes of an attempt, as its proposer knows them.
const (
	outcomeAbandoned byte = iota
	outcomeOpen
	outcomeFounded
)

// outcome is what became of an attempt that this node may have proposed.
func (p *pledges) outcome(ctx context.Context, clusterID uuid.ID) (outcome byte, err error) {
	err = p.with(ctx, func() error {
		switch {
		case p.given != nil && p.given.clusterID == clusterID:
			outcome = outcomeFounded
		case p.attempt != nil && p.attempt.clusterID == clusterID:
			outcome = outcomeOpen
		}
		return nil
	})
	return outcome, err
}

// release takes back this node's word for an attempt that its proposer has abandoned.
func (p *pledges) release(ctx context.Context, f *foundation) error {
	return p.with(ctx, func() error {
		if p.given != f {
			return nil
		}
		if err := p.fs.Remove(p.file); err != nil {
			return fmt.Errorf("release the pledge: %w", err)
		}
		if err := p.fs.SyncDir(filepath.Dir(p.file)); err != nil {
			return fmt.Errorf("release the pledge: %w", err)
		}
		p.given = nil
		return nil
	})
}

// settle makes this node refuse pledges from now on. It reports false if it has given its word.
func (p *pledges) settle(ctx context.Context) (settled bool, err error) {
	err = p.with(ctx, func() error {
		if settled = p.given == nil; settled {
			p.settled, p.attempt = true, nil
		}
		return nil
	})
	return settled, err
}
