package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	groupPartitions = 4
	resumeAt        = 60
	stepDeadline    = 30 * time.Second
)

// client is what the scenario asks of a client that is driven from Go. A method that the client has no means for
// returns a lacksError. Reading and writing mean partition 0.
type client interface {
	create(ctx context.Context, topic string, partitions, replicas int, config map[string]string) error
	list(ctx context.Context) ([]string, error)
	describe(ctx context.Context, topic string) (partitions int, config map[string]string, err error)
	alter(ctx context.Context, topic, key, value string) error
	produce(ctx context.Context, topic, codec string, recs []rec) error
	read(ctx context.Context, topic string, from int64, n int) ([]rec, error)
	join(ctx context.Context, group, topic string) (member, error)
	// consumeAndCommit joins the group alone, reads, commits offset n for partition 0 and leaves.
	consumeAndCommit(ctx context.Context, group, topic string, n int64) error
	// resume joins the group alone and returns the offset of the first record that it is given.
	resume(ctx context.Context, group, topic string) (int64, error)
	// offsetAt is the offset of the first record at or after a time in ms.
	offsetAt(ctx context.Context, topic string, ts int64) (int64, error)
	// committed is what an administrator sees of a group without members, and that it is listed.
	committed(ctx context.Context, group, topic string) (int64, error)
	remove(ctx context.Context, topic string) error
	close()
}

// member is one member of a group.
type member interface {
	assigned() int // how many partitions it holds at the moment
	leave(ctx context.Context) error
}

// traits are what the matrix must know of a client to judge it fairly.
type traits struct {
	writes, reads []string // codecs
	fidelity      fidelity
	readFidelity  fidelity // what it reads of fixtures that were written with everything
}

// env is where a row runs.
type env struct {
	addr     string // of one node; the client is to find the others
	replicas int    // of each topic
	t0       int64  // time of record 0, ms
	fixture  string // prefix of the fixture topics
}

// topicNames are the topics of a row. Scripts make the same ones from their prefix.
type topicNames struct{ plain, group, gone string }

func namesFor(prefix string) topicNames {
	return topicNames{prefix, prefix + "-group", prefix + "-gone"}
}

// runScenario takes a client through every column. admin stands in for what the client cannot create.
func runScenario(ctx context.Context, r *row, e env, prefix string, cl, admin client, tr traits) {
	names := namesFor(prefix)
	step := func(op string, do func(ctx context.Context) (string, error)) bool {
		return r.run(op, func() (string, error) {
			ctx, cancel := context.WithTimeout(ctx, stepDeadline)
			defer cancel()
			return do(ctx)
		})
	}
	if !step("create", func(ctx context.Context) (string, error) {
		return "", createAll(ctx, cl, admin, e.replicas, prefix, tr.writes)
	}) {
		return // the rest would only wait for topics that never come
	}
	step("list", func(ctx context.Context) (string, error) {
		var got []string
		var last error
		if !eventually(ctx, 5*time.Second, func() bool {
			got, last = cl.list(ctx)
			return last == nil && slices.Contains(got, names.plain) && slices.Contains(got, names.group)
		}) {
			return "", fmt.Errorf("listed %q (%v)", got, last)
		}
		return "", nil
	})
	step("describe", func(ctx context.Context) (string, error) { return "", describeStep(ctx, cl, names) })
	step("config", func(ctx context.Context) (string, error) { return "", configStep(ctx, cl, admin, names) })
	step("produce", func(ctx context.Context) (string, error) {
		for _, codec := range tr.writes {
			if err := cl.produce(ctx, prefix+"-"+codec, codec, recordSet(e.t0)); err != nil {
				return "", fmt.Errorf("%s: %w", codec, err)
			}
			if err := verifyStored(ctx, e.addr, prefix+"-"+codec, codec, e.t0, tr.fidelity); err != nil {
				return "", err
			}
		}
		return strings.Join(tr.writes, " "), nil
	})
	step("consume", func(ctx context.Context) (string, error) {
		for _, codec := range tr.reads {
			got, err := cl.read(ctx, e.fixture+"-"+codec, 0, recordCount)
			if err == nil && len(got) != recordCount {
				err = fmt.Errorf("%d records of %d", len(got), recordCount)
			}
			if err := errors.Join(err, checkRecords(got, 0, e.t0, tr.readFidelity)); err != nil {
				return "", fmt.Errorf("%s: %w", codec, err)
			}
		}
		return strings.Join(tr.reads, " "), nil
	})
	step("group", func(ctx context.Context) (string, error) { return "", rebalanceStep(ctx, cl, prefix+"-g", names.group) })
	step("resume", func(ctx context.Context) (string, error) {
		if err := cl.consumeAndCommit(ctx, prefix+"-r", e.fixture+"-none", resumeAt); err != nil {
			return "", err
		}
		at, err := cl.resume(ctx, prefix+"-r", e.fixture+"-none")
		if err == nil && at != resumeAt {
			err = fmt.Errorf("resumed at %d, committed %d", at, resumeAt)
		}
		return "", err
	})
	step("time", func(ctx context.Context) (string, error) { return "", timeStep(ctx, cl, e) })
	step("groups", func(ctx context.Context) (string, error) {
		at, err := cl.committed(ctx, prefix+"-r", e.fixture+"-none")
		if err == nil && at != resumeAt {
			err = fmt.Errorf("the group's offset is %d, committed %d", at, resumeAt)
		}
		return "", err
	})
	step("delete", func(ctx context.Context) (string, error) { return "", deleteStep(ctx, cl, names.gone) })
}

