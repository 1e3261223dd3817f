package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ConsumeOptions says what consumers read. All fields without a default must be set.
type ConsumeOptions struct {
	Addr       string
	Topic      string
	Partitions int
	Consumers  int // connections; each reads all partitions, one fetch at a time
	// Ends makes it a catch-up: every consumer reads from offset 0 to these ends, again and again until
	// Stop. Nil makes it a tail: it follows what comes in until StopAt.
	Ends []int64
	// Sent is one of the batches of which all in the topic are copies: its size of batch and place of
	// the stamp hold for all.
	Sent *Batch
	// Stamped says that latencies are to be read from the batches. They are measured from the stamp to
	// the moment when the whole batch has arrived.
	Stamped           bool
	MaxBytes          int // of one response; default 50 MiB, the Java consumer's
	PartitionMaxBytes int // default 1 MiB, the Java consumer's
	CheckEvery        int // the CRC of one batch in so many is verified; default 64
	Limit             time.Duration
}

const (
	fetchWaitMillis = 500 // of a tail, whose fetches wait for one byte
	consumeBuffer   = 256 << 10
)

func (o *ConsumeOptions) settle() error {
	if o.Partitions < 1 || o.Consumers < 1 || o.Limit <= 0 || o.Sent == nil {
		return errors.New("consume: partitions, consumers and limit must be positive, and a sent batch given")
	}
	if o.Ends != nil && len(o.Ends) != o.Partitions {
		return fmt.Errorf("consume: ends of %d partitions, the topic has %d", len(o.Ends), o.Partitions)
	}
	if len(o.Sent.Bytes) > consumeBuffer && o.Stamped {
		return fmt.Errorf("consume: stamps in batches of %d bytes are out of reach", len(o.Sent.Bytes))
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 50 << 20
	}
	if o.PartitionMaxBytes == 0 {
		o.PartitionMaxBytes = 1 << 20
	}
	if o.CheckEvery == 0 {
		o.CheckEvery = 64
	}
	return nil
}

// Consumer is a running set of consuming connections.
type Consumer struct {
	run
	o      ConsumeOptions
	conns  []*consumeConn
	target atomic.Pointer[[]int64] // where a tail ends
}

// ConsumeResult is what consumers read in their whole life, verified, and the latencies of their window.
type ConsumeResult struct {
	Total   Progress
	Checked int64 // batches whose CRC was verified
	Latency Hist  // end to end, one value per batch; batches inside the window only
}

// StartConsumer connects and starts to read. The caller must call Stop or StopAt, whatever happens.
func StartConsumer(ctx context.Context, o ConsumeOptions) (*Consumer, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	c := &Consumer{o: o}
	c.run.init(ctx)
	for i := range o.Consumers {
		conn, err := dial(ctx, o.Addr)
		if err != nil {
			return nil, errors.Join(err, c.abandon())
		}
		c.attach(conn, o.Limit)
		c.conns = append(c.conns, newConsumeConn(c, conn, i))
	}
	for _, conn := range c.conns {
		c.wg.Go(func() { c.settle(conn.consume()) })
	}
	return c, nil
}

// Read returns how much was read so far, by all consumers together.
func (c *Consumer) Read() Progress {
	var sum Progress
	for _, conn := range c.conns {
		sum.Batches += conn.batches.Load()
		sum.Records += conn.records.Load()
		sum.Bytes += conn.bytes.Load()
	}
	return sum
}

// Stop ends the reading at the next response, waits for the goroutines and closes the connections. The
// error is the first fault of the run: a result without an error has been verified.
func (c *Consumer) Stop() (*ConsumeResult, error) { return c.result(c.finish()) }

// StopAt lets every consumer of a tail read up to ends, and no further, before it ends them all.
func (c *Consumer) StopAt(ends []int64) (*ConsumeResult, error) {
	c.target.Store(&ends)
	return c.result(c.wait())
}

