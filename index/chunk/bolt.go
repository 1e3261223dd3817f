package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	boltName      = "root.bolt"
	segmentSuffix = ".zap"
)

// boltLimit is far above what scorch needs for the list of a chunk's segments.
const boltLimit = 64 << 20

// The layout of bbolt's file: pages of one size, of which the first two are metas. Little-endian here, as on
// all machines that Chronik is built for.
const (
	boltMagic      = 0xED0CDAED
	boltHeaderSize = 16 // id 8, flags 2, count 2, overflow 4
	boltMetaSize   = 64
	boltElemSize   = 16

	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltFreelist = 0x10
	boltBucket   = 0x01 // flag of a leaf's element
)

var le = binary.LittleEndian

// checkBolt looks through root.bolt before anybody maps it into memory. Its pages have no checksums, bbolt
// trusts the page numbers in them, and where those lead out of the file the process dies: a fault in a
// goroutine of scorch cannot be recovered from. It gives the names of the segments that scorch may open, since
// a damaged one is as deadly: scorch allocates what it says. A missing or empty file is no damage, only a new
// index, and no list at all.
func checkBolt(dir string) (list *boltCheck, err error) {
	data, err := vfs.ReadFile(vfs.OS{}, filepath.Join(dir, boltName), boltLimit)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return new(boltCheck), nil
	}
	if err != nil {
		return nil, err
	}
	return checkBoltBytes(data)
}

func checkBoltBytes(data []byte) (*boltCheck, error) {
	b, root, free, err := newBoltCheck(data)
	if err != nil {
		return nil, err
	}
	if err := b.tree(root); err != nil {
		return nil, err
	}
	return b, b.freelist(free)
}

// boltCheck walks the pages of one file. Every page is met once, so it ends whatever they say.
type boltCheck struct {
	data     []byte
	pageSize int
	pages    uint64 // below this number pages may exist: the high-water mark
	met      map[uint64]bool
	values   int      // elements of leaves
	segments []string // values that name one
}

// newBoltCheck reads the newer valid meta page. One of the two may be torn: that is what they are two for.
func newBoltCheck(data []byte) (b *boltCheck, root, free uint64, err error) {
	pageSize := os.Getpagesize()
	var best []byte
	for i := range 2 {
		if m := boltMeta(data, i*pageSize); m != nil && (best == nil || le.Uint64(m[48:]) > le.Uint64(best[48:])) {
			best = m
		}
	}
	if best == nil {
		return nil, 0, 0, fmt.Errorf("%s has no valid meta page", boltName)
	}
	b = &boltCheck{data: data, pageSize: pageSize, pages: le.Uint64(best[40:]), met: map[uint64]bool{0: true, 1: true}}
	if size := uint64(len(data)) / uint64(pageSize); int(le.Uint32(best[8:])) != pageSize || b.pages > size {
		return nil, 0, 0, fmt.Errorf("%s has %d of %d pages", boltName, size, b.pages)
	}
	return b, le.Uint64(best[16:]), le.Uint64(best[32:]), nil
}

func boltMeta(data []byte, at int) []byte {
	if len(data) < at+boltHeaderSize+boltMetaSize {
		return nil
	}
	m := data[at+boltHeaderSize:][:boltMetaSize]
	sum := fnv.New64a()
	sum.Write(m[:boltMetaSize-8])
	if le.Uint32(m) != boltMagic || le.Uint64(m[boltMetaSize-8:]) != sum.Sum64() {
		return nil
	}
	return m
}

// page gives page id with its overflow.
func (b *boltCheck) page(id uint64) ([]byte, error) {
	if id < 2 || id >= b.pages {
		return nil, fmt.Errorf("%s: page %d of %d", boltName, id, b.pages)
	}
	p := b.data[int(id)*b.pageSize:]
	last := id + uint64(le.Uint32(p[12:]))
	if le.Uint64(p) != id || last >= b.pages {
		return nil, fmt.Errorf("%s: page %d calls itself %d, up to %d of %d", boltName, id, le.Uint64(p), last, b.pages)
	}
	for i := id; i <= last; i++ {
		if b.met[i] {
			return nil, fmt.Errorf("%s: page %d is used twice", boltName, i)
		}
		b.met[i] = true
	}
	return p[:int(last-id+1)*b.pageSize], nil
}

func (b *boltCheck) tree(root uint64) error {
	p, err := b.page(root)
	if err != nil {
		return err
	}
	return b.elements(p)
}

// elements checks a branch or leaf and what hangs on it. p may be the page of an inline bucket, too.
func (b *boltCheck) elements(p []byte) error {
	flags, count := le.Uint16(p[8:]), int(le.Uint16(p[10:]))
	if flags != boltBranch && flags != boltLeaf || boltHeaderSize+count*boltElemSize > len(p) {
		return fmt.Errorf("%s: page %d has flags %#x and %d elements", boltName, le.Uint64(p), flags, count)
	}
	var before []byte
	for i := range count {
		e := p[boltHeaderSize+i*boltElemSize:]
		key, value, err := boltElement(e, flags == boltBranch)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("%s: page %d is not in order", boltName, le.Uint64(p))
		}
		before = key
		if flags == boltLeaf {
			b.values++
			if bytes.HasSuffix(value, []byte(segmentSuffix)) {
				b.segments = append(b.segments, string(value))
			}
		}
		switch {
		case flags == boltBranch:
			err = b.tree(le.Uint64(e[8:]))
		case le.Uint32(e) == boltBucket:
			err = b.bucket(value)
		case le.Uint32(e) != 0:
			err = fmt.Errorf("%s: element with flags %#x", boltName, le.Uint32(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// boltElement gives key and value of the element that e begins with.
func boltElement(e []byte, branch bool) (key, value []byte, err error) {
	pos, keySize, valueSize := uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), uint64(0)
	if !branch {
		pos, keySize, valueSize = uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
	}
	if pos < boltElemSize || pos+keySize+valueSize > uint64(len(e)) {
		return nil, nil, fmt.Errorf("%s: an element leads out of its page", boltName)
	}
	return e[pos:][:keySize], e[pos+keySize:][:valueSize], nil
}

// bucket checks a bucket: the page of its root and a sequence number, then the page itself if it is small.
func (b *boltCheck) bucket(value []byte) error {
	if len(value) < 16 {
		return fmt.Errorf("%s: a bucket of %d bytes", boltName, len(value))
	}
	if root := le.Uint64(value); root != 0 {
		return b.tree(root)
	}
	if len(value) < 16+boltHeaderSize {
		return fmt.Errorf("%s: an inline bucket of %d bytes", boltName, len(value))
	}
	return b.elements(value[16:])
}

// freelist checks that no page is both used and free: the next write would go over it.
func (b *boltCheck) freelist(id uint64) error {
	p, err := b.page(id)
	if err != nil {
		return err
	}
	ids, count := p[boltHeaderSize:], uint64(le.Uint16(p[10:]))
	if count == 0xFFFF { // then the true count comes first
		count, ids = le.Uint64(ids), ids[8:]
	}
	if le.Uint16(p[8:]) != boltFreelist || count > uint64(len(ids)/8) {
		return fmt.Errorf("%s: a free list of %d pages, flags %#x", boltName, count, le.Uint16(p[8:]))
	}
	for i := range int(count) {
		if free := le.Uint64(ids[8*i:]); free >= b.pages || b.met[free] {
			return fmt.Errorf("%s: page %d is free and is not", boltName, free)
		}
	}
	return nil
}
