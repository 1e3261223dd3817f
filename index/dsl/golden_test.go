package dsl

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the bodies under testdata read as")

// Each body of testdata, as clients send them, beside the tree it reads as.
func TestBodiesOfClients(t *testing.T) {
	for _, path := range bodies(t, "testdata/search/*.json") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s, err := ParseSearch(readFile(t, path), DefaultLimits(), testNow)
			if err != nil {
				t.Fatal(err)
			}
			checkSearch(t, s)
			checkGolden(t, strings.TrimSuffix(path, ".json")+".golden", dump(s))
		})
	}
}

func TestMultiSearchesOfClients(t *testing.T) {
	for _, path := range bodies(t, "testdata/msearch/*.ndjson") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			searches, err := ParseMultiSearch(url.Values{"max_concurrent_shard_requests": {"5"}}, readFile(t, path), DefaultLimits(), testNow)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, strings.TrimSuffix(path, ".ndjson")+".golden", dump(searches))
		})
	}
}

func bodies(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing at %s: %v", pattern, err)
	}
	return paths
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, path)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
