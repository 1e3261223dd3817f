package raftmeta

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/chronik-stream/chronik/internal/uuid"
)

// A snapshot is the whole image as a stream:
//
//	magic "CHRNMETA", format version (1 byte)
//	records: type (1 byte), length (uvarint), that many bytes
//	end: type recordEnd, then CRC-32C of everything before it and of the type (4 bytes, little endian)
//
// The header record comes first and says what the state sum of the whole must be, so a snapshot
// that was decoded into anything else than what was captured is refused.
const (
	snapshotMagic   = "CHRNMETA"
	snapshotVersion = 1
	// maxRecordBytes bounds one record: a topic of the most partitions, or a group of the most members.
	maxRecordBytes = 256 << 20
	// offsetsPerRecord keeps the records of large groups small.
	offsetsPerRecord = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshotHeader holds the scalars of an image.
type snapshotHeader struct {
	index, term  uint64
	clusterID    uuid.ID
	featureLevel uint16
	producerID   int64
	shards       [GroupShards]Shard
	audit        Audit
	sum          stateSum
}

func (h *snapshotHeader) fields(c *coder) {
	c.uint64(&h.index)
	c.uint64(&h.term)
	c.id(&h.clusterID)
	level := int32(h.featureLevel)
	c.int32(&level)
	h.featureLevel = uint16(level)
	c.int64(&h.producerID)
	for i := range h.shards {
		shardFields(c, &h.shards[i])
	}
	c.uint64(&h.audit.Index)
	c.fixed(h.audit.Hash[:])
	for i := range h.sum {
		c.uint64(&h.sum[i])
	}
}

// offsetsRecord holds some of the offsets of one group.
type offsetsRecord struct {
	tenant, group string
	offsets       []CommittedOffset
}

func (r *offsetsRecord) fields(c *coder) {
	c.string(&r.tenant, maxTenant)
	c.name(&r.group)
	list(c, &r.offsets, 16+6, offsetFields)
}

// sequenceRecord is how far the registered run of a broker has come with its stamped entries.
type sequenceRecord struct {
	broker   int32
	sequence uint64
}

func (r *sequenceRecord) fields(c *coder) {
	c.int32(&r.broker)
	c.uint64(&r.sequence)
}

// snapshotWriter writes records and sums them up. The first error sticks.
type snapshotWriter struct {
	w   *bufio.Writer
	crc uint32
	buf []byte
	err error
}

func (s *snapshotWriter) write(b []byte) {
	if s.err == nil {
		s.crc = crc32.Update(s.crc, castagnoli, b)
		_, s.err = s.w.Write(b)
	}
}

func (s *snapshotWriter) record(kind byte, fields func(c *coder)) {
	c := coder{buf: s.buf[:0]}
	fields(&c)
	if s.err == nil {
		s.err = c.err
	}
	s.buf = c.buf
	head := [binary.MaxVarintLen64 + 1]byte{kind}
	s.write(head[:1+binary.PutUvarint(head[1:], uint64(len(c.buf)))])
	s.write(c.buf)
}

// writeSnapshot writes an image to w. It holds no lock and takes as long as it takes.
func writeSnapshot(w io.Writer, im *Image) error {
	s := &snapshotWriter{w: bufio.NewWriterSize(w, 256<<10)}
	s.write(append([]byte(snapshotMagic), snapshotVersion))
	header := snapshotHeader{
		im.index, im.term, im.clusterID, im.featureLevel, im.nextProducerID, im.shards, im.audit, im.sum,
	}
	s.record(recordHeader, header.fields)
	for b := range im.Brokers() {
		s.record(recordBroker, func(c *coder) { brokerFields(c, b) })
		if r := (sequenceRecord{b.ID, im.sequence(b.ID)}); r.sequence != 0 {
			s.record(recordSequence, r.fields)
		}
	}
	it := im.configs.Root().Iterator()
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		key := ConfigKey{ResourceType(k[0]), string(k[1:])}
		s.record(recordConfig, func(c *coder) { configFields(c, &key, &v) })
	}
	for t := range im.AllTopics() {
		s.record(recordTopic, func(c *coder) { topicFields(c, t) })
	}
	for t := range im.Tombstones() {
		s.record(recordTombstone, func(c *coder) { tombstoneFields(c, t) })
	}
	for g := range im.AllGroups() {
		s.record(recordGroup, func(c *coder) { groupFields(c, g) })
		s.groupOffsets(im, g)
	}
	s.write([]byte{recordEnd})
	s.write(binary.LittleEndian.AppendUint32(nil, s.crc))
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err != nil {
		return fmt.Errorf("write snapshot of index %d: %w", im.index, s.err)
	}
	return nil
}

