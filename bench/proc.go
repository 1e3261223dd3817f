package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chronik-stream/chronik/bench/host"
)

// usage is what was consumed up to one moment.
type usage struct {
	at      time.Time
	broker  time.Duration // CPU of the broker process
	self    time.Duration // CPU of this process
	machine time.Duration // CPU of everything, time stolen by the hypervisor included
}

func readUsage(pid int) (usage, error) {
	u := usage{at: time.Now()}
	var errs [3]error
	u.broker, errs[0] = host.ProcessCPU(pid)
	u.self, errs[1] = host.ProcessCPU(os.Getpid())
	u.machine, errs[2] = host.MachineCPU()
	return u, errors.Join(errs[:]...)
}

// foreignShare is which part of the machine's CPU was used by neither broker nor bench between two
// moments, in 0 to 1. Writing back dirty pages is in it: the kernel does that on threads of its own.
func foreignShare(before, after usage) float64 {
	foreign := (after.machine - before.machine) - (after.broker - before.broker) - (after.self - before.self)
	whole := after.at.Sub(before.at) * time.Duration(runtime.NumCPU())
	return min(max(foreign.Seconds()/whole.Seconds(), 0), 1)
}

// settleDisk writes out all that is dirty on the file system of dir.
func settleDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// startPinned starts cmd, on the first core only if pin says so: a child inherits the affinity of the
// thread that made it, and the Go runtime in it takes its number of processors from there.
func startPinned(cmd *exec.Cmd, pin bool) error {
	if !pin {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var mine, first unix.CPUSet
	first.Set(0)
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return fmt.Errorf("read affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		return fmt.Errorf("set affinity: %w", err)
	}
	return errors.Join(cmd.Start(), unix.SchedSetaffinity(0, &mine))
}

// pinSelf moves every thread of this process, and so those to come, off the first core.
func pinSelf() error {
	n := runtime.NumCPU()
	if n < 2 {
		return errors.New("pinning needs two cores")
	}
	var rest unix.CPUSet
	for i := 1; i < n; i++ {
		rest.Set(i)
	}
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &rest); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("set affinity: %w", err)
		}
	}
	runtime.GOMAXPROCS(n - 1)
	return nil
}
