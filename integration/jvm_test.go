package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// jvm is one Java process that runs Kafka's tools on request; see clients/java/src/Driver.java. It is safe for
// concurrent use.
type jvm struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu      sync.Mutex // guards the fields below
	in      io.WriteCloser
	next    int
	waiting map[int]chan answer // one per run, with room for its answer
}

// answer is the outcome of one run.
type answer struct {
	ID       int
	Exit     int
	Out, Err string
}

// classpath names the jars one by one: a class archive is valid only for the very list it was made with.
func classpath() (string, error) {
	jars, err := filepath.Glob(filepath.Join(cacheDir, "jars", "*.jar"))
	if err != nil || len(jars) == 0 {
		return "", fmt.Errorf("no jars in %s: run integration/setup.sh", cacheDir)
	}
	return strings.Join(append(jars, filepath.Join(cacheDir, "classes.jar")), ":"), nil
}

// javaFlags are for a short life: the class archive of setup.sh, and no time spent on optimising.
func javaFlags(classpath string) []string {
	return []string{"-Xmx512m", "-Xshare:auto", "-XX:SharedArchiveFile=" + filepath.Join(cacheDir, "driver.jsa"), "-XX:TieredStopAtLevel=1",
		"-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classpath}
}

func startJVM(t *testing.T) *jvm {
	t.Helper()
	cp, err := classpath()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("java", append(javaFlags(cp), "Driver")...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	j := &jvm{cmd: cmd, done: make(chan struct{}), waiting: map[int]chan answer{}}
	if j.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go j.listen(out) // ends with the process
	t.Cleanup(func() {
		if err := errors.Join(j.in.Close(), ignoreGone(cmd.Process.Kill())); err != nil {
			t.Error(err)
		}
		<-j.done
	})
	return j
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (j *jvm) listen(out io.Reader) {
	defer close(j.done)
	in := bufio.NewScanner(out)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var a answer
		if json.Unmarshal(in.Bytes(), &a) != nil {
			continue
		}
		j.mu.Lock()
		ch := j.waiting[a.ID]
		delete(j.waiting, a.ID)
		j.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
	_ = j.cmd.Wait() // killed by its owner
}

// run runs a tool to its end.
func (j *jvm) run(ctx context.Context, main, stdin string, args ...string) (answer, error) {
	mine := make(chan answer, 1)
	if err := j.send(mine, main, stdin, args); err != nil {
		return answer{}, err
	}
	what := main + " " + strings.Join(args, " ")
	select {
	case a := <-mine:
		if a.Exit != 0 {
			return a, fmt.Errorf("%s: exit code %d: %s%s", what, a.Exit, a.Out, a.Err)
		}
		return a, nil
	case <-j.done:
		return answer{}, fmt.Errorf("%s: the JVM ended", what)
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

func (j *jvm) send(to chan answer, main, stdin string, args []string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	line, err := json.Marshal(map[string]any{"id": j.next, "main": main, "stdin": stdin, "args": args})
	if err != nil {
		return err
	}
	j.waiting[j.next] = to
	_, err = j.in.Write(append(line, '\n'))
	return err
}
