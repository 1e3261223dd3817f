// Package host reads from /proc what a figure depends on besides the broker: the machine, and what processes use of it.
package host

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what a figure depends on besides the broker. What cannot be found out stays empty.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMB   int64  `json:"memory_mb"`
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"` // of the data
	Go         string `json:"go"`         // that built the broker
	Broker     string `json:"broker"`
	Commit     string `json:"commit,omitempty"`
	Placement  string `json:"placement"`
	Time       string `json:"time"`
}

// Describe reads what there is to know; bin is the broker, or empty if it is not known, and dir has its data.
func Describe(bin, dir, placement string) Machine {
	m := Machine{
		CPU: fieldOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Filesystem: filesystemOf(dir), Placement: placement,
		Time: time.Now().UTC().Format(time.RFC3339), Broker: "not started by bench",
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	var kib int64
	if n, _ := fmt.Sscan(fieldOf("/proc/meminfo", "MemTotal"), &kib); n == 1 {
		m.MemoryMB = kib << 10 / 1e6
	}
	if bin == "" {
		return m
	}
	if info, err := buildinfo.ReadFile(bin); err == nil {
		m.Go = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Commit = s.Value
			}
		}
	}
	if out, err := exec.Command(bin, "version").Output(); err == nil {
		m.Broker, _, _ = strings.Cut(string(out), "\n")
	}
	return m
}

// String is the line below the table.
func (m Machine) String() string {
	parts := []string{fmt.Sprintf("%d cores (%s), %d MB", m.Cores, m.CPU, m.MemoryMB), "Linux " + m.Kernel, m.Filesystem, m.Go, m.Broker}
	if m.Commit != "" {
		parts = append(parts, "commit "+m.Commit[:min(len(m.Commit), 12)])
	}
	return strings.Join(append(parts, m.Placement, m.Time), ", ")
}

// fieldOf returns the first value of a name in a file of "name : value" lines.
func fieldOf(path, name string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// filesystemOf names the type of the file system that holds dir: that of the longest mount point above.
func filesystemOf(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	best, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line) // device, mount point, type, ...
		if len(f) < 3 || len(f[1]) < len(best) {
			continue
		}
		if rel, err := filepath.Rel(f[1], abs); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			best, kind = f[1], f[2]
		}
	}
	return kind
}
