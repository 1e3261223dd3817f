package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// operations are the matrix's columns, in the order in which a row runs them.
var operations = []struct{ name, title string }{
	{"create", "create topic"},
	{"list", "list topics"},
	{"describe", "describe"},
	{"config", "alter config"},
	{"produce", "produce"},
	{"consume", "consume"},
	{"group", "group, rebalance"},
	{"resume", "commit, resume"},
	{"time", "seek by time"},
	{"groups", "describe groups"},
	{"delete", "delete topic"},
}

// cell is one operation of one client.
type cell struct {
	State  string `json:"state"`  // ok, failed, lacks (the client has no such operation), missing (it never reported)
	Detail string `json:"detail"` // the codecs, the error or the reason
	Millis int64  `json:"ms"`
}

// row collects the cells of one client. Its methods may be called from any goroutine of the row's subtest.
type row struct {
	Name  string          `json:"client"`
	Cells map[string]cell `json:"cells"`
	Took  int64           `json:"ms"`

	prefix string     // of its topics
	t      *testing.T // of the row's subtest, set when that starts
	mu     sync.Mutex // guards Cells
}

func (r *row) set(op string, c cell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Cells[op] = c
	if c.State == "failed" {
		r.t.Errorf("%s: %s", op, c.Detail)
	}
}

// lacksError says that a client has no such operation, and why. It is no failure.
type lacksError string

func (e lacksError) Error() string { return string(e) }

// run does one operation and records how it went. It reports whether the row may go on.
func (r *row) run(op string, do func() (detail string, err error)) bool {
	began := time.Now()
	detail, err := do()
	took := time.Since(began).Milliseconds()
	switch err := err.(type) {
	case nil:
		r.set(op, cell{State: "ok", Detail: detail, Millis: took})
	case lacksError:
		r.set(op, cell{State: "lacks", Detail: string(err), Millis: took})
	default:
		r.set(op, cell{State: "failed", Detail: err.Error(), Millis: took})
		return false
	}
	return true
}

// close turns what was never reported into failures: a row that stops half-way has not passed.
func (r *row) close(began time.Time) {
	r.Took = time.Since(began).Milliseconds()
	for _, op := range operations {
		if _, ok := r.Cells[op.name]; !ok {
			r.Cells[op.name] = cell{State: "missing"}
			r.t.Errorf("%s: the client never reported on it", op.name)
		}
	}
}

// matrix is the result of one run of all clients.
type matrix struct {
	Rows []*row `json:"rows"`
}

func (m *matrix) row(name, prefix string) *row {
	r := &row{Name: name, prefix: prefix, Cells: map[string]cell{}}
	m.Rows = append(m.Rows, r)
	return r
}

// markdown is docs/clients.md: the same bytes for the same outcome, so without times.
func (m *matrix) markdown() string {
	var b strings.Builder
	b.WriteString("# Clients\n\n")
	b.WriteString("What each client was seen to do against Chronik: against one node (`TestClients`), and against three that keep three\n")
	b.WriteString("replicas of every topic, `min.insync.replicas=2`, where a client is told of a single node, another one from row to\n")
	b.WriteString("row, and finds the leaders by itself (`TestClientsOnThreeNodes`). There is one table because both runs must come to\n")
	b.WriteString("it: `go test ./integration -run TestClients -update` writes this file, and a run of either that differs from it\n")
	b.WriteString("fails. `–` means that the client has no such operation (the notes say why).\n\n")
	b.WriteString("| client |")
	for _, op := range operations {
		fmt.Fprintf(&b, " %s |", op.title)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(operations)) + "\n")
	var notes []string
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "| %s |", r.Name)
		for _, op := range operations {
			c := r.Cells[op.name]
			switch {
			case c.State == "ok" && c.Detail != "":
				fmt.Fprintf(&b, " %s |", c.Detail)
			case c.State == "lacks":
				b.WriteString(" – |")
				notes = append(notes, fmt.Sprintf("- %s, %s: %s", r.Name, op.title, c.Detail))
			default:
				fmt.Fprintf(&b, " %s |", c.State)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Notes\n\n" + strings.Join(notes, "\n") + "\n")
	return b.String()
}

// table is for people who read a test log.
func (m *matrix) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-36s %8s", "client", "ms")
	for _, op := range operations {
		fmt.Fprintf(&b, " %8s", op.name)
	}
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "\n%-36s %8d", r.Name, r.Took)
		for _, op := range operations {
			c := r.Cells[op.name]
			if c.State == "ok" {
				fmt.Fprintf(&b, " %8d", c.Millis)
			} else {
				fmt.Fprintf(&b, " %8s", c.State)
			}
		}
	}
	return b.String()
}

// publish keeps the matrix for CI as NAME.json. If it is Chronik's it holds docs/clients.md to it or, with -update, writes
// that.
func (m *matrix) publish(t *testing.T, name string, chronik bool) {
	t.Log("\n" + m.table())
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cacheDir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cacheDir, name+".json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	if !chronik || t.Failed() || !m.whole() {
		return // not Chronik's matrix, or not all of it
	}
	doc := filepath.Join(repoRoot, "docs", "clients.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(doc), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(doc, []byte(m.markdown()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was, err := os.ReadFile(doc); err != nil || string(was) != m.markdown() {
		t.Errorf("docs/clients.md is not what this run saw (%v): go test ./integration -run TestClients -update", err)
	}
}

// whole reports whether every row ran; -run and -short leave some out.
func (m *matrix) whole() bool {
	for _, r := range m.Rows {
		if len(r.Cells) != len(operations) {
			return false
		}
	}
	return true
}
