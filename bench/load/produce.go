package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// ProduceOptions says what producers send. All fields without a default must be set.
type ProduceOptions struct {
	Addr        string
	Topic       string
	Partitions  int      // requests of a connection go to all of them in turn
	Batches     []*Batch // partition p gets number p modulo their count; all with the same number of records
	Acks        int16    // 1 or -1: a request without a response cannot be verified
	Connections int
	InFlight    int     // requests a connection has out at most, at least 1
	Rate        float64 // requests per second of all connections together; 0: as fast as they are answered
	Stamp       bool    // intended send time into the first record of every batch, which must be Stampable
	// Limit bounds the life of the producer: a broker that falls silent ends the run after that long.
	Limit time.Duration
}

func (o *ProduceOptions) validate() error {
	if o.Partitions < 1 || o.Connections < 1 || o.InFlight < 1 || len(o.Batches) == 0 || o.Limit <= 0 {
		return errors.New("produce: partitions, connections, in-flight, batches and limit must be positive")
	}
	if o.Acks != 1 && o.Acks != -1 {
		return fmt.Errorf("produce: acks=%d cannot be verified, want 1 or -1", o.Acks)
	}
	for _, b := range o.Batches {
		if b.Records != o.Batches[0].Records {
			return errors.New("produce: batches differ in their number of records")
		}
		if o.Stamp && !b.Stampable() {
			return errors.New("produce: a batch has no place for a stamp")
		}
	}
	return nil
}

// Producer is a running set of producing connections.
type Producer struct {
	run
	o     ProduceOptions
	conns []*produceConn
}

// ProduceResult is what a producer did in its whole life, verified, and the latencies of its window.
type ProduceResult struct {
	Ends    []int64 // end offset of each partition, if it was empty and nobody else wrote
	Latency Hist    // from send, or intended send, to response; responses inside the window only
}

// StartProducer connects and starts to send. The caller must call Stop, whatever happens.
func StartProducer(ctx context.Context, o ProduceOptions) (*Producer, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	p := &Producer{o: o}
	p.run.init(ctx)
	for i := range o.Connections {
		conn, err := dial(ctx, o.Addr)
		if err != nil {
			return nil, errors.Join(err, p.abandon())
		}
		p.attach(conn, o.Limit)
		p.conns = append(p.conns, newProduceConn(p, conn, i))
	}
	began := Now()
	for _, c := range p.conns {
		p.wg.Go(func() { p.settle(c.write(began)) })
		p.wg.Go(func() { p.settle(c.read()) })
	}
	return p, nil
}

// Acked returns how many records and bytes were acknowledged so far.
func (p *Producer) Acked() Progress {
	var sum Progress
	for _, c := range p.conns {
		batches := c.acked.Load()
		sum.Batches += batches
		sum.Records += batches * int64(p.o.Batches[0].Records)
		sum.Bytes += c.ackedBytes.Load()
	}
	return sum
}

// Stop sends no more, waits for all responses and for its goroutines, and closes the connections. The
// error is the first fault of the run: a result without an error has been verified.
func (p *Producer) Stop() (*ProduceResult, error) {
	if err := p.finish(); err != nil {
		return nil, err
	}
	ledger, res := NewLedger(p.o.Partitions, p.o.Batches[0].Records), &ProduceResult{}
	for _, c := range p.conns {
		if err := ledger.Merge(c.ledger); err != nil {
			return nil, err
		}
		res.Latency.Merge(&c.latency)
	}
	var err error
	res.Ends, err = ledger.Ends()
	return res, err
}

// produceConn is one connection. The writer and the reader both count requests, so each knows the
// correlation id and the partition of every request without being told.
type produceConn struct {
	p       *Producer
	conn    *net.TCPConn
	first   int      // partition of request 0
	index   int      // among the connections
	batches []*Batch // its own copies if it stamps them

	sent  chan struct{}  // a token per request; its capacity and the reader's hand make the window
	times []atomic.Int64 // when request n was sent, or should have been, at n modulo the window

	acked, ackedBytes atomic.Int64 // written by the reader
	ledger            *Ledger      // the reader's, until it has ended
	latency           Hist         // likewise
}

func newProduceConn(p *Producer, conn *net.TCPConn, index int) *produceConn {
	o := &p.o
	c := &produceConn{
		p: p, conn: conn, index: index,
		first:   index * o.Partitions / o.Connections,
		batches: o.Batches,
		sent:    make(chan struct{}, o.InFlight-1),
		times:   make([]atomic.Int64, o.InFlight),
		ledger:  NewLedger(o.Partitions, o.Batches[0].Records),
	}
	if o.Stamp {
		c.batches = nil
		for _, b := range o.Batches {
			c.batches = append(c.batches, b.Clone())
		}
	}
	return c
}

func (c *produceConn) partition(n int) int { return (c.first + n) % c.p.o.Partitions }

// write sends requests until the run ends. The reader takes a token before it waits for a response, so
// with the capacity of sent at InFlight-1 there are never more than InFlight requests out.
func (c *produceConn) write(began int64) error {
	defer close(c.sent)
	o := &c.p.o
	head := newProduceHead(o.Topic, o.Acks, int32(o.Limit.Milliseconds()))
	vector := make(net.Buffers, 2)
	var rest net.Buffers // what WriteTo consumes; declared here, it is allocated once
	var pace pacer
	if o.Rate > 0 {
		pace = newPacer()
		defer pace.release()
	}
	for n := 0; ; n++ {
		due := int64(0)
		if o.Rate > 0 {
			due = began + int64(float64(n*o.Connections+c.index)*float64(time.Second)/o.Rate)
			pace.until(due, c.p.stopping)
		}
		if c.p.stopping() {
			return nil
		}
		select {
		case c.sent <- struct{}{}:
		case <-c.p.ctx.Done():
			return nil
		}
		if o.Rate == 0 {
			due = Now()
		}
		c.times[n%o.InFlight].Store(due)
		partition := c.partition(n)
		batch := c.batches[partition%len(c.batches)]
		if o.Stamp {
			batch.Stamp(due)
		}
		head.patch(int32(n), partition, len(batch.Bytes))
		vector[0], vector[1] = head.bytes, batch.Bytes
		rest = vector
		if _, err := rest.WriteTo(c.conn); err != nil {
			return fmt.Errorf("send produce request %d: %w", n, err)
		}
	}
}

// read takes one response per token. After the last token it has seen the last response.
func (c *produceConn) read() error {
	reply := newProduceReply(c.p.o.Topic)
	frame := make([]byte, reply.size)
	in := bufio.NewReaderSize(c.conn, 16<<10)
	n := 0
	for range c.sent {
		if _, err := io.ReadFull(in, frame); err != nil {
			return fmt.Errorf("response to produce request %d: %w", n, err)
		}
		partition := c.partition(n)
		base, err := reply.check(frame, int32(n), partition)
		if err != nil {
			return err
		}
		if err := c.ledger.Acked(partition, base); err != nil {
			return err
		}
		if c.p.measuring() {
			c.latency.Record(time.Duration(Now() - c.times[n%len(c.times)].Load()))
		}
		c.acked.Add(1)
		c.ackedBytes.Add(int64(len(c.batches[partition%len(c.batches)].Bytes)))
		n++
	}
	return nil
}
