package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ctrlCDeadline is how long a person at a terminal may wait for the prompt, on a machine that runs other tests.
const ctrlCDeadline = 15 * time.Second

// TestClusterScript runs deploy/cluster.sh as `make cluster` does: it says when all are ready, every node serves, Ctrl-C
// ends everything, and the next start finds what was produced.
func TestClusterScript(t *testing.T) {
	if isReference() {
		t.Skip("the script starts chronik")
	}
	dir, first := t.TempDir(), freePorts(t)
	all := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", first, first+100, first+200)

	s := startScript(t, dir, first)
	for _, addr := range strings.Split(all, ",") {
		chronikCLI(t, strings.Repeat("line\n", 100), "produce", "lines", "--bootstrap-server", addr)
	}
	for _, addr := range strings.Split(all, ",") {
		if got := strings.Count(chronikCLI(t, "", "consume", "lines", "--bootstrap-server", addr), "line\n"); got != 300 {
			t.Errorf("consumed %d lines at %s, want 300", got, addr)
		}
	}
	s.interrupt(t)

	s = startScript(t, dir, first)
	if got := strings.Count(chronikCLI(t, "", "consume", "lines", "--bootstrap-server", all), "line\n"); got != 300 {
		t.Errorf("consumed %d lines after a restart, want 300", got)
	}
	s.interrupt(t)
}

// clusterScript is a run of deploy/cluster.sh in a process group of its own, as a shell would start it.
type clusterScript struct {
	cmd  *exec.Cmd
	dir  string
	done chan struct{} // closed when the script has ended; err is read after that
	err  error
}

func startScript(t *testing.T, dir string, first int) *clusterScript {
	t.Helper()
	s := &clusterScript{cmd: exec.Command(filepath.Join(repoRoot, "deploy", "cluster.sh")), dir: dir, done: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), "CHRONIK_BIN="+brokerBinary(t), "CLUSTER_DIR="+dir, "CLUSTER_PORT="+strconv.Itoa(first))
	out, err := os.Create(filepath.Join(dir, "script.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // the script has its own descriptor
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the script
		defer close(s.done)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() { s.end(t) })
	up := eventually(t.Context(), readyDeadline, func() bool {
		select {
		case <-s.done:
			return true
		default:
			return strings.Contains(s.printed(t), "The cluster is up.")
		}
	})
	if ready := strings.Count(s.printed(t), "chronik ready node="); !up || ready != 3 {
		t.Fatalf("%d nodes are ready; the script printed\n%s", ready, s.printed(t))
	}
	return s
}

func (s *clusterScript) printed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "script.out"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// interrupt is Ctrl-C: a terminal sends SIGINT to the whole process group. Nobody of it may be left.
func (s *clusterScript) interrupt(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(ctrlCDeadline):
		t.Fatalf("the script runs on after Ctrl-C; it printed\n%s", s.printed(t))
	}
	t.Logf("ended %v after Ctrl-C", time.Since(began).Round(time.Millisecond))
	if s.err != nil {
		t.Errorf("the script ended with %v; it printed\n%s", s.err, s.printed(t))
	}
	if err := syscall.Kill(-s.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("something of the script's process group is left (%v)", err)
	}
}

// end leaves nothing behind of a script that was not interrupted, and shows the nodes' logs if the test has failed.
func (s *clusterScript) end(t *testing.T) {
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
	<-s.done
	if !t.Failed() {
		return
	}
	for _, name := range []string{"1.log", "2.log", "3.log"} {
		if text, err := os.ReadFile(filepath.Join(s.dir, name)); err == nil {
			t.Logf("%s ends:\n%s", name, tail(string(text)))
		}
	}
}

// chronikCLI runs a command of the binary under test and returns its standard output.
func chronikCLI(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, brokerBinary(t), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chronik %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// freePorts is a port from which deploy/cluster.sh finds all that it takes free: four for each of three nodes.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		first := 10_000 + rand.IntN(20_000) // below the ports of outgoing connections
		free := true
		for i := range 12 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+100*(i/4)+i%4))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports for three nodes")
	return 0
}
