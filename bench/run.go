package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one run: its settings, the systems that are up, and what was measured.
type bench struct {
	options
	rig      *rig
	wrk      string // path of wrk; empty: our own generator
	up       map[string][]*system
	sheet    *sheet
	progress io.Writer
}

// errWrong is what a run with failed requests or wrong answers ends with.
var errWrong = errors.New("some requests failed; see Failures")

// run does everything in the order of its workloads and prints the tables.
func run(ctx context.Context, o options, out io.Writer) error {
	wrk, err := findWrk(o.engine)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "relay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, wrk: wrk, up: map[string][]*system{}, sheet: &sheet{}, progress: os.Stderr}
	if b.rig, err = b.newRig(dir); err != nil {
		return err
	}
	app, addr, err := b.rig.startChild("app")
	if err != nil {
		return err
	}
	defer app.stop()
	b.rig.app = addr
	defer b.stopSystems()

	started := time.Now()
	if err := b.measure(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%d rounds of %d s, load by %s, %s.\n", describe(started), b.rounds, b.secs, generator(wrk), time.Since(started).Round(time.Second))
	b.sheet.print(out, o.smoke)
	if o.json != "" {
		if err := b.sheet.writeJSON(o.json, describe(started)); err != nil {
			return err
		}
	}
	if len(b.sheet.failures) > 0 {
		return errWrong
	}
	return nil
}

func (b *bench) newRig(dir string) (*rig, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r := &rig{self: self, dir: dir}
	if !slices.ContainsFunc(b.systems, isRelay) {
		return r, nil
	}
	if b.relay == "" {
		return r, r.buildRelay(b.progress)
	}
	if r.relay, err = filepath.Abs(b.relay); err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.relay); err != nil {
		return nil, fmt.Errorf("-relay: %w", err)
	}
	return r, nil
}

func isRelay(name string) bool { return strings.HasPrefix(name, "relay") }

// measure takes the rounds. What is told once (the gate, the idle agents) is
// measured in the first one only.
func (b *bench) measure(ctx context.Context) error {
	for round := range b.rounds {
		for _, w := range workloads {
			if !slices.Contains(b.only, w) || round > 0 && (w == "gate" || w == "idle") {
				continue
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("interrupted: %w", err)
			}
			fmt.Fprintf(b.progress, "%s round %d of %d: %s\n", time.Now().Format(time.TimeOnly), round+1, b.rounds, w)
			if err := b.workload(ctx, w); err != nil {
				return fmt.Errorf("%s: %w", w, err)
			}
		}
	}
	return ctx.Err()
}

// workload has every system take its turn at one workload.
func (b *bench) workload(ctx context.Context, w string) error {
	switch w {
	case "gate":
		return b.each("", func(s *system) { b.measureGate(ctx, s) })
	case "get", "post":
		for _, conns := range b.conns {
			if err := b.each("", func(s *system) { b.measureLoad(ctx, s, w, conns) }); err != nil {
				return err
			}
		}
		return nil
	case "down", "up":
		return b.each("", func(s *system) { b.measureBulk(s, w, w, int64(b.size)*mib) })
	case "wan":
		return b.measureWan()
	case "mix":
		return b.each("narrow", func(s *system) { b.measureMix(ctx, s) })
	case "start":
		return b.measureStart(ctx)
	case "inbox":
		return b.measureInbox(ctx)
	case "idle":
		return b.measureIdle(ctx)
	}
	return fmt.Errorf("no workload %q", w)
}

// measureWan moves one large body each way over the long paths.
func (b *bench) measureWan() error {
	for _, over := range []string{"long", "gigabit"} {
		for _, direction := range []string{"down", "up"} {
			err := b.each(over, func(s *system) {
				b.measureBulk(s, wanWorkload(over, direction), direction, int64(b.wanSize)*mib)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func wanWorkload(over, direction string) string { return "wan " + over + " " + direction }

// roads by name. The unnamed one is plain loopback.
var roads = map[string]road{"": nil, "long": longRoad, "gigabit": gigabitRoad, "narrow": narrowRoad}

// each calls measure for every system over that road, starting them first if
// this is the first time.
func (b *bench) each(over string, measure func(*system)) error {
	if _, ok := b.up[over]; !ok {
		b.up[over] = nil
		for _, name := range b.systems {
			if over != "" && name != baseline && (!isRelay(name) || name == unkept || name == recorded) {
				continue
			}
			s, err := b.rig.startSystem(name, roads[over])
			if m := missing(""); errors.As(err, &m) {
				fmt.Fprintf(b.progress, "without %s: %s\n", name, m)
				continue
			}
			if err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
			b.up[over] = append(b.up[over], s)
		}
	}
	for _, s := range b.up[over] {
		measure(s)
	}
	return nil
}

func (b *bench) stopSystems() {
	for _, systems := range b.up {
		for _, s := range systems {
			s.stop()
		}
	}
}

func generator(wrk string) string {
	if wrk == "" {
		return "the built-in generator"
	}
	return "wrk"
}
