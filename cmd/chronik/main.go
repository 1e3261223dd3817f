// Command chronik is the broker and the tool to work with one: `chronik serve` runs a node, the other
// commands talk to a running node over its Kafka and HTTP ports, or read its files.
//
// Results go to stdout, everything else to stderr. The exit code is 0 for success, 1 when what was asked
// could not be done, and 2 when the command line is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "dev"

// cli is the command line. Every flag has an environment variable, unless its help names none: CHRONIK_
// and the name in upper snake case.
type cli struct {
	JSON bool `name:"json" help:"Machine-readable output."`

	Serve      serveCmd      `cmd:"" help:"Run a node."`
	Status     statusCmd     `cmd:"" help:"Show how the cluster is doing."`
	Health     healthCmd     `cmd:"" help:"Exit with 0 if a node serves clients: for health checks."`
	Topic      topicCmd      `cmd:"" help:"Create, list, describe, alter and delete topics."`
	Produce    produceCmd    `cmd:"" help:"Produce lines of standard input to a topic."`
	Consume    consumeCmd    `cmd:"" help:"Print the records of a topic."`
	Group      groupCmd      `cmd:"" help:"List, describe, reset and delete consumer groups."`
	Cluster    clusterCmd    `cmd:"" help:"Show brokers, move partitions and leaders, drain and remove brokers."`
	Log        logCmd        `cmd:"" help:"Look into files of a data directory."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
}

// app is what a command works with.
type app struct {
	ctx    context.Context // ends on SIGINT and SIGTERM
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	json   bool
	model  *kong.Application
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exit is how kong asks to end the process after --help.
type exit struct{ code int }

// run is main without the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if e, ok := recover().(exit); ok {
			code = e.code
		}
	}()
	var c cli
	parser, err := kong.New(&c,
		kong.Name("chronik"),
		kong.Description("A Kafka-compatible streaming broker in one binary.\n\nStart one with `chronik serve`; any Kafka client can use it at 127.0.0.1:9092."),
		kong.DefaultEnvars("CHRONIK"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exit{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		panic(err) // the structs above are wrong
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "chronik: %v\n", err)
		var wrong *kong.ParseError
		if errors.As(err, &wrong) {
			fmt.Fprintf(stderr, "Try `%s --help`.\n", wrong.Context.Model.Name)
		}
		return 2
	}
	a := &app{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, json: c.JSON, model: parser.Model}
	if err := parsed.Run(a); err != nil {
		fmt.Fprintf(stderr, "chronik: %v\n", err)
		return 1
	}
	return 0
}

type versionCmd struct{}

func (versionCmd) Run(a *app) error {
	if a.json {
		return a.printJSON(map[string]string{"version": version})
	}
	_, err := fmt.Fprintln(a.stdout, "chronik", version)
	return err
}
