package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// withRatio are the metrics that are also told as a ratio to the baseline.
var withRatio = []string{"req/s", "CPU s/10k", "p50 ms", "p99 ms", "MB/s", "CPU s/GB"}

// print writes the sheet as Markdown: the bars first, then a table of medians
// for each workload, then the failures. A smoke run is too short for bars.
func (s *sheet) print(w io.Writer, smoke bool) {
	if vs := s.verdicts(); len(vs) > 0 && !smoke {
		fmt.Fprint(w, "\n### Bars\n\n| workload | what | system | measured | bar | |\n|---|---|---|---|---|---|\n")
		for _, v := range vs {
			fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s | %s |\n", v.Workload, v.What, v.System, v.Measured, v.Bar, v.Result)
		}
	}
	for _, workload := range s.distinct(func(x sample) string { return x.Workload }) {
		s.printWorkload(w, workload)
	}
	if len(s.failures) > 0 {
		fmt.Fprint(w, "\n### Failures\n\n")
		for _, f := range s.failures {
			fmt.Fprintf(w, "- %s\n", strings.ReplaceAll(f, "\n", "\n  "))
		}
	}
}

func (s *sheet) printWorkload(w io.Writer, workload string) {
	of := func(field func(sample) string) []string {
		return s.distinct(func(x sample) string {
			if x.Workload != workload {
				return ""
			}
			return field(x)
		})
	}
	metrics := of(func(x sample) string { return x.Metric })
	systems := of(func(x sample) string { return x.System })
	relative := func(metric string) bool {
		_, ok := s.median(workload, baseline, metric)
		return ok && slices.Contains(withRatio, metric)
	}
	fmt.Fprintf(w, "\n### %s\n\n| system |", workload)
	rule := "|---|"
	for _, m := range metrics {
		fmt.Fprintf(w, " %s |", m)
		rule += "---:|"
		if relative(m) {
			fmt.Fprint(w, " ratio |")
			rule += "---:|"
		}
	}
	fmt.Fprintf(w, "\n%s\n", rule)
	for _, system := range systems {
		fmt.Fprintf(w, "| %s |", system)
		for _, m := range metrics {
			v, ok := s.median(workload, system, m)
			fmt.Fprintf(w, " %s |", figure(v, ok))
			if relative(m) {
				base, _ := s.median(workload, baseline, m)
				fmt.Fprintf(w, " %s |", figure(v/base, ok && base > 0))
			}
		}
		fmt.Fprintln(w)
	}
}

// figure prints a number with as many digits as its size is worth.
func figure(v float64, ok bool) string {
	switch {
	case !ok:
		return ""
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// describe says when and on what the run was.
func describe(when time.Time) string {
	return fmt.Sprintf("%s, %d cores, %s, %s.", when.Format(time.DateOnly), runtime.NumCPU(), machine(), runtime.Version())
}