// groupOffsets writes a group's offsets. Every offset belongs to a stored group, so none is missed.
func (s *snapshotWriter) groupOffsets(im *Image, g *Group) {
	r := offsetsRecord{tenant: g.Tenant, group: g.ID}
	flush := func() {
		if len(r.offsets) > 0 {
			s.record(recordOffsets, r.fields)
			r.offsets = r.offsets[:0]
		}
	}
	for o := range im.Offsets(g.Tenant, g.ID) {
		if r.offsets = append(r.offsets, o); len(r.offsets) == offsetsPerRecord {
			flush()
		}
	}
	flush()
}

// snapshotReader reads what snapshotWriter wrote.
type snapshotReader struct {
	r   *bufio.Reader
	crc uint32
	buf []byte
}

// ReadByte is binary.ReadUvarint's way in.
func (s *snapshotReader) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.crc = crc32.Update(s.crc, castagnoli, []byte{b})
	}
	return b, err
}

// read returns the next n bytes, valid until the next call. What it allocates grows with what arrives,
// not with what a damaged length claims.
func (s *snapshotReader) read(n int) ([]byte, error) {
	const step = 1 << 20
	s.buf = s.buf[:0]
	for len(s.buf) < n {
		from := len(s.buf)
		s.buf = append(s.buf, make([]byte, min(step, n-from))...)
		if _, err := io.ReadFull(s.r, s.buf[from:]); err != nil {
			return nil, err
		}
	}
	s.crc = crc32.Update(s.crc, castagnoli, s.buf)
	return s.buf, nil
}

// record returns the next record, recordEnd after the last.
func (s *snapshotReader) record() (kind byte, body []byte, err error) {
	kind, err = s.ReadByte()
	if err != nil || kind == recordEnd {
		return kind, nil, err
	}
	n, err := binary.ReadUvarint(s)
	if err != nil {
		return 0, nil, err
	}
	if n > maxRecordBytes {
		return 0, nil, fmt.Errorf("%w: record of %d bytes", ErrCorrupt, n)
	}
	body, err = s.read(int(n))
	return kind, body, err
}

