package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
)

// sheet holds every sample of a run, in the order in which they were taken.
type sheet struct {
	mu       sync.Mutex
	samples  []sample
	failures []string
}

// sample is one figure of one system at one workload.
type sample struct {
	Workload string  `json:"workload"`
	System   string  `json:"system"`
	Metric   string  `json:"metric"`
	Value    float64 `json:"value"`
}

func (s *sheet) add(workload, system, metric string, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, sample{workload, system, metric, value})
}

// fail notes a request that failed or an answer that was wrong.
func (s *sheet) fail(workload, system string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf("%s, %s: %v", workload, system, err))
	fmt.Fprintln(os.Stderr, "FAILED", s.failures[len(s.failures)-1])
}

// median of a system's samples; false when there are none.
func (s *sheet) median(workload, system, metric string) (float64, bool) {
	var values []float64
	for _, x := range s.samples {
		if x.Workload == workload && x.System == system && x.Metric == metric {
			values = append(values, x.Value)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 0 {
		return (values[mid-1] + values[mid]) / 2, true
	}
	return values[mid], true
}

// distinct lists what field gives for the samples, each once, in order of appearance.
func (s *sheet) distinct(field func(sample) string) []string {
	var all []string
	for _, x := range s.samples {
		if v := field(x); v != "" && !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

// writeJSON writes what was measured, for other programs.
func (s *sheet) writeJSON(file, on string) error {
	b, err := json.MarshalIndent(struct {
		On       string    `json:"on"`
		Bars     []verdict `json:"bars"`
		Failures []string  `json:"failures"`
		Samples  []sample  `json:"samples"`
	}{on, s.verdicts(), s.failures, s.samples}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
