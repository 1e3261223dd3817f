package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/bench/host"
)

// options are the flags. Durations and sizes that a flag leaves at zero depend on Quick.
type options struct {
	Bin    string
	Broker string
	PID    int
	Dir    string
	JSON   string
	Quick  bool
	List   bool
	Pin    bool
	Only   []string
	Modes  []flushMode

	Attempts     int // of an experiment that others disturb
	Window       time.Duration
	Warmup       time.Duration
	FillBytes    int64 // of the topic that C1 reads
	RecoverBytes int64 // of the log that R1 recovers
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errUnverified is a run of which at least one experiment has no figures.
var errUnverified = errors.New("an experiment failed: it has no figures")

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	if o.List {
		for _, w := range chosen {
			fmt.Fprintf(stdout, "%s  %s, flush.mode=%s\n", w.ID, w.Case, w.Flush)
		}
		return nil
	}
	if o.Pin {
		if err := pinSelf(); err != nil {
			return err
		}
	}
	l := &lab{o: o, newTarget: o.newTarget, log: stderr}
	placement := "broker and client share the cores"
	if o.Pin {
		placement = "broker on one core, client on the others"
	}
	r := report{Machine: host.Describe(o.ownBin(), o.Dir, placement), Rows: l.runAll(ctx, chosen)}
	if err := r.writeMarkdown(stdout); err != nil {
		return err
	}
	if o.JSON != "" {
		if err := r.writeJSON(o.JSON); err != nil {
			return err
		}
	}
	if r.failed() {
		return errUnverified
	}
	return ctx.Err()
}

func (o options) newTarget(mode flushMode) (Target, error) {
	if o.Broker != "" {
		return &external{addr: o.Broker, pid: o.PID}, nil
	}
	return newChronik(o.Bin, o.Dir, o.Pin, "log.flush.mode="+string(mode))
}

// ownBin is the binary that bench starts, if it starts one.
func (o options) ownBin() string {
	if o.Broker != "" {
		return ""
	}
	return o.Bin
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only, modes string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.Bin, "bin", "bin/chronik", "the broker to start, once for every experiment")
	f.StringVar(&o.Broker, "broker", "", "`HOST:PORT` of a broker that runs already on this machine; needs --pid; no R1")
	f.IntVar(&o.PID, "pid", 0, "process `id` of that broker, for its CPU and memory")
	f.StringVar(&o.Dir, "dir", os.TempDir(), "where data directories are made; flat-out runs write some GB there.\nOn tmpfs (/dev/shm) the disk's writeback is out of the picture in os mode")
	f.StringVar(&o.JSON, "json", "", "write the report to this `file` too")
	f.BoolVar(&o.Quick, "quick", false, "the main experiments only, with short windows: under 90 s")
	f.BoolVar(&o.List, "list", false, "list the experiments that would run")
	f.BoolVar(&o.Pin, "pin", false, "broker on the first core, bench on the others")
	f.StringVar(&only, "only", "", "run these workloads only, for example `P1,L1`; with all their cases")
	f.StringVar(&modes, "modes", "", "run these flush modes only, `os,sync`")
	f.IntVar(&o.Attempts, "attempts", 1, "how often an experiment is tried while others use more than a tenth of the CPU")
	f.DurationVar(&o.Window, "window", 0, "how long each experiment is measured; default 10s, 4s with --quick")
	f.DurationVar(&o.Warmup, "warmup", 0, "how long it runs before that; default 3s, 1s with --quick")
	fill := f.Float64("fill-gb", 0, "size of the topic that C1 reads; default 4, 1 with --quick")
	recovered := f.Float64("recover-gb", 1, "size of the log that R1 starts on after kill -9")
	f.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run ./bench [flags]\n\nMeasures a broker as a process. Tables go to standard output, progress to standard error.\n\nFlags:")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.Only, o.FillBytes, o.RecoverBytes = split(only), int64(*fill*1e9), int64(*recovered*1e9)
	for _, m := range split(modes) {
		o.Modes = append(o.Modes, flushMode(m))
	}
	o.settle()
	return o, o.validate(f.Args())
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// settle gives the defaults to what is still zero.
func (o *options) settle() {
	pick := func(long, quick time.Duration) time.Duration {
		if o.Quick {
			return quick
		}
		return long
	}
	if o.Window == 0 {
		o.Window = pick(10*time.Second, 4*time.Second)
	}
	if o.Warmup == 0 {
		o.Warmup = pick(3*time.Second, time.Second)
	}
	if o.FillBytes == 0 && o.Quick {
		o.FillBytes = 1e9
	} else if o.FillBytes == 0 {
		o.FillBytes = 4e9
	}
}

func (o *options) validate(rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("%q is not a flag", rest[0]))
	}
	if (o.Broker == "") != (o.PID == 0) {
		errs = append(errs, errors.New("--broker and --pid belong together"))
	}
	if o.Broker != "" && o.Pin {
		errs = append(errs, errors.New("--pin is for a broker that bench starts"))
	}
	if o.Attempts < 1 {
		errs = append(errs, errors.New("--attempts must be at least 1"))
	}
	if o.Window < 100*time.Millisecond || o.Warmup < 0 || o.FillBytes < 0 || o.RecoverBytes <= 0 {
		errs = append(errs, errors.New("--window must be at least 100ms, --warmup and the sizes not negative"))
	}
	for _, m := range o.Modes {
		if m != flushOS && m != flushSync {
			errs = append(errs, fmt.Errorf("--modes: %q is neither os nor sync", m))
		}
	}
	return errors.Join(errs...)
}
