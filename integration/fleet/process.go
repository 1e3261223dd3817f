package fleet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// readyPrefix begins the line on stdout by which a node says that it serves.
const readyPrefix = "chronik ready "

// Process is one life of a node.
type Process struct {
	cmd   *exec.Cmd
	log   string
	ready chan string   // gets the ready line; closed when stdout ends
	done  chan struct{} // closed when the process has been reaped
	err   error         // of Wait; read after done
}

// Launch starts cmd with its stderr in a new file at logPath. The process is killed when its parent dies.
func Launch(cmd *exec.Cmd, logPath string) (*Process, error) {
	logFile, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer logFile.Close() // the child has its own descriptor
	cmd.Stderr = logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: logPath, ready: make(chan string, 1), done: make(chan struct{})}
	go func() { // ends with the process, which closes its stdout
		defer close(p.done)
		in := bufio.NewScanner(stdout)
		for said := false; in.Scan(); {
			if !said && strings.HasPrefix(in.Text(), readyPrefix) {
				said = true
				p.ready <- in.Text()
			}
		}
		close(p.ready)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// AwaitReady waits for the ready line and returns its fields. It can be called once.
func (p *Process) AwaitReady(ctx context.Context) (map[string]string, error) {
	select {
	case line, ok := <-p.ready:
		if !ok {
			<-p.done
			return nil, fmt.Errorf("it ended before it was ready: %w", errors.Join(errEnded, p.err))
		}
		fields := map[string]string{}
		for _, field := range strings.Fields(line) {
			if name, value, ok := strings.Cut(field, "="); ok {
				fields[name] = value
			}
		}
		return fields, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no ready line: %w", ctx.Err())
	}
}

var errEnded = errors.New("the process has ended")

// Signal sends one. A process that has ended is an error.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// stopped is nil when a SIGSTOP has reached every thread.
func (p *Process) stopped() error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	if err != nil {
		return err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE …, and the name may hold anything.
		if after := text[bytes.LastIndexByte(text, ')')+1:]; !bytes.HasPrefix(after, []byte(" T")) {
			return errors.New("a thread still runs")
		}
	}
	return nil
}

// Kill ends the process at once, as a power cut would end it for everything but the page cache, and reaps it.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// quitTime is what a process has to write down what its goroutines do.
const quitTime = 3 * time.Second

// Terminate asks for a controlled shutdown and returns what the process ended with. When ctx ends first, the process is
// made to log its goroutines (SIGQUIT) and is killed.
func (p *Process) Terminate(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		late := fmt.Errorf("still running after SIGTERM: %w", ctx.Err())
		if err := p.Signal(syscall.SIGQUIT); err != nil {
			return errors.Join(late, err, p.Kill())
		}
		select {
		case <-p.done:
		case <-time.After(quitTime):
		}
		return errors.Join(late, p.Kill())
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is what the process ended with; nil while it runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is the file with what the process wrote to stderr.
func (p *Process) Log() string { return p.log }

// LogTail is the end of the log, for a failure's message.
func (p *Process) LogTail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
