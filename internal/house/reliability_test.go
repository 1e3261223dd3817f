package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestInvariantsNameTheirTests: the table of invariants in docs/reliability.md has a row for each, and every
// test that it names is in the package that it names.
func TestInvariantsNameTheirTests(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), "<!-- invariants: begin -->")
	table, _, ends := strings.Cut(rest, "<!-- invariants: end -->")
	if !begins || !ends {
		t.Fatal("docs/reliability.md has no table of invariants between its marks")
	}
	tests := testsByPackage(t, root)
	quoted := regexp.MustCompile("`[^`]+`")
	named, rows := 0, 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| I") {
			continue
		}
		rows++
		pkg := ""
		for _, word := range quoted.FindAllString(line, -1) {
			word = strings.Trim(word, "`")
			switch {
			case !strings.HasPrefix(word, "Test"):
				pkg = word
			case !tests[pkg][word]:
				t.Errorf("%s: package %q has no %s", strings.TrimSpace(line[:6]), pkg, word)
			default:
				named++
			}
		}
	}
	if rows < 46 || named < 60 {
		t.Errorf("the table has %d rows that name %d tests: was it cut?", rows, named)
	}
}

// testsByPackage lists the names of the test functions of every package, by its folder.
func testsByPackage(t *testing.T, root string) map[string]map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	tests := map[string]map[string]bool{}
	eachGoFile(t, root, func(path string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if tests[dir] == nil {
			tests[dir] = map[string]bool{}
		}
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[dir][match[1]] = true
		}
	})
	return tests
}
