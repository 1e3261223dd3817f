package schema

import (
	"fmt"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
)

// benchFields map all seven fields of benchRecord.
const benchFields = "level:keyword,service:keyword,msg:text,latency_ms:long,status:long,ts:date,user.id:keyword"

// benchRecord is a log line of 284 bytes as JSON, each one a little different.
func benchRecord(i int) Record {
	value := fmt.Appendf(nil, `{"level":"%s","service":"checkout-%03d","msg":"%s request %08x took longer than expected while talking to upstream `+
		`payment-gateway, retrying with backoff after connection reset by peer","latency_ms":%05d,"status":%d,"ts":"2026-01-01T%02d:%02d:%02d.%03dZ","user":{"id":"u-%08d"}}`,
		[]string{"info", "warn"}[i&1], i%40, []string{"POST", "PUT_"}[i%2], i*2654435761&0xffffffff, i*7919%90000+10000, 200+i%300,
		i/3600%24, i/60%60, i%60, i%1000, i*31337%100000000)
	return Record{Offset: int64(i), Timestamp: 1767225600000 + int64(i), Key: value[len(value)-13 : len(value)-3], Value: value}
}

func benchRecords(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = benchRecord(i)
	}
	return records
}

// BenchmarkBuild is what the indexer pays for a record: build makes the document, analyze is Bleve's part of
// our code, and index is all of it with scorch's own work, in batches of 1,000.
func BenchmarkBuild(b *testing.B) {
	records := benchRecords(1000)
	for name, fields := range map[string]string{"fields": benchFields, "fields+value": benchFields + ",_value:text"} {
		m := newMapping(b, map[string]string{KeyFields: fields})
		b.Run("build/"+name, func(b *testing.B) {
			builder := m.NewBuilder()
			b.SetBytes(int64(len(records[0].Value)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				builder.Build(&records[i%len(records)])
			}
		})
		b.Run("analyze/"+name, func(b *testing.B) {
			builder := m.NewBuilder()
			b.SetBytes(int64(len(records[0].Value)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				doc, _ := builder.Build(&records[i%len(records)])
				for _, f := range doc.Fields {
					f.Analyze()
				}
			}
		})
		b.Run("index/"+name, func(b *testing.B) { benchmarkIndex(b, m, records) })
	}
}

func benchmarkIndex(b *testing.B, m *Mapping, records []Record) {
	idx, err := bleve.NewUsing("", m.IndexMapping(), scorch.Name, scorch.Name, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer idx.Close()
	builder, batch := m.NewBuilder(), idx.NewBatch()
	b.SetBytes(int64(len(records[0].Value)))
	for i := 0; b.Loop(); i++ {
		r := records[i%len(records)]
		r.Offset = int64(i)
		doc, _ := builder.Build(&r)
		if err := batch.IndexAdvanced(doc); err != nil {
			b.Fatal(err)
		}
		if batch.Size() == len(records) {
			if err := idx.Batch(batch); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
	}
}

func TestBenchRecordsAreWhatTheySay(t *testing.T) {
	m := newMapping(t, map[string]string{KeyFields: benchFields})
	for _, r := range benchRecords(1000) {
		if doc, skipped := m.NewBuilder().Build(&r); len(r.Value) != 284 || skipped != (Skipped{}) || len(doc.Fields) != 14 {
			t.Fatalf("%d bytes, skipped %v, %d fields: %s", len(r.Value), skipped, len(doc.Fields), r.Value)
		}
	}
}
