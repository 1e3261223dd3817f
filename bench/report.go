package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/bench/host"
)

// noisyShare is the part of the machine's CPU used by others above which a row is marked.
const noisyShare = 0.10

// report is a whole run, as --json writes it.
type report struct {
	Machine host.Machine `json:"machine"`
	Rows    []Row        `json:"rows"`
}

func (r report) failed() bool {
	return slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Err != "" })
}

func (r report) writeJSON(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

// writeMarkdown prints two tables, of streams of messages and of single figures, without empty ones.
func (r report) writeMarkdown(w io.Writer) error {
	var streams, facts []string
	for _, row := range r.Rows {
		switch {
		case row.Err != "":
			streams = append(streams, fmt.Sprintf("| %s: %s | %s | not verified: %s |\n", row.Workload, row.Case, row.Flush, oneLine(row.Err)))
		case row.Messages > 0:
			streams = append(streams, row.cells())
		}
		for _, f := range row.Facts {
			facts = append(facts, fmt.Sprintf("| %s: %s | %s | %s | %s %s |\n", row.Workload, row.Case, row.Flush, f.Name, figure(f.Value), f.Unit))
		}
	}
	var b strings.Builder
	table := func(head string, lines []string) {
		if len(lines) > 0 {
			b.WriteString(head + strings.Join(lines, "") + "\n")
		}
	}
	table("| workload | `flush.mode` | msg/s | MB/s | p50 ms | p99 ms | p99.9 ms | max ms | broker CPU s per M msg | per GB | RSS MB | foreign CPU |\n"+
		"| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n", streams)
	table("| workload | `flush.mode` | figure | value |\n| --- | --- | --- | --: |\n", facts)
	fmt.Fprintf(&b, "%s.\n", r.Machine)
	if slices.ContainsFunc(r.Rows, Row.noisy) {
		fmt.Fprintf(&b, "! More than %.0f %% of the machine's CPU went to others, its own writeback included: not a figure to compare.\n", noisyShare*100)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Row) noisy() bool { return r.ForeignCPU > noisyShare }

func (r Row) cells() string {
	mark := ""
	if r.noisy() {
		mark = " !"
	}
	lat := []string{"–", "–", "–", "–"} // a catch-up has none
	if l := r.Latency; l != nil {
		lat = []string{figure(l.P50), figure(l.P99), figure(l.P999), figure(l.Max)}
	}
	cells := []string{
		r.Workload + ": " + r.Case, string(r.Flush), thousands(r.MessagesPerSecond), figure(r.MBPerSecond),
		lat[0], lat[1], lat[2], lat[3], figure(r.CPUPerMillion), figure(r.CPUPerGB), figure(r.RSSMB),
		fmt.Sprintf("%.0f %%%s", r.ForeignCPU*100, mark),
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// figure prints three significant digits, or all before the point.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// thousands prints a whole number with commas.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func oneLine(s string) string {
	return strings.NewReplacer("\n", "; ", "|", "/").Replace(s)
}