func (c *Consumer) result(err error) (*ConsumeResult, error) {
	if err != nil {
		return nil, err
	}
	res := &ConsumeResult{Total: c.Read()}
	for _, conn := range c.conns {
		res.Checked += conn.checked
		res.Latency.Merge(&conn.latency)
	}
	return res, nil
}

// consumeConn is one connection and its position.
type consumeConn struct {
	c    *Consumer
	conn *net.TCPConn
	in   *bufio.Reader
	spec fetchSpec
	next []int64 // offset to read next, per partition
	turn int     // partition that comes first in the next fetch, so that none starves
	corr int32

	batches, records, bytes atomic.Int64 // written by the connection's goroutine
	checked                 int64
	latency                 Hist
}

func newConsumeConn(c *Consumer, conn *net.TCPConn, index int) *consumeConn {
	cc := &consumeConn{
		c: c, conn: conn, in: bufio.NewReaderSize(conn, consumeBuffer), next: make([]int64, c.o.Partitions),
		turn: index * c.o.Partitions / c.o.Consumers,
		spec: fetchSpec{topic: c.o.Topic, maxBytes: c.o.MaxBytes, partitionMaxBytes: c.o.PartitionMaxBytes},
	}
	if c.o.Ends == nil {
		cc.spec.maxWaitMillis, cc.spec.minBytes = fetchWaitMillis, 1
	}
	return cc
}

func (c *consumeConn) consume() error {
	var request []byte
	var targets []fetchTarget
	for !c.c.stopping() {
		targets = c.targets(targets[:0])
		if len(targets) == 0 {
			if c.c.o.Ends == nil {
				return nil // a tail at its end
			}
			clear(c.next) // a catch-up starts over
			continue
		}
		c.corr++
		request = appendFetch(request[:0], c.corr, &c.spec, targets)
		if _, err := c.conn.Write(request); err != nil {
			return fmt.Errorf("send fetch request %d: %w", c.corr, err)
		}
		if err := c.response(); err != nil {
			return fmt.Errorf("response to fetch request %d: %w", c.corr, err)
		}
	}
	return nil
}

// targets lists what is still to be read.
func (c *consumeConn) targets(list []fetchTarget) []fetchTarget {
	ends := c.c.o.Ends
	if t := c.c.target.Load(); ends == nil && t != nil {
		ends = *t
	}
	for i := range c.next {
		p := (c.turn + i) % len(c.next)
		if ends == nil || c.next[p] < ends[p] {
			list = append(list, fetchTarget{p, c.next[p]})
		}
	}
	c.turn = (c.turn + 1) % len(c.next)
	return list
}

// response reads one response as it streams in.
func (c *consumeConn) response() error {
	r := frameReader{in: c.in, left: 4}
	r.left = int(r.i32())
	if corr := r.i32(); r.err == nil && corr != c.corr {
		return fmt.Errorf("%w: it answers request %d", ErrResponse, corr)
	}
	r.skip(4) // throttle time
	if code := r.i16(); code != 0 {
		return fmt.Errorf("%w: %w", ErrResponse, kerr.ErrorForCode(code))
	}
	r.skip(4) // session id
	for range r.count() {
		r.skip(int(r.i16())) // the topic: only one was asked for
		if r.err != nil {
			return r.err // the count may be anything then, two thousand million too
		}
		for range r.count() {
			if err := c.partition(&r); err != nil {
				return err
			}
		}
	}
	if r.err == nil && r.left != 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrResponse, r.left)
	}
	return r.err
}

func (c *consumeConn) partition(r *frameReader) error {
	p := int(r.i32())
	code := r.i16()
	r.skip(8 + 8 + 8) // high watermark, last stable offset, log start offset
	if aborted := r.i32(); aborted > 0 {
		r.skip(int(aborted) * 16)
	}
	r.skip(4) // preferred read replica
	size := int(r.i32())
	switch {
	case r.err != nil:
		return r.err
	case p < 0 || p >= len(c.next):
		return fmt.Errorf("%w: partition %d was not asked for", ErrResponse, p)
	case code != 0:
		return fmt.Errorf("%w: fetch of partition %d at %d: %w", ErrResponse, p, c.next[p], kerr.ErrorForCode(code))
	case size > r.left:
		return fmt.Errorf("%w: %d bytes of records in the %d left", ErrResponse, size, r.left)
	}
	for size > 0 {
		used, err := c.batch(r, p, size)
		if err != nil {
			return err
		}
		size -= used
	}
	return nil
}

