package broker

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/chronik-stream/chronik/wire"
)

var update = flag.Bool("update", false, "rewrite the generated parts of README.md and docs/configuration.md")

// TestAPIsTableInREADME holds the table of APIs in the README to what is registered.
func TestAPIsTableInREADME(t *testing.T) {
	holdGenerated(t, filepath.Join("..", "README.md"), "apis", apisTable(t))
}

// betweenBrokers are the keys that Kafka 2.8 advertises to clients although only brokers send them.
var betweenBrokers = map[int16]bool{4: true, 5: true, 6: true, 7: true, 27: true, 56: true}

func apisTable(t *testing.T) string {
	registry, err := wire.NewRegistry((&Broker{}).APIs())
	if err != nil {
		t.Fatal(err)
	}
	old := kversion.V2_8_0()
	var out strings.Builder
	out.WriteString("| key | API | versions | Kafka 2.8 | code |\n| --: | --- | :-: | :-: | --- |\n")
	for _, r := range registry.Ranges() {
		then := "–"
		if newest, ok := old.LookupMaxKeyVersion(r.Key); ok {
			then = fmt.Sprintf("0–%d", newest)
		}
		file := handlerFile(t, r.Key)
		fmt.Fprintf(&out, "| %d | %s | %d–%d | %s | [%s](broker/%s) |\n", r.Key, kmsg.NameForKey(r.Key), r.Min, r.Max, then, file, file)
	}
	var absent []string
	for key := range int16(kmsg.MaxKey + 1) {
		_, served := registry.Lookup(key)
		if _, in28 := old.LookupMaxKeyVersion(key); in28 && !served && !betweenBrokers[key] {
			absent = append(absent, fmt.Sprintf("%s (%d)", kmsg.NameForKey(key), key))
		}
	}
	fmt.Fprintf(&out, "\n%d APIs. Client-facing APIs of Kafka 2.8 that are not served: %s.\n", len(registry.Ranges()), strings.Join(absent, ", "))
	return out.String()
}

// handlerFile finds the numbered file of a key.
func handlerFile(t *testing.T, key int16) string {
	matches, err := filepath.Glob(fmt.Sprintf("%02d_*.go", key))
	if err != nil || len(matches) == 0 {
		t.Fatalf("api key %d has no file %02d_*.go: %v", key, key, err)
	}
	shortest := matches[0]
	for _, m := range matches[1:] {
		if !strings.HasSuffix(m, "_test.go") && len(m) < len(shortest) {
			shortest = m
		}
	}
	return shortest
}

// holdGenerated compares the part of a document between its markers with what it should be, or rewrites
// it with -update.
func holdGenerated(t *testing.T, path, name, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->"
	head, rest, found := strings.Cut(string(data), begin)
	have, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no part between %q and %q", path, strings.TrimSpace(begin), end)
	}
	want = "\n" + want + "\n"
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s: the part %q is not up to date: run `go test ./broker -run 'InREADME|InDocs' -update`\n%s", path, name, want)
	}
	if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
