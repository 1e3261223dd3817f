package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// This file writes and reads the requests of Kafka 0.8 byte by byte: message sets of magic 0, and no library between
// the test and the wire that could share a mistake with the broker.

// wireBuf builds a request body.
type wireBuf []byte

func (b *wireBuf) i8(v int8)   { *b = append(*b, byte(v)) }
func (b *wireBuf) i16(v int16) { *b = binary.BigEndian.AppendUint16(*b, uint16(v)) }
func (b *wireBuf) i32(v int32) { *b = binary.BigEndian.AppendUint32(*b, uint32(v)) }
func (b *wireBuf) i64(v int64) { *b = binary.BigEndian.AppendUint64(*b, uint64(v)) }

func (b *wireBuf) str(s string) {
	b.i16(int16(len(s)))
	*b = append(*b, s...)
}

// bytes writes an int32 length, −1 for nil.
func (b *wireBuf) bytes(p []byte) {
	if p == nil {
		b.i32(-1)
		return
	}
	b.i32(int32(len(p)))
	*b = append(*b, p...)
}

var errShort = errors.New("the response ends too early")

// wireReader takes a response apart; the first read past its end sticks.
type wireReader struct {
	b   []byte
	err error
}

func (r *wireReader) next(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.err = errShort
		return make([]byte, 8)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *wireReader) i16() int16 { return int16(binary.BigEndian.Uint16(r.next(2))) }
func (r *wireReader) i32() int32 { return int32(binary.BigEndian.Uint32(r.next(4))) }
func (r *wireReader) i64() int64 { return int64(binary.BigEndian.Uint64(r.next(8))) }

func (r *wireReader) str() string {
	if n := int(r.i16()); n >= 0 {
		return string(r.next(n))
	}
	return ""
}

func (r *wireReader) bytes() []byte {
	if n := int(r.i32()); n >= 0 {
		return r.next(n)
	}
	return nil
}

// count reads an array's length.
func (r *wireReader) count() int {
	n := int(r.i32())
	if n < 0 || n > len(r.b) {
		r.err = errShort
		return 0
	}
	return n
}

// rawConn is one connection with one request at a time.
type rawConn struct {
	net.Conn
	corr int32
}

const rawDeadline = 15 * time.Second

func dialRaw(addr string) (*rawConn, error) {
	conn, err := net.DialTimeout("tcp", addr, rawDeadline)
	return &rawConn{Conn: conn}, err
}

// frame is a whole request: length, header v1, body.
func frame(key, version int16, corr int32, body []byte) []byte {
	var h wireBuf
	h.i16(key)
	h.i16(version)
	h.i32(corr)
	h.str("raw")
	out := binary.BigEndian.AppendUint32(nil, uint32(len(h)+len(body)))
	return append(append(out, h...), body...)
}

func (c *rawConn) send(key, version int16, body []byte) error {
	c.corr++
	if err := c.SetDeadline(time.Now().Add(rawDeadline)); err != nil {
		return err
	}
	_, err := c.Write(frame(key, version, c.corr, body))
	return err
}

