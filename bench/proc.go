package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of CPU times in /proc, USER_HZ. It is 100 wherever Go runs on Linux.
const ticksPerSecond = 100

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
	u.broker, errs[0] = processCPU(pid)
	u.self, errs[1] = processCPU(os.Getpid())
	u.machine, errs[2] = machineCPU()
	return u, errors.Join(errs[:]...)
}

// foreignShare is which part of the machine's CPU was used by neither broker nor bench between two
// moments, in 0 to 1. Writing back dirty pages is in it: the kernel does that on threads of its own.
func foreignShare(before, after usage) float64 {
	foreign := (after.machine - before.machine) - (after.broker - before.broker) - (after.self - before.self)
	whole := after.at.Sub(before.at) * time.Duration(runtime.NumCPU())
	return min(max(foreign.Seconds()/whole.Seconds(), 0), 1)
}

func processCPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses and may hold anything, so count from its end.
	_, after, ok := bytes.Cut(raw[max(bytes.LastIndexByte(raw, ')'), 0):], []byte(") "))
	fields := strings.Fields(string(after))
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q is not understood", pid, raw)
	}
	return ticks(fields[11:13]) // utime, stime
}

// machineCPU sums the first line of /proc/stat without idle and iowait.
func machineCPU() (time.Duration, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	if len(f) < 9 {
		return 0, fmt.Errorf("/proc/stat: %q is not understood", line)
	}
	return ticks([]string{f[1], f[2], f[3], f[6], f[7], f[8]})
}

func ticks(fields []string) (time.Duration, error) {
	sum := int64(0)
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * (time.Second / ticksPerSecond), nil
}

// memory is the resident set of a process, in bytes.
type memory struct{ now, peak int64 }

func readMemory(pid int) (memory, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	var m memory
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			m.now = kib << 10
		case name == "VmHWM":
			m.peak = kib << 10
		}
	}
	if m.now == 0 {
		return m, fmt.Errorf("/proc/%d/status has no resident size: the process has ended", pid)
	}
	return m, nil
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
