package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// testDeadline bounds every wait of these tests; none should come near it.
const testDeadline = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testDeadline)
	t.Cleanup(cancel)
	return ctx
}

// aloneOptions are those of a cluster of one whose Fatal fails the test.
func aloneOptions(t testing.TB, dir string) Options {
	t.Helper()
	return Options{
		Dir: dir, ServerID: "1-test", Bootstrap: []Server{{ID: "1-test"}},
		Fatal: func(err error) { t.Errorf("fatal: %v", err) },
	}
}

func openReady(t testing.TB, o Options) *Node {
	t.Helper()
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := n.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return n
}

func mustPropose(t testing.TB, n *Node, cmd Command) Result {
	t.Helper()
	result, err := n.Propose(testContext(t), cmd)
	if err != nil {
		t.Fatalf("%T: %v", cmd, err)
	}
	return result
}

// settle makes a cluster with broker 1 active and one topic, and returns the topic.
func settle(t testing.TB, n *Node) *Topic {
	t.Helper()
	topic, err := settleWith(testContext(t), n)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func settleWith(ctx context.Context, n *Node) (*Topic, error) {
	if _, err := n.Propose(ctx, &InitCluster{testID(200)}); err != nil {
		return nil, err
	}
	b, err := n.Propose(ctx, &RegisterBroker{ID: 1, Incarnation: testID(100), StorageIDs: []uuid.ID{testID(150)}})
	if err != nil {
		return nil, err
	}
	if _, err := n.Propose(ctx, &ActivateBroker{1, b.BrokerEpoch}); err != nil {
		return nil, err
	}
	created, err := n.Propose(ctx, &CreateTopic{ID: testID(1), Name: "a", Assignments: [][]int32{{1}, {1}}})
	return created.Topic, err
}

func commitOf(group string, topic uuid.ID, offset int64) *CommitOffsets {
	return &CommitOffsets{CoordEpoch: firstOwner, Group: group, Generation: -1, Offsets: []CommittedOffset{
		{TopicID: topic, Offset: offset, LeaderEpoch: -1, CommittedAt: 1},
	}}
}

func TestReopenRestoresTheImage(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	n, err := Open(aloneOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	topic := settle(t, n)
	mustPropose(t, n, commitOf("g", topic.ID, 42))
	want, hash := describe(n.Image()), n.Image().Hash()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Propose(testContext(t), &InitCluster{testID(200)}); !errors.Is(err, ErrClosed) {
		t.Errorf("propose after close: %v", err)
	}
	if err := n.Barrier(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("barrier after close: %v", err)
	}

	again, err := Open(aloneOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, describe(again.Image())); diff != "" || again.Image().Hash() != hash {
		t.Errorf("image after reopening: %s", diff)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopenFromSnapshotAndCutLog(t *testing.T) {
	dir := t.TempDir()
	o := aloneOptions(t, dir)
	o.TrailingLogs = 1
	n := openReady(t, o)
	topic := settle(t, n)
	for i := range 50 {
		mustPropose(t, n, commitOf(fmt.Sprint("g", i%7), topic.ID, int64(i)))
	}
	if err := n.Snapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if first, err := n.store.FirstIndex(); err != nil || first < 50 {
		t.Errorf("log begins at %d (%v), want it cut behind the snapshot", first, err)
	}
	if s := n.Stats().Snapshot; s.Index < 50 {
		t.Errorf("snapshot status %+v", s)
	}
	mustPropose(t, n, commitOf("after", topic.ID, 99))
	want := describe(n.Image())
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again := openReady(t, o)
	if diff := cmp.Diff(want, describe(again.Image())); diff != "" {
		t.Error(diff)
	}
	// What was taken before the snapshot is not handed out again after it (I37).
	epoch := int64(0)
	if b, ok := again.Image().Broker(1); ok {
		epoch = b.Epoch
	}
	first := mustPropose(t, again, &AllocateProducerIDs{1, epoch, 1000}).ProducerIDs
	if err := again.Snapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	third := openReady(t, o)
	if next := mustPropose(t, third, &AllocateProducerIDs{1, epoch, 1000}).ProducerIDs; next.First < first.First+int64(first.Count) {
		t.Errorf("block %+v overlaps %+v", next, first)
	}
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := aloneOptions(t, dir)
	n := openReady(t, o)
	settle(t, n)
	if err := n.Snapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := Open(o); err == nil {
		t.Error("opened with a damaged snapshot")
		n.Close()
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	openReady(t, aloneOptions(t, dir))
	if n, err := Open(aloneOptions(t, dir)); err == nil {
		t.Error("the same directory was opened twice")
		n.Close()
	}
}

func TestManyProposersShareEntries(t *testing.T) {
	n := openReady(t, aloneOptions(t, t.TempDir()))
	topic := settle(t, n)
	const proposers, each = 256, 4
	before := n.raft.LastIndex()
	var group sync.WaitGroup
	for i := range proposers {
		group.Go(func() {
			for j := range each {
				name := fmt.Sprint("g", i)
				if _, err := n.Propose(testContext(t), commitOf(name, topic.ID, int64(j))); err != nil {
					t.Error(err)
					return
				}
				if o, ok := n.Image().Offset("", name, topic.ID, 0); !ok || o.Offset != int64(j) {
					t.Errorf("group %s does not read its own write: %+v", name, o)
				}
			}
		})
	}
	group.Wait()
	entries := n.raft.LastIndex() - before
	if entries > proposers*each/8 {
		t.Errorf("%d proposals took %d entries", proposers*each, entries)
	}
}

// failingStore fails appends while told to.
type failingStore struct {
	store
	fail atomic.Bool
}

var errDisk = errors.New("injected disk error")

func (s *failingStore) StoreLogs(logs []*raft.Log) error {
	if s.fail.Load() {
		return errDisk
	}
	return s.store.StoreLogs(logs)
}

func TestStoreFailureIsFatal(t *testing.T) {
	var broken *failingStore
	fatal, release := make(chan error, 1), make(chan struct{})
	o := aloneOptions(t, t.TempDir())
	// Fatal does not return while the test looks; the next election, which would end the process, is far off.
	o.Fatal = func(err error) { fatal <- err; <-release }
	o.Timeouts = Timeouts{Heartbeat: 500 * time.Millisecond, Election: 500 * time.Millisecond, Lease: 500 * time.Millisecond}
	o.wrapStore = func(s store) store {
		broken = &failingStore{store: s}
		return broken
	}
	n := openReady(t, o)
	settle(t, n)
	before := n.Image().Hash()
	broken.fail.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := n.Propose(testContext(t), &DeleteTopic{testID(1)})
		done <- err
	}()
	select {
	case err := <-fatal:
		if !errors.Is(err, errDisk) {
			t.Errorf("fatal: %v", err)
		}
	case <-testContext(t).Done():
		t.Fatal("a failed append was not fatal")
	}
	close(release)
	if err := <-done; !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, errDisk) {
		t.Errorf("propose: %v, want an unknown outcome", err)
	}
	if n.Image().Hash() != before {
		t.Error("what was not stored was applied")
	}
}

// After a failed write no later one may reach the store: it could seem to succeed.
func TestGuardedStoreStaysShut(t *testing.T) {
	inner, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	broken := &failingStore{store: inner}
	var fatal []error
	g := &guardedStore{store: broken, fatal: func(err error) { fatal = append(fatal, err) }}
	entry := []*raft.Log{{Index: 1, Term: 1}}
	if err := g.StoreLogs(entry); err != nil {
		t.Fatal(err)
	}
	broken.fail.Store(true)
	if err := g.StoreLogs(entry); !errors.Is(err, errDisk) {
		t.Errorf("failed append: %v", err)
	}
	broken.fail.Store(false)
	for act, err := range map[string]error{
		"append": g.StoreLogs(entry), "append one": g.StoreLog(entry[0]), "delete": g.DeleteRange(1, 1),
		"set": g.Set([]byte("k"), nil), "set number": g.SetUint64([]byte("k"), 1),
	} {
		if !errors.Is(err, errDisk) {
			t.Errorf("%s after a failure: %v", act, err)
		}
	}
	if len(fatal) != 1 || !errors.Is(fatal[0], errDisk) {
		t.Errorf("fatal was called with %v", fatal)
	}
	if last, err := g.LastIndex(); err != nil || last != 1 {
		t.Errorf("reading after a failure: %d, %v", last, err)
	}
	if err := inner.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnknownCommandIsFatal(t *testing.T) {
	fatal := make(chan error, 10)
	o := aloneOptions(t, t.TempDir())
	o.Fatal = func(err error) { fatal <- err }
	n := openReady(t, o)
	settle(t, n)
	before := describe(n.Image())
	_, err := n.apply(appendToEntry(beginEntry(stamp{}), []byte{250, 1}))
	if err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !errors.Is(err, ErrUnsupportedCommand) {
		t.Errorf("fatal: %v", err)
	}
	if _, err := n.Propose(testContext(t), &InitCluster{testID(201)}); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("propose after an entry that cannot be applied: %v", err)
	}
	if diff := cmp.Diff(before, describe(n.Image())); diff != "" {
		t.Errorf("the image went on: %s", diff)
	}
	if err := n.Snapshot(testContext(t)); err == nil {
		t.Error("a snapshot was written that lacks an entry")
	}
}

func TestStatusOfOne(t *testing.T) {
	n := openReady(t, aloneOptions(t, t.TempDir()))
	s := n.Stats()
	want := RaftStatus{
		State: "leader", Term: s.Term, Leader: "1-test", LastIndex: s.LastIndex, CommitIndex: s.LastIndex,
		AppliedIndex: s.AppliedIndex, Servers: []ServerStatus{{ID: "1-test", Address: "1-test", Suffrage: "voter"}},
	}
	if diff := cmp.Diff(want, s); diff != "" || s.Term == 0 || s.LastIndex == 0 || s.AppliedIndex > s.LastIndex {
		t.Errorf("status: %s", diff)
	}
	if leader, ok := n.Leader(); !ok || leader.ID != "1-test" || !n.IsLeader() {
		t.Errorf("leader %+v %v", leader, ok)
	}
}

func TestMetricsAreRegistered(t *testing.T) {
	o := aloneOptions(t, t.TempDir())
	registry := prometheus.NewPedanticRegistry()
	o.Registerer = registry
	n := openReady(t, o)
	settle(t, n)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, name := range []string{"proposals_total", "entry_commands", "commit_seconds", "apply_seconds", "queued_bytes"} {
		if !names["chronik_raftmeta_"+name] {
			t.Errorf("no metric %s", name)
		}
	}
}

func TestOptionsReportAllMistakes(t *testing.T) {
	o := Options{Bootstrap: []Server{{ID: "a"}, {ID: "b"}}}
	err := o.Validate()
	if joined, ok := errors.Unwrap(err).(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 3 {
		t.Errorf("%v", err)
	}
	if _, err := Open(o); err == nil {
		t.Error("opened without a directory")
	}
}
