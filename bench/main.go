// Command bench measures relay against reference points on one machine.
//
// It starts every system as processes of its own on loopback: the app, one and
// two plain reverse proxies (go-1hop, go-2hop), nginx and ssh -R where they are
// installed, and relay four times: as it is (relay), with a server that keeps requests
// too (relay-recorded), with an agent that keeps none (relay-unkept), and with one that
// does not look at them (relay-splice). CPU is charged from /proc to the processes of
// the system under test, never to the app or the load generator.
//
// On a busy machine only ratios mean something. So the systems take turns inside
// every round, each figure is a median over the rounds, and each ratio is to
// go-2hop of the same run. The bars of the project stand beside the figures with
// ok or miss. The exit code speaks of answers only: it is 1 when a request
// failed or an answer was wrong, and never because something was slow.
//
// Begin reading at run.go, which holds the order of a run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// options are the settings of one run.
type options struct {
	relay   string // path of a relay binary; empty: build one
	only    []string
	systems []string
	conns   []int
	engine  string // auto, wrk or builtin
	rounds  int
	secs    int
	size    int // MiB of one bulk transfer
	wanSize int // MiB of one transfer over the long path
	posts   int // requests per level of the correctness gate
	agents  int // idle agents
	starts  int // agent starts timed per round
	json    string
	smoke   bool
}

// workloads in the order of a run. The gate comes first: figures of a system
// that answers wrongly mean nothing.
var workloads = []string{"gate", "get", "post", "down", "up", "start", "wan", "mix", "inbox", "idle"}

// benchSystems are the systems of a full run; baseline is what ratios refer to.
var benchSystems = []string{"go-1hop", baseline, "nginx-2hop", "ssh-R", "relay", unkept, recorded, "relay-splice"}

// unkept is relay whose agent looks at requests and keeps none.
const unkept = "relay-unkept"

// recorded is relay whose server keeps requests too.
const recorded = "relay-recorded"

const baseline = "go-2hop"

func main() {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		signal.Ignore(os.Interrupt) // Ctrl-C is for the run, which ends its children by SIGTERM
		exit(child(os.Args[2], os.Args[3:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	exit(run(ctx, o, os.Stdout))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: go run ./bench [flags]\n\nworkloads: %s\nsystems:   %s\n\n",
			strings.Join(workloads, " "), strings.Join(benchSystems, " "))
		f.PrintDefaults()
	}
	only := f.String("only", strings.Join(workloads, ","), "comma-separated `workloads`")
	systems := f.String("systems", strings.Join(benchSystems, ","), "comma-separated `systems`")
	conns := f.String("conns", "1,32,256", "connection `counts` of get and post")
	f.StringVar(&o.relay, "relay", "", "relay binary to measure (`path`; default: build the one in this module)")
	f.StringVar(&o.engine, "engine", "auto", "what loads get and post: auto, wrk or builtin")
	f.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	f.IntVar(&o.secs, "secs", 3, "seconds of each request load")
	f.IntVar(&o.size, "size", 100, "MiB of one download or upload")
	f.IntVar(&o.wanSize, "wan-size", 32, "MiB of one transfer over the 50 ms path")
	f.IntVar(&o.posts, "posts", 100_000, "POSTs of the gate at each connection count")
	f.IntVar(&o.agents, "agents", 5000, "idle agents")
	f.IntVar(&o.starts, "starts", 3, "timed agent starts in each round")
	f.StringVar(&o.json, "json", "", "also write every sample to this `file`")
	f.BoolVar(&o.smoke, "smoke", false, "one short round in less than a minute: does everything answer right?")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	set := map[string]bool{}
	f.Visit(func(g *flag.Flag) { set[g.Name] = true })
	o.only, o.systems = strings.Split(*only, ","), strings.Split(*systems, ",")
	for _, w := range o.only {
		if !slices.Contains(workloads, w) {
			return o, fmt.Errorf("-only: no workload %q; there are: %s", w, strings.Join(workloads, " "))
		}
	}
	for _, s := range o.systems {
		if !slices.Contains(benchSystems, s) {
			return o, fmt.Errorf("-systems: no system %q; there are: %s", s, strings.Join(benchSystems, " "))
		}
	}
	for c := range strings.SplitSeq(*conns, ",") {
		n, err := strconv.Atoi(c)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-conns: %q is not a number of connections", c)
		}
		o.conns = append(o.conns, n)
	}
	if o.smoke {
		o.shrink(set)
	}
	return o, nil
}

// shrink makes a run short, but leaves alone what the user asked for by flag.
func (o *options) shrink(set map[string]bool) {
	short := func(name string, apply func()) {
		if !set[name] {
			apply()
		}
	}
	short("only", func() { o.only = []string{"gate", "get", "post", "down", "up", "start", "wan", "mix", "inbox"} })
	short("systems", func() { o.systems = []string{baseline, "relay", "relay-splice"} })
	short("conns", func() { o.conns = []int{1, 32} })
	short("rounds", func() { o.rounds = 1 })
	short("secs", func() { o.secs = 1 })
	short("size", func() { o.size = 16 })
	short("wan-size", func() { o.wanSize = 4 })
	short("posts", func() { o.posts = 2000 })
	short("agents", func() { o.agents = 100 })
	short("starts", func() { o.starts = 1 })
}
