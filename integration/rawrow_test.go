package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rawClient does what a client of 0.8 had to do itself: it asks the node that it was told of where a partition is led, or
// a group coordinated, and goes there.
type rawClient struct {
	seed  *rawConn
	conns map[string]*rawConn // by host:port
}

func newRawClient(addr string) (*rawClient, error) {
	seed, err := dialRaw(addr)
	if err != nil {
		return nil, err
	}
	return &rawClient{seed: seed, conns: map[string]*rawConn{}}, nil
}

func (c *rawClient) close() {
	c.seed.Close()
	for _, conn := range c.conns {
		conn.Close()
	}
}

func (c *rawClient) at(addr string) (*rawConn, error) {
	if conn, ok := c.conns[addr]; ok {
		return conn, nil
	}
	conn, err := dialRaw(addr)
	if err == nil {
		c.conns[addr] = conn
	}
	return conn, err
}

// elsewhere are the codes that mean "not here" or "not yet".
var elsewhere = []rawCode{
	3, 5, 6, // unknown topic, leader not available, not the leader
	14, 15, 16, // coordinator is loading, not available, not the coordinator
}

// patiently tries until the answer is something else than to ask elsewhere or later.
func patiently[T any](try func() (T, error)) (got T, err error) {
	eventually(context.Background(), rawDeadline, func() bool {
		got, err = try()
		var code rawCode
		return !errors.As(err, &code) || !slices.Contains(elsewhere, code)
	})
	return got, err
}

// atLeader lets do talk to the leader of partition 0 of a topic.
func atLeader[T any](c *rawClient, topic string, do func(*rawConn) (T, error)) (T, error) {
	return patiently(func() (none T, err error) {
		found, err := c.seed.metadataV0(topic)
		if err != nil {
			return none, err
		}
		if found[topic].leader == "" {
			return none, fmt.Errorf("%s has no leader: %w", topic, elsewhere[1])
		}
		conn, err := c.at(found[topic].leader)
		if err != nil {
			return none, err
		}
		return do(conn)
	})
}

func (c *rawClient) produce(topic string, acks int16, set []byte) (base int64, err error) {
	return atLeader(c, topic, func(conn *rawConn) (int64, error) { return conn.produceV0(topic, acks, set) })
}

func (c *rawClient) fetch(topic string) ([]rec, error) {
	return atLeader(c, topic, func(conn *rawConn) ([]rec, error) { return conn.fetchV0(topic, 0) })
}

func (c *rawClient) offsets(topic string, time int64) ([]int64, error) {
	return atLeader(c, topic, func(conn *rawConn) ([]int64, error) { return conn.offsetsV0(topic, time) })
}

// commitAndAsk commits an offset for a group without members and returns what its coordinator then says.
func (c *rawClient) commitAndAsk(version int16, group, topic string, offset int64) (int64, error) {
	return patiently(func() (int64, error) {
		addr, err := c.seed.coordinatorV0(group)
		if err != nil {
			return 0, err
		}
		conn, err := c.at(addr)
		if err != nil {
			return 0, err
		}
		if err := conn.commit(version, group, topic, offset); err != nil {
			return 0, err
		}
		return conn.committed(version, group, topic)
	})
}