// batch takes one batch, or what a broker has cut short at the end of a partition's share.
func (c *consumeConn) batch(r *frameReader, p, left int) (used int, err error) {
	if left < batchHeaderSize {
		r.skip(left)
		return left, r.err
	}
	head := r.peek(batchHeaderSize)
	if r.err != nil {
		return 0, r.err
	}
	size, count := batchSizeOf(head), countOf(head)
	if size > left {
		r.skip(left)
		return left, r.err
	}
	if base := baseOffsetOf(head); base != c.next[p] || count < 1 || size < batchHeaderSize {
		return 0, fmt.Errorf("%w: offset %d with %d records in %d bytes in partition %d, expected offset %d", ErrBatch, base, count, size, p, c.next[p])
	}
	check := c.batches.Load()%int64(c.c.o.CheckEvery) == 0 && size <= consumeBuffer
	if check || c.c.o.Stamped {
		if err := c.inspect(r.peek(size), check); r.err != nil || err != nil {
			return 0, errors.Join(r.err, err)
		}
	}
	r.skip(size)
	c.next[p] += int64(count)
	c.batches.Add(1)
	c.records.Add(int64(count))
	c.bytes.Add(int64(size))
	return size, r.err
}

// inspect looks into a batch, which is nil if it could not be read.
func (c *consumeConn) inspect(whole []byte, check bool) error {
	if whole == nil {
		return nil
	}
	if check {
		c.checked++
		if err := checkBatch(whole); err != nil {
			return err
		}
	}
	if at := c.c.o.Sent.stampAt; c.c.o.Stamped && c.c.measuring() {
		if len(whole) < at+StampSize {
			return fmt.Errorf("%w: %d bytes have no stamp", ErrBatch, len(whole))
		}
		c.latency.Record(time.Duration(Now() - int64(binary.BigEndian.Uint64(whole[at:]))))
	}
	return nil
}

// frameReader reads one response; the first error sticks, and what it returns then means nothing.
type frameReader struct {
	in   *bufio.Reader
	left int // bytes of the frame not read yet
	err  error
}

// peek returns the next n bytes without taking them. n must not exceed the buffer.
func (r *frameReader) peek(n int) []byte {
	if r.err == nil && n > r.left {
		r.err = fmt.Errorf("%w: it ends too early", ErrResponse)
	}
	if r.err != nil {
		return nil
	}
	var b []byte
	if b, r.err = r.in.Peek(n); r.err != nil {
		if errors.Is(r.err, io.EOF) {
			r.err = io.ErrUnexpectedEOF
		}
		return nil
	}
	return b
}

func (r *frameReader) skip(n int) {
	if r.err == nil && (n < 0 || n > r.left) {
		r.err = fmt.Errorf("%w: it ends too early", ErrResponse)
	}
	if r.err == nil {
		_, r.err = r.in.Discard(n)
		r.left -= n
	}
}

func (r *frameReader) i16() int16 {
	b := r.peek(2)
	if b == nil {
		return 0
	}
	v := int16(binary.BigEndian.Uint16(b))
	r.skip(2)
	return v
}

func (r *frameReader) i32() int32 {
	b := r.peek(4)
	if b == nil {
		return 0
	}
	v := int32(binary.BigEndian.Uint32(b))
	r.skip(4)
	return v
}

// count reads the length of an array, whose elements take at least a byte each.
func (r *frameReader) count() int {
	n := int(r.i32())
	if n > r.left {
		r.err = fmt.Errorf("%w: %d elements in %d bytes", ErrResponse, n, r.left)
	}
	if r.err != nil {
		return 0
	}
	return max(n, 0)
}
