package dsl

import (
	"path/filepath"
	"strings"
	"testing"
)

func BenchmarkParseSearch(b *testing.B) {
	paths, err := filepath.Glob("testdata/search/*.json")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range paths {
		body := readFile(b, path)
		b.Run("body="+strings.TrimSuffix(filepath.Base(path), ".json"), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseSearch(body, DefaultLimits(), testNow); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
