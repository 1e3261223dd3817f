package chunk

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/blevesearch/bleve/v2/index/scorch"

	"github.com/chronik-stream/chronik/index/schema"
	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	manifestName   = "chunk.json"
	indexName      = "index"
	manifestLimit  = 16 << 20 // bytes; some KB is usual
	manifestFormat = 1

	// openEnd is the end of the newest chunk, which has none yet.
	openEnd = math.MaxInt64
)

// manifest is the content of chunk.json. While a chunk is being built only what identifies it is here: what
// it holds stands in its index, beside the documents (state).
type manifest struct {
	Format  int           `json:"format"`
	TopicID string        `json:"topic_id"`
	Base    int64         `json:"base"`
	End     int64         `json:"end"` // openEnd if it is not known
	Mapping string        `json:"mapping"`
	Config  schema.Config `json:"config"`
	Bleve   string        `json:"bleve"`
	Zap     uint32        `json:"zap"`
	Sealed  *seal         `json:"sealed,omitempty"`
}

// seal is what is fixed of a chunk that nobody writes any more.
type seal struct {
	State state              `json:"state"`
	Files map[string]fileSum `json:"files"` // of indexName, by name
}

type fileSum struct {
	Bytes int64  `json:"bytes"`
	CRC32 uint32 `json:"crc32"` // IEEE, of the whole file
}

// envelope guards the manifest: a digit that flips is still JSON.
type envelope struct {
	CRC32 uint32          `json:"crc32"` // IEEE, of Chunk as it is written
	Chunk json.RawMessage `json:"chunk"`
}

func (m *manifest) write(dir string) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	data, err := json.Marshal(envelope{CRC32: crc32.ChecksumIEEE(raw), Chunk: raw})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(vfs.OS{}, filepath.Join(dir, manifestName), data)
}

func readManifest(dir string) (*manifest, error) {
	data, err := vfs.ReadFile(vfs.OS{}, filepath.Join(dir, manifestName), manifestLimit)
	if err != nil {
		return nil, err
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(e.Chunk) != e.CRC32 {
		return nil, fmt.Errorf("%s does not match its CRC", manifestName)
	}
	m := new(manifest)
	if err := json.Unmarshal(e.Chunk, m); err != nil {
		return nil, err
	}
	if m.Format != manifestFormat || m.Base < 0 || m.End < m.Base {
		return nil, fmt.Errorf("%s of format %d over [%d, %d) makes no sense", manifestName, m.Format, m.Base, m.End)
	}
	if m.Sealed != nil && m.Sealed.State.Next != m.End {
		return nil, fmt.Errorf("%s is sealed at %d of [%d, %d)", manifestName, m.Sealed.State.Next, m.Base, m.End)
	}
	return m, nil
}

// bleveVersion is the version of Bleve that this binary is built with, as far as it knows.
var bleveVersion = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/blevesearch/bleve/v2" {
				return dep.Version
			}
		}
	}
	return ""
})

// zapVersion is the version of the segment files that Bleve writes.
var zapVersion = sync.OnceValue(func() (newest uint32) {
	for _, v := range scorch.SupportedSegmentTypeVersions("zap") {
		newest = max(newest, v)
	}
	return newest
})