// rawRow is the row of 0.8: what its clients could do, with their bytes.
func rawRow(_ context.Context, r *row, e env, prefix string) {
	c, err := newRawClient(e.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.close()
	codecs := []string{"none", "gzip", "snappy"}
	for _, op := range []string{"config", "group", "groups", "delete"} {
		r.run(op, func() (string, error) { return "", lacksError("0.8 has no such request") })
	}
	r.run("create", func() (string, error) { return "by asking", rawCreate(c, prefix, codecs) })
	r.run("list", func() (string, error) {
		all, err := c.seed.metadataV0()
		if err == nil && all[prefix+"-none"].partitions == 0 {
			err = fmt.Errorf("listed %v", all)
		}
		return "", err
	})
	r.run("describe", func() (string, error) {
		found, err := c.seed.metadataV0(e.fixture + "-none")
		if err == nil && found[e.fixture+"-none"].partitions != 1 {
			err = fmt.Errorf("described %v", found)
		}
		return "", err
	})
	r.run("produce", func() (string, error) { return strings.Join(codecs, " "), rawProduce(c, e, prefix, codecs) })
	r.run("consume", func() (string, error) {
		f := fidelity{noHeaders: true, ownTime: true}
		for _, codec := range codecs {
			for _, topic := range []string{prefix + "-" + codec, e.fixture + "-" + codec} {
				got, err := c.fetch(topic)
				if err == nil && len(got) < recordCount {
					err = fmt.Errorf("%d records of %d", len(got), recordCount)
				}
				if err == nil {
					err = checkRecords(got[:recordCount], 0, e.t0, f)
				}
				if err != nil {
					return "", fmt.Errorf("%s: %w", topic, err)
				}
			}
		}
		return strings.Join(codecs, " "), nil
	})
	r.run("resume", func() (string, error) { return "", rawResume(c, e, prefix+"-r") })
	r.run("time", func() (string, error) {
		start, err := c.offsets(e.fixture+"-none", -2)
		end, err2 := c.offsets(e.fixture+"-none", -1)
		if err := errors.Join(err, err2); err != nil {
			return "", err
		}
		if !slices.Equal(start, []int64{0}) || len(end) == 0 || end[0] != recordCount {
			return "", fmt.Errorf("start %v, end %v", start, end)
		}
		return "start, end", nil
	})
}

// rawCreate asks for topics that do not exist, which creates them.
func rawCreate(c *rawClient, prefix string, codecs []string) error {
	for _, codec := range codecs {
		var last error
		there := eventually(context.Background(), rawDeadline, func() bool {
			var found map[string]rawTopic
			found, last = c.seed.metadataV0(prefix + "-" + codec)
			return last != nil || found[prefix+"-"+codec].partitions > 0
		})
		if !there || last != nil {
			return fmt.Errorf("%s-%s did not appear: %w", prefix, codec, last)
		}
	}
	return nil
}

func rawProduce(c *rawClient, e env, prefix string, codecs []string) error {
	f := fidelity{noHeaders: true, ownTime: true, legacy: true}
	for i, codec := range codecs {
		set, err := rawSet(codec, recordSet(e.t0))
		if err != nil {
			return err
		}
		base, err := c.produce(prefix+"-"+codec, int16(1-2*(i%2)), set) // acks 1 and −1
		if err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		if base != 0 {
			return fmt.Errorf("%s: base offset %d", codec, base)
		}
		ctx, cancel := context.WithTimeout(context.Background(), rawDeadline)
		defer cancel()
		if err := verifyStored(ctx, e.addr, prefix+"-"+codec, codec, e.t0, f); err != nil {
			return err
		}
	}
	// acks 0 has no response: the next response belongs to the next request.
	if _, err := c.produce(prefix+"-none", 0, rawMessage(0, 0, nil, []byte("unasked"))); err != nil {
		return err
	}
	var last error
	arrived := eventually(context.Background(), rawDeadline, func() bool {
		var end []int64
		end, last = c.offsets(prefix+"-none", -1)
		return last != nil || len(end) > 0 && end[0] == recordCount+1
	})
	if !arrived {
		return errors.New("what was produced with acks=0 did not arrive")
	}
	return last
}

func rawResume(c *rawClient, e env, group string) error {
	for version := range int16(2) {
		if version == 0 && isReference() {
			continue // v0 meant offsets in ZooKeeper, which a Kafka without ZooKeeper refuses
		}
		at := resumeAt + int64(version)
		got, err := c.commitAndAsk(version, fmt.Sprintf("%s%d", group, version), e.fixture+"-none", at)
		if err != nil {
			return fmt.Errorf("offsets v%d: %w", version, err)
		}
		if got != at {
			return fmt.Errorf("v%d: committed %d, got back %d", version, at, got)
		}
	}
	return nil
}