// receive reads the response to the latest request.
func (c *rawConn) receive() (*wireReader, error) {
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > 64<<20 {
		return nil, fmt.Errorf("a response of %d bytes", size)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != c.corr {
		return nil, fmt.Errorf("correlation id %d, want %d", got, c.corr)
	}
	body := make([]byte, size-4)
	_, err := io.ReadFull(c, body)
	return &wireReader{b: body}, err
}

func (c *rawConn) call(key, version int16, body []byte) (*wireReader, error) {
	if err := c.send(key, version, body); err != nil {
		return nil, err
	}
	return c.receive()
}

// The API keys of 0.8.
const (
	keyProduce, keyFetch, keyListOffsets, keyMetadata = 0, 1, 2, 3
	keyOffsetCommit, keyOffsetFetch, keyCoordinator   = 8, 9, 10
)

// rawCode is an error code in a response.
type rawCode int16

func (c rawCode) Error() string { return fmt.Sprintf("error code %d", int16(c)) }

// orCode is err or, if that is nil, the code as an error.
func orCode(err error, code int16) error {
	if err != nil || code == 0 {
		return err
	}
	return rawCode(code)
}

// rawTopic is what the metadata say of a topic.
type rawTopic struct {
	partitions int
	leader     string // of partition 0, host:port
}

// metadataV0 returns each topic that has no error. No names means all topics.
func (c *rawConn) metadataV0(topics ...string) (map[string]rawTopic, error) {
	var body wireBuf
	body.i32(int32(len(topics)))
	for _, t := range topics {
		body.str(t)
	}
	r, err := c.call(keyMetadata, 0, body)
	if err != nil {
		return nil, err
	}
	brokers := map[int32]string{}
	for range r.count() {
		id, host, port := r.i32(), r.str(), r.i32()
		brokers[id] = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	found := map[string]rawTopic{}
	for range r.count() {
		code, name := r.i16(), r.str()
		topic := rawTopic{partitions: r.count()}
		for range topic.partitions {
			code = max(code, r.i16())
			if partition, leader := r.i32(), r.i32(); partition == 0 {
				topic.leader = brokers[leader]
			}
			for range r.count() {
				r.i32() // replicas
			}
			for range r.count() {
				r.i32() // in-sync replicas
			}
		}
		if code == 0 {
			found[name] = topic
		}
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("%d bytes after the metadata", len(r.b))
	}
	return found, r.err
}

// produceV0 sends a set to partition 0 and returns its base offset. acks 0 is not answered.
func (c *rawConn) produceV0(topic string, acks int16, set []byte) (int64, error) {
	var body wireBuf
	body.i16(acks)
	body.i32(10_000) // timeout, ms
	body.i32(1)
	body.str(topic)
	body.i32(1)
	body.i32(0)
	body.bytes(set)
	if acks == 0 {
		return 0, c.send(keyProduce, 0, body)
	}
	r, err := c.call(keyProduce, 0, body)
	if err != nil {
		return 0, err
	}
	r.count()
	name := r.str()
	r.count()
	partition, code, base := r.i32(), r.i16(), r.i64()
	if r.err != nil || name != topic || partition != 0 || len(r.b) > 0 {
		return 0, fmt.Errorf("a malformed produce response: %s-%d, %d bytes left, %v", name, partition, len(r.b), r.err)
	}
	return base, orCode(nil, code)
}

// fetchV0 returns partition 0 from an offset on.
func (c *rawConn) fetchV0(topic string, from int64) ([]rec, error) {
	var body wireBuf
	body.i32(-1)  // replica
	body.i32(500) // max wait, ms
	body.i32(1)   // min bytes
	body.i32(1)
	body.str(topic)
	body.i32(1)
	body.i32(0)
	body.i64(from)
	body.i32(1 << 20)
	r, err := c.call(keyFetch, 0, body)
	if err != nil {
		return nil, err
	}
	r.count()
	r.str()
	r.count()
	_, code, hw := r.i32(), r.i16(), r.i64()
	set := r.bytes()
	if err := orCode(r.err, code); err != nil || len(r.b) > 0 {
		return nil, fmt.Errorf("fetch: high watermark %d, %d bytes left, %w", hw, len(r.b), err)
	}
	return parseRawSet(set)
}

// offsetsV0 asks for up to ten offsets before a time: −1 the end, −2 the start.
func (c *rawConn) offsetsV0(topic string, time int64) ([]int64, error) {
	var body wireBuf
	body.i32(-1)
	body.i32(1)
	body.str(topic)
	body.i32(1)
	body.i32(0)
	body.i64(time)
	body.i32(10)
	r, err := c.call(keyListOffsets, 0, body)
	if err != nil {
		return nil, err
	}
	r.count()
	r.str()
	r.count()
	_, code := r.i32(), r.i16()
	offsets := make([]int64, r.count())
	for i := range offsets {
		offsets[i] = r.i64()
	}
	return offsets, orCode(r.err, code)
}

// coordinatorV0 is ConsumerMetadata, as 0.8 called it. It returns the coordinator's host:port.
func (c *rawConn) coordinatorV0(group string) (string, error) {
	var body wireBuf
	body.str(group)
	r, err := c.call(keyCoordinator, 0, body)
	if err != nil {
		return "", err
	}
	code, node, host, port := r.i16(), r.i32(), r.str(), r.i32()
	if err := orCode(r.err, code); err != nil {
		return "", err
	}
	if node < 0 || host == "" || port <= 0 {
		return "", fmt.Errorf("the coordinator is node %d at %q:%d", node, host, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// commit is OffsetCommit v0 or v1 of a group without members.
func (c *rawConn) commit(version int16, group, topic string, offset int64) error {
	var body wireBuf
	body.str(group)
	if version == 1 {
		body.i32(-1) // generation
		body.str("") // member
	}
	body.i32(1)
	body.str(topic)
	body.i32(1)
	body.i32(0)
	body.i64(offset)
	if version == 1 {
		body.i64(-1) // timestamp
	}
	body.str("note")
	r, err := c.call(keyOffsetCommit, version, body)
	if err != nil {
		return err
	}
	r.count()
	r.str()
	r.count()
	_, code := r.i32(), r.i16()
	return orCode(r.err, code)
}

// committed is OffsetFetch v0 or v1.
func (c *rawConn) committed(version int16, group, topic string) (int64, error) {
	var body wireBuf
	body.str(group)
	body.i32(1)
	body.str(topic)
	body.i32(1)
	body.i32(0)
	r, err := c.call(keyOffsetFetch, version, body)
	if err != nil {
		return 0, err
	}
	r.count()
	r.str()
	r.count()
	_, offset, meta, code := r.i32(), r.i64(), r.str(), r.i16()
	if err := orCode(r.err, code); err != nil {
		return 0, err
	}
	if meta != "note" {
		return 0, fmt.Errorf("offset fetch v%d: metadata %q", version, meta)
	}
	return offset, nil
}
