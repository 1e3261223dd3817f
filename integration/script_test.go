package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// report is one line that a scripted client prints for each operation. Detail of produce and consume is its codecs.
type report struct {
	Op     string
	OK     bool
	Lacks  bool
	MS     int64
	Error  string
	Detail string
}

// applyReports fills a row from what its client printed, then reads back what it produced.
func applyReports(ctx context.Context, r *row, e env, prefix string, out []byte, f fidelity) {
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		var rep report
		if json.Unmarshal(in.Bytes(), &rep) != nil || rep.Op == "" {
			continue // a library's chatter
		}
		c := cell{State: "ok", Detail: rep.Detail, Millis: rep.MS}
		switch {
		case rep.Lacks:
			c = cell{State: "lacks", Detail: rep.Error, Millis: rep.MS}
		case !rep.OK:
			c = cell{State: "failed", Detail: rep.Error, Millis: rep.MS}
		case rep.Op == "produce":
			if err := verifyProduced(ctx, e, prefix, rep.Detail, f); err != nil {
				c = cell{State: "failed", Detail: err.Error()}
			}
		}
		r.set(rep.Op, c)
	}
}

// verifyProduced reads back PREFIX-CODEC for each codec that the client says it wrote.
func verifyProduced(ctx context.Context, e env, prefix, codecs string, f fidelity) error {
	ctx, cancel := context.WithTimeout(ctx, stepDeadline)
	defer cancel()
	for _, codec := range strings.Fields(codecs) {
		if err := verifyStored(ctx, e.addr, prefix+"-"+codec, codec, e.t0, f); err != nil {
			return err
		}
	}
	if codecs == "" {
		return fmt.Errorf("the client reported no codec")
	}
	return nil
}

// arguments are what a client that is a process is told.
func (e env) arguments(prefix string) []string {
	return []string{e.addr, prefix, strconv.FormatInt(e.t0, 10), e.fixture, strconv.Itoa(e.replicas)}
}

// scriptRow runs a client as a process: COMMAND… BOOTSTRAP PREFIX T0 FIXTURE REPLICAS.
func scriptRow(f fidelity, command ...string) func(context.Context, *row, env, string) {
	return func(ctx context.Context, r *row, e env, prefix string) {
		if _, err := os.Stat(command[0]); filepath.IsAbs(command[0]) && err != nil {
			r.t.Fatalf("%v: run integration/setup.sh", err)
		}
		args := append(command[1:len(command):len(command)], e.arguments(prefix)...)
		cmd := exec.CommandContext(ctx, command[0], args...)
		cmd.Dir = filepath.Join(repoRoot, "integration", "clients")
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(cacheDir, "node", "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		applyReports(ctx, r, e, prefix, out, f)
		if err != nil {
			r.t.Errorf("the client ended with %v", err)
		}
		if r.t.Failed() {
			r.t.Logf("its stderr ends:\n%s", tail(stderr.String()))
		}
	}
}

func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-logTailLines):], "\n")
}

func pythonRow(venv, script string, args ...string) func(context.Context, *row, env, string) {
	f := fidelity{}
	if len(args) > 0 { // pinned to 0.10
		f = fidelity{noHeaders: true, legacy: true}
	}
	return scriptRow(f, append([]string{filepath.Join(cacheDir, venv, "bin", "python"), filepath.Join("python", script)}, args...)...)
}

func nodeRow(script string) func(context.Context, *row, env, string) {
	return scriptRow(fidelity{}, "node", filepath.Join("node", script))
}

// pinned finds "NAME<sep>VERSION" in a file of this repository.
func pinned(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repoRoot, file))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no match for %s", file, pattern)
	}
	return string(found[1])
}

func pythonName(t *testing.T, name string) string {
	return name + " " + pinned(t, "integration/clients/python/requirements.txt", `(?m)^`+name+`==(\S+)$`)
}

func nodeVersion(t *testing.T, name string) string {
	return pinned(t, "integration/clients/node/package.json", `"`+name+`": "([^"]+)"`)
}

func kafkaVersion(t *testing.T) string {
	return pinned(t, "integration/clients/java/pom.xml", `<kafka\.version>([^<]+)<`)
}

func moduleVersion(t *testing.T, path string) string {
	return pinned(t, "go.mod", `(?m)^\s*`+regexp.QuoteMeta(path)+` v(\S+)`)
}
