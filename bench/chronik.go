package main

import (
	"bufio"
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

const (
	readyDeadline = 2 * time.Minute // a start may have to scan a large log
	stopDeadline  = 30 * time.Second
	readyLine     = "chronik ready "
	troubleBytes  = 4 << 10
)

// chronik is a `chronik serve` of its own, on ports that were free and a directory that is new.
type chronik struct {
	bin  string
	dir  string // holds data/ and the log
	args []string
	pin  bool // to the first core

	addr string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been reaped
	err  error         // of Wait; read after done
}

// newChronik makes the directory below parent. Settings are Kafka broker configs, KEY=VALUE.
func newChronik(bin, parent string, pin bool, settings ...string) (*chronik, error) {
	dir, err := os.MkdirTemp(parent, "chronik-bench-")
	if err != nil {
		return nil, fmt.Errorf("make the broker's directory: %w", err)
	}
	c := &chronik{bin: bin, dir: dir, pin: pin}
	c.args = []string{"serve", "--data-dir", filepath.Join(dir, "data"), "--log-level", "warn",
		"--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"}
	for _, s := range settings {
		c.args = append(c.args, "--set", s)
	}
	return c, nil
}

func (c *chronik) logPath() string { return filepath.Join(c.dir, "broker.log") }

// Start implements Target.
func (c *chronik) Start(ctx context.Context) (time.Duration, error) {
	logFile, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open the broker's log: %w", err)
	}
	defer logFile.Close() // the child has its own descriptor
	cmd := exec.Command(c.bin, c.args...)
	cmd.Stderr = logFile
	// Should bench die without a word, its broker must not live on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := startPinned(cmd, c.pin); err != nil {
		return 0, fmt.Errorf("start the broker: %w", err)
	}
	c.cmd, c.done, c.err = cmd, make(chan struct{}), nil
	ready := make(chan string, 1)
	go func() { // ends with the process, which closes its stdout
		defer close(c.done)
		defer close(ready)
		said := false
		for in := bufio.NewScanner(stdout); in.Scan(); {
			if !said && strings.HasPrefix(in.Text(), readyLine) {
				said = true
				ready <- in.Text()
			}
		}
		c.err = cmd.Wait()
	}()
	return c.awaitReady(ctx, began, ready)
}

func (c *chronik) awaitReady(ctx context.Context, began time.Time, ready <-chan string) (time.Duration, error) {
	var err error
	select {
	case line, ok := <-ready:
		took := time.Since(began)
		if !ok {
			<-c.done
			return 0, fmt.Errorf("the broker ended before it was ready: %w", c.err)
		}
		for _, field := range strings.Fields(line) {
			if addr, ok := strings.CutPrefix(field, "kafka="); ok {
				c.addr = addr
				return took, nil
			}
		}
		err = fmt.Errorf("no address in %q", line)
	case <-time.After(readyDeadline):
		err = fmt.Errorf("the broker was not ready within %v", readyDeadline)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return 0, errors.Join(err, c.Kill())
}

// Addr implements Target.
func (c *chronik) Addr() string { return c.addr }

// PID implements Target.
func (c *chronik) PID() int { return c.cmd.Process.Pid }

// Kill implements Target.
func (c *chronik) Kill() error {
	if !c.running() {
		return nil
	}
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the broker: %w", err)
	}
	<-c.done
	return nil
}

// Stop implements Target.
func (c *chronik) Stop() error {
	if !c.running() {
		return nil
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	select {
	case <-c.done:
	case <-time.After(stopDeadline):
		return errors.Join(fmt.Errorf("the broker still ran %v after SIGTERM", stopDeadline), c.Kill())
	}
	if c.err != nil {
		return fmt.Errorf("the broker stopped with: %w", c.err)
	}
	return nil
}

func (c *chronik) running() bool {
	if c.cmd == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Close implements Target.
func (c *chronik) Close() error {
	err := c.Stop()
	parent := filepath.Dir(c.dir)
	err = errors.Join(err, os.RemoveAll(c.dir))
	// What this run left dirty elsewhere would be written back during the next one.
	return errors.Join(err, settleDisk(parent))
}

// Trouble implements Target.
func (c *chronik) Trouble() string {
	log, err := os.ReadFile(c.logPath())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-troubleBytes):])
}
