package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/chronik-stream/chronik/"

// floors is the whole import policy: what the non-test code of a room may import of this module, each
// room standing for its folder and everything below it that is not a room of its own. A new edge is a
// design decision: the commit says why.
var floors = map[string][]string{
	"internal":       {"internal"},
	"wire/record":    {"internal"},
	"wire":           {"wire/record", "internal"},
	"partition/log":  {"wire/record", "internal"},
	"partition/core": {"internal"},
	"partition":      {"partition/core", "partition/log", "wire/record", "internal"},
	"partition/sim":  {"partition/core", "raftmeta", "internal"},
	"raftmeta":       {"internal"},
	"cluster":        {"raftmeta", "wire", "internal"},
	"groups":         {"raftmeta", "internal"},
	"index":          {"index/chunk", "index/dsl", "index/exec", "index/schema", "partition", "partition/log", "wire/record", "internal"},
	"broker": {
		"httpapi", "httpapi/search", "groups", "index", "index/dsl", "index/exec", "index/schema", "cluster", "partition", "partition/core",
		"partition/log", "raftmeta", "wire", "wire/record", "internal",
	},
	"httpapi":        {"internal"},
	"httpapi/search": {"index", "index/exec", "index/dsl", "index/schema", "internal"},
	"index/schema":   {"internal"},
	"index/chunk":    {"index/schema", "internal"},
	"index/exec":     {"index/dsl", "index/schema", "internal"},
	"index/dsl":      {"internal"},
	"cmd":            {"broker", "partition/log", "wire/record", "internal"},
	"integration":    {"integration", "internal"},
	"bench":          {"bench", "integration", "internal"},
}

// roomOf is the longest room that holds the package directory dir.
func roomOf(dir string) (string, bool) {
	best := ""
	for room := range floors {
		if (dir == room || strings.HasPrefix(dir, room+"/")) && len(room) > len(best) {
			best = room
		}
	}
	return best, best != ""
}

func TestImportsOnlyGoDown(t *testing.T) {
	root := filepath.Join("..", "..")
	eachGoFile(t, root, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return // a test may build its world from the rooms above it
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		room, ok := roomOf(dir)
		if !ok {
			t.Errorf("%s: %q is no room of the house: give it a floor", path, dir)
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module)
			if !ours {
				continue
			}
			to, ok := roomOf(imported)
			if !ok || (to != room && !slices.Contains(floors[room], to)) {
				t.Errorf("%s imports %s: %q may not know %q", path, imported, room, to)
			}
		}
	})
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	root := filepath.Join("..", "..")
	documented := map[string]bool{}
	eachGoFile(t, root, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			if dir := filepath.Dir(path); !documented[dir] {
				documented[dir] = false // a folder of tests alone counts too
			}
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || len(file.Doc.Text()) > 40
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment worth the name", dir)
		}
	}
}

// eachGoFile calls visit with the path, relative to root, of every Go file of the module.
func eachGoFile(t *testing.T, root string, visit func(path string)) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
			return filepath.SkipDir
		}
		if entry.Type().IsRegular() && strings.HasSuffix(name, ".go") {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found++
			visit(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		wd, _ := os.Getwd()
		t.Fatalf("no Go files found from %s: the test looks at the wrong place", wd)
	}
}
