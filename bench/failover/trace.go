package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// trace reads from the logs of the nodes when the controller took the lead from a victim, and when a new controller began,
// both counted from the fault. What is not found is zero.
func (l *lab) trace(victim int32, since time.Time) (decided, elected time.Duration, err error) {
	for _, n := range l.fleet.Nodes() {
		err = errors.Join(err, eachLine(n.Process().Log(), since, func(after time.Duration, line string) {
			switch {
			case strings.Contains(line, `msg="this node is the controller"`):
				elected = earlier(elected, after)
			case strings.Contains(line, fmt.Sprintf(`msg="controller changed a broker" broker=%d `, victim)) && !strings.Contains(line, "ActivateBroker"):
				decided = earlier(decided, after)
			}
		}))
	}
	return decided, elected, err
}

// earlier is the smaller one of those that are not zero.
func earlier(known, news time.Duration) time.Duration {
	if known == 0 || news < known {
		return max(news, 1)
	}
	return known
}

// eachLine calls visit for every line of a log that was written after a moment. The log has milliseconds.
func eachLine(path string, since time.Time, visit func(after time.Duration, line string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "time="), " ")
		at, err := time.Parse(time.RFC3339Nano, text)
		if after := at.Sub(since); err == nil && after > -time.Millisecond {
			visit(after, lines.Text())
		}
	}
	return lines.Err()
}
