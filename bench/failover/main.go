package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/bench/host"
)

// options are the flags.
type options struct {
	Bin        string
	Dir        string
	Modes      []string
	Samples    int // of kill
	Fewer      int // of every other fault
	Every      time.Duration
	Seed       uint64
	Partitions int
	Topics     int
	Keep       bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.Dir, "chronik-failover-")
	if err != nil {
		return err
	}
	if o.Keep {
		fmt.Fprintln(stderr, "data and logs stay in", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	}
	r := report{seed: o.Seed, command: "go run ./bench/failover " + strings.Join(args, " ")}
	before, err := readLoad()
	if err != nil {
		return err
	}
	for _, mode := range o.Modes {
		if err = o.measure(ctx, dir, mode, &r, stderr); err != nil {
			err = fmt.Errorf("%s: %w", mode, err)
			break
		}
	}
	after, loadErr := readLoad()
	r.load = after.since(before)
	r.machine = host.Describe(o.Bin, dir, "nodes and clients share the cores")
	return errors.Join(err, loadErr, r.write(stdout))
}

func (o options) measure(ctx context.Context, dir, mode string, r *report, log io.Writer) error {
	if mode == partitionsMode {
		return o.measurePartitions(ctx, dir, r, log)
	}
	l, err := newLab(ctx, o, dir, mode, log)
	if err != nil {
		return err
	}
	n := o.Fewer
	if mode == "kill" {
		n = o.Samples
	}
	samples, err := l.samples(ctx, n)
	r.add(mode, samples)
	return errors.Join(err, l.close())
}

const partitionsMode = "partitions"

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var modes string
	f := flag.NewFlagSet("failover", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.Bin, "bin", "bin/chronik", "the broker")
	f.StringVar(&o.Dir, "dir", os.TempDir(), "where data directories are made")
	f.StringVar(&modes, "modes", "kill,both,pause,cut,restart", "what to measure, of these and `partitions`")
	f.IntVar(&o.Samples, "samples", 100, "kills of the leader")
	f.IntVar(&o.Fewer, "fewer", 20, "samples of every other fault")
	f.DurationVar(&o.Every, "every", 5*time.Millisecond, "how often each producer sends a record")
	f.Uint64Var(&o.Seed, "seed", rand.Uint64()>>32, "chooses the moments of the faults; default random")
	f.IntVar(&o.Partitions, "partitions", 1000, "of each topic in the mode partitions")
	f.IntVar(&o.Topics, "topics", 1, "in the mode partitions")
	f.BoolVar(&o.Keep, "keep", false, "leave data and logs of the nodes where they are")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.Modes = strings.FieldsFunc(modes, func(r rune) bool { return r == ',' || r == ' ' })
	for _, m := range o.Modes {
		if _, known := faults[m]; !known && m != partitionsMode {
			return o, fmt.Errorf("--modes: %q is none of kill, both, pause, cut, restart and partitions", m)
		}
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", f.Args())
	}
	if slices.Min([]int{o.Samples, o.Fewer, o.Partitions, o.Topics}) < 1 || o.Every < time.Millisecond {
		return o, errors.New("samples, partitions and topics must be positive, and --every at least 1ms")
	}
	return o, nil
}