func createAll(ctx context.Context, cl, admin client, replicas int, prefix string, codecs []string) error {
	names := namesFor(prefix)
	first := cl.create(ctx, names.plain, 4, replicas, map[string]string{"retention.ms": "3600000"})
	var lacks lacksError
	switch {
	case errors.As(first, &lacks):
		cl = admin
		if err := cl.create(ctx, names.plain, 4, replicas, map[string]string{"retention.ms": "3600000"}); err != nil {
			return err
		}
	case first != nil:
		return first
	}
	if err := cl.create(ctx, names.group, groupPartitions, replicas, nil); err != nil {
		return err
	}
	if err := cl.create(ctx, names.gone, 1, replicas, nil); err != nil {
		return err
	}
	for _, codec := range codecs {
		if err := cl.create(ctx, prefix+"-"+codec, 1, replicas, nil); err != nil {
			return err
		}
	}
	return first // a lack, which is recorded as such, or nil
}

func describeStep(ctx context.Context, cl client, names topicNames) error {
	partitions, config, err := cl.describe(ctx, names.plain)
	if err != nil {
		return err
	}
	if partitions != 4 {
		return fmt.Errorf("%d partitions, want 4", partitions)
	}
	if config != nil && config["retention.ms"] != "3600000" {
		return fmt.Errorf("retention.ms = %q, want 3600000 (of %v)", config["retention.ms"], config)
	}
	return nil
}

func configStep(ctx context.Context, cl, admin client, names topicNames) error {
	if err := cl.alter(ctx, names.plain, "max.message.bytes", "200000"); err != nil {
		return err
	}
	var config map[string]string
	var last error
	altered := eventually(ctx, 5*time.Second, func() bool {
		_, config, last = admin.describe(ctx, names.plain)
		return last == nil && config["max.message.bytes"] == "200000"
	})
	if !altered {
		return fmt.Errorf("max.message.bytes = %q after it was set to 200000 (%v)", config["max.message.bytes"], last)
	}
	return nil
}

// rebalanceStep lets a second member come and go: 4, then 2 and 2, then 4 again.
func rebalanceStep(ctx context.Context, cl client, group, topic string) (err error) {
	a, err := cl.join(ctx, group, topic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.leave(ctx)) }()
	if !eventually(ctx, 15*time.Second, func() bool { return a.assigned() == groupPartitions }) {
		return fmt.Errorf("a member alone holds %d partitions of %d", a.assigned(), groupPartitions)
	}
	b, err := cl.join(ctx, group, topic)
	if err != nil {
		return err
	}
	half := groupPartitions / 2
	shared := eventually(ctx, 15*time.Second, func() bool { return a.assigned() == half && b.assigned() == half })
	holdA, holdB := a.assigned(), b.assigned()
	if err := b.leave(ctx); err != nil {
		return err
	}
	if !shared {
		return fmt.Errorf("two members hold %d and %d partitions, want %d each", holdA, holdB, half)
	}
	if !eventually(ctx, 15*time.Second, func() bool { return a.assigned() == groupPartitions }) {
		return fmt.Errorf("after the other left, a member holds %d partitions of %d", a.assigned(), groupPartitions)
	}
	return nil
}

func timeStep(ctx context.Context, cl client, e env) error {
	at, err := cl.offsetAt(ctx, e.fixture+"-none", e.t0+49_500)
	if err != nil {
		return err
	}
	if at != 50 {
		return fmt.Errorf("half a second before record 50 lies offset %d", at)
	}
	got, err := cl.read(ctx, e.fixture+"-none", at, 1)
	if err != nil {
		return err
	}
	if len(got) == 0 || string(got[0].key) != "key-50" {
		return fmt.Errorf("reading from offset %d gave %+v", at, got)
	}
	return nil
}

func deleteStep(ctx context.Context, cl client, topic string) error {
	if err := cl.remove(ctx, topic); err != nil {
		return err
	}
	var last error
	gone := eventually(ctx, 10*time.Second, func() bool {
		var names []string
		names, last = cl.list(ctx)
		return last == nil && !slices.Contains(names, topic)
	})
	if !gone {
		return fmt.Errorf("%s is still listed: %v", topic, last)
	}
	return nil
}
