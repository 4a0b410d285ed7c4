package main

import "fmt"

// bar is what a figure of relay must reach: the figure itself, or its ratio to
// another figure of the same run.
type bar struct {
	workload, system, metric string
	overSystem               string // ratio to this system; empty: to the same one
	overMetric               string // ratio to this metric; empty: no ratio
	atLeast                  bool   // else at most
	limit                    float64
	what                     string
}

// verdict is a bar with what was measured.
type verdict struct {
	Workload string  `json:"workload"`
	What     string  `json:"what"`
	System   string  `json:"system"`
	Measured float64 `json:"measured"`
	Bar      string  `json:"bar"`
	Result   string  `json:"result"`
}

// bars are the speeds this project promises itself.
func bars() []bar {
	var all []bar
	ratio := func(workload, metric string, atLeast bool, splice, inspecting float64) {
		what := metric + " to " + baseline
		all = append(all,
			bar{workload, "relay-splice", metric, baseline, metric, atLeast, splice, what},
			bar{workload, "relay", metric, baseline, metric, atLeast, inspecting, what})
	}
	const least, most = true, false
	ratio("get c=1", "CPU s/10k", most, 0.70, 0.90)
	ratio("get c=1", "p50 ms", most, 0.70, 0.70)
	ratio("post c=1", "p50 ms", most, 0.70, 0.70)
	for _, conns := range []string{"c=32", "c=256"} {
		ratio("get "+conns, "CPU s/10k", most, 0.40, 0.60)
		ratio("post "+conns, "CPU s/10k", most, 0.35, 0.55)
		ratio("get "+conns, "req/s", least, 2.0, 1.5)
		ratio("post "+conns, "req/s", least, 2.0, 1.5)
	}
	for _, workload := range []string{"get c=1", "get c=32", "get c=256", "post c=1", "post c=32", "post c=256"} {
		for _, on := range []string{"relay", recorded} {
			all = append(all,
				bar{workload, on, "req/s", unkept, "req/s", least, 0.9, "req/s to " + unkept},
				bar{workload, on, "p99 ms", unkept, "p99 ms", most, 1.1, "p99 to " + unkept})
		}
	}
	ratio("down", "MB/s", least, 0.65, 0.65)
	ratio("down", "CPU s/GB", most, 2.0, 2.0)
	ratio("up", "MB/s", least, 0.6, 0.6)
	ratio(wanWorkload("long", "down"), "MB/s", least, 0.6, 0.6)
	ratio(wanWorkload("long", "up"), "MB/s", least, 0.6, 0.6)
	for _, system := range []string{"relay-splice", "relay"} {
		all = append(all,
			bar{"mix", system, "busy p50 ms", system, "quiet p50 ms", most, 1.3, "p50 to quiet"},
			bar{"mix", system, "busy p99 ms", system, "quiet p99 ms", most, 2.5, "p99 to quiet"},
			bar{workload: "start", system: system, metric: "first 200 ms", limit: 25, what: "ms to the first 200"},
			bar{workload: "start", system: system, metric: "agent MiB", limit: 16, what: "MiB of an idle agent"})
		for _, conns := range gateConns {
			all = append(all, bar{workload: fmt.Sprintf("gate c=%d", conns), system: system, metric: "failed", what: "failed answers"})
		}
	}
	return append(all, bar{workload: "idle", system: "relay", metric: "KiB per agent", limit: 24, what: "KiB per idle agent"})
}

// verdicts are the bars for which there are figures.
func (s *sheet) verdicts() []verdict {
	var all []verdict
	for _, b := range bars() {
		v, ok := s.median(b.workload, b.system, b.metric)
		if !ok {
			continue
		}
		if b.overMetric != "" {
			over, ok := s.median(b.workload, b.overSystem, b.overMetric)
			if !ok || over == 0 {
				continue
			}
			v /= over
		}
		sign, result := "≤", "miss"
		if b.atLeast {
			sign = "≥"
		}
		if b.atLeast && v >= b.limit || !b.atLeast && v <= b.limit {
			result = "ok"
		}
		all = append(all, verdict{b.workload, b.what, b.system, v, fmt.Sprintf("%s %g", sign, b.limit), result})
	}
	return all
}