// readSnapshot builds the image that r holds. Either all of it is right or there is an error: a
// newer format (ErrUnsupportedCommand), damage (ErrCorrupt), or one from reading.
func readSnapshot(r io.Reader) (*Image, error) {
	s := &snapshotReader{r: bufio.NewReaderSize(r, 256<<10)}
	intro, err := s.read(len(snapshotMagic) + 1)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	switch {
	case string(intro[:len(snapshotMagic)]) != snapshotMagic:
		return nil, fmt.Errorf("%w: not a metadata snapshot", ErrCorrupt)
	case intro[len(snapshotMagic)] != snapshotVersion:
		return nil, fmt.Errorf("%w: snapshot format %d", ErrUnsupportedCommand, intro[len(snapshotMagic)])
	}
	kind, body, err := s.record()
	if err != nil {
		return nil, fmt.Errorf("read snapshot header: %w", err)
	}
	var header snapshotHeader
	if err := decodeInto(body, header.fields); err != nil || kind != recordHeader {
		return nil, fmt.Errorf("%w: snapshot header", ErrCorrupt)
	}
	e := newEdit(newImage())
	e.dirty.all = true // nobody asks, so nothing needs to be remembered
	for {
		kind, body, err := s.record()
		if err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
		if kind == recordEnd {
			break
		}
		if err := e.load(kind, body); err != nil {
			return nil, fmt.Errorf("load snapshot: %w", err)
		}
	}
	want := s.crc
	trailer, err := s.read(4)
	if err != nil {
		return nil, fmt.Errorf("read snapshot checksum: %w", err)
	}
	if got := binary.LittleEndian.Uint32(trailer); got != want {
		return nil, fmt.Errorf("%w: snapshot checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	return header.finish(e)
}

// finish puts the scalars into the loaded image, after the state sum has proved it whole.
func (h *snapshotHeader) finish(e *edit) (*Image, error) {
	im := e.done()
	if im.sum != h.sum {
		return nil, fmt.Errorf("%w: snapshot's objects do not add up to its state sum", ErrCorrupt)
	}
	im.index, im.term = h.index, h.term
	im.clusterID, im.featureLevel = h.clusterID, h.featureLevel
	im.nextProducerID, im.shards, im.audit = h.producerID, h.shards, h.audit
	return im, nil
}

func decodeInto(body []byte, fields func(c *coder)) error {
	c := coder{buf: body, decoding: true}
	fields(&c)
	return c.finish()
}

// load adds one record. Objects that are there already are refused: they would be counted twice.
func (e *edit) load(kind byte, body []byte) error {
	switch kind {
	case recordBroker:
		b := &Broker{}
		return loadObject(body, func(c *coder) { brokerFields(c, b) },
			func() bool { _, ok := e.broker(b.ID); return ok }, func() { e.putBroker(b) })
	case recordSequence:
		var r sequenceRecord
		return loadObject(body, r.fields, func() bool {
			_, ok := e.broker(r.broker)
			return !ok || r.sequence == 0 || e.sequence(r.broker) != 0
		}, func() { e.putSequence(r.broker, r.sequence) })
	case recordConfig:
		var key ConfigKey
		var values map[string]string
		return loadObject(body, func(c *coder) { configFields(c, &key, &values) },
			func() bool { return len(values) == 0 || e.config(key) != nil }, func() { e.putConfig(key, values) })
	case recordTopic:
		t := &Topic{}
		return loadObject(body, func(c *coder) { topicFields(c, t) },
			func() bool { return e.hasTopic(t) || !validTenant(t.Tenant) }, func() { e.putTopic(t) })
	case recordTombstone:
		t := &Tombstone{}
		return loadObject(body, func(c *coder) { tombstoneFields(c, t) },
			func() bool { _, ok := e.tombstones.get(t.ID[:]); return ok }, func() { e.putTombstone(t) })
	case recordGroup:
		g := &Group{}
		return loadObject(body, func(c *coder) { groupFields(c, g) },
			func() bool { _, ok := e.group(g.Tenant, g.ID); return ok || !validTenant(g.Tenant) }, func() { e.putGroup(g) })
	case recordOffsets:
		return e.loadOffsets(body)
	}
	return fmt.Errorf("%w: snapshot record of type %d", ErrUnsupportedCommand, kind)
}

func loadObject(body []byte, fields func(c *coder), refuse func() bool, put func()) error {
	if err := decodeInto(body, fields); err != nil {
		return err
	}
	if refuse() {
		return fmt.Errorf("%w: object appears twice or is impossible", ErrCorrupt)
	}
	put()
	return nil
}

// hasTopic reports whether any of a topic's keys is taken.
func (e *edit) hasTopic(t *Topic) bool {
	_, byName := e.topics.get(appendNameKey(nil, t.Tenant, t.Name))
	_, byID := e.topicIDs.get(t.ID[:])
	_, similar := e.normalised.get(appendNormalisedKey(nil, t.Tenant, t.Name))
	return byName || byID || similar
}

func (e *edit) loadOffsets(body []byte) error {
	var r offsetsRecord
	if err := decodeInto(body, r.fields); err != nil {
		return err
	}
	if _, ok := e.group(r.tenant, r.group); !ok {
		return fmt.Errorf("%w: offsets without their group", ErrCorrupt)
	}
	for _, o := range r.offsets {
		if _, ok := e.offset(r.tenant, r.group, o.TopicID, o.Partition); ok {
			return fmt.Errorf("%w: offset appears twice", ErrCorrupt)
		}
		e.putOffset(r.tenant, r.group, o)
	}
	return nil
}
