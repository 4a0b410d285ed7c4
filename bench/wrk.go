package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// findWrk chooses the load generator. wrk costs a fraction of what a generator
// in Go does, which matters where it shares two cores with what it measures.
func findWrk(engine string) (string, error) {
	switch engine {
	case "builtin":
		return "", nil
	case "auto":
		path, _ := exec.LookPath("wrk")
		return path, nil
	case "wrk":
		return exec.LookPath("wrk")
	}
	return "", fmt.Errorf("-engine: %q is none of auto, wrk, builtin", engine)
}

// What wrk prints, as far as it is read.
var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s+(\d+) requests in`)
	wrkRate    = regexp.MustCompile(`(?m)^Requests/sec:\s+(\S+)`)
	wrkP50     = regexp.MustCompile(`(?m)^\s+50%\s+(\S+)`)
	wrkP99     = regexp.MustCompile(`(?m)^\s+99%\s+(\S+)`)
	wrkStatus  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSockets = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// wrkLoad has wrk load a system. It counts answers that are not 2xx and broken
// connections as failed, but does not compare bodies: the gate does.
func wrkLoad(ctx context.Context, wrk string, s *system, kind string, conns int, d time.Duration) load {
	args := []string{
		"-t", "1", "-c", strconv.Itoa(conns), "-d", fmt.Sprintf("%ds", int(d.Seconds())),
		"--timeout", "10s", "--latency", "-H", "Host: " + s.host,
	}
	target := "/json"
	if kind == "post" {
		script, err := postScript()
		if err != nil {
			return load{failed: 1, first: err}
		}
		defer os.Remove(script)
		args, target = append(args, "-s", script), "/echo"
	}
	out, err := exec.CommandContext(ctx, wrk, append(args, "http://"+s.addr+target)...).CombinedOutput()
	if err != nil {
		return load{failed: 1, first: fmt.Errorf("wrk: %w: %s", err, out)}
	}
	return readWrk(string(out), d)
}

func postScript() (string, error) {
	f, err := os.CreateTemp("", "relay-bench-*.lua")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, `wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("a", %d)
`, postSize)
	return f.Name(), err
}

func readWrk(out string, d time.Duration) load {
	word := func(re *regexp.Regexp) string {
		if m := re.FindStringSubmatch(out); m != nil {
			return m[1]
		}
		return ""
	}
	var l load
	total, _ := strconv.Atoi(word(wrkTotal))
	rate, _ := strconv.ParseFloat(word(wrkRate), 64)
	l.failed, _ = strconv.Atoi(word(wrkStatus))
	l.requests, l.took = total-l.failed, d
	if rate > 0 {
		l.took = time.Duration(float64(total) / rate * float64(time.Second))
	}
	if m := wrkSockets.FindStringSubmatch(out); m != nil {
		for _, s := range m[1:] {
			n, _ := strconv.Atoi(s)
			l.failed += n
		}
	}
	if l.failed > 0 {
		var said []string
		for line := range strings.Lines(out) {
			if strings.Contains(line, "Non-2xx") || strings.Contains(line, "Socket errors") {
				said = append(said, strings.TrimSpace(line))
			}
		}
		l.first = errors.New("wrk says: " + strings.Join(said, "; "))
	}
	l.p50, _ = time.ParseDuration(word(wrkP50))
	l.p99, _ = time.ParseDuration(word(wrkP99))
	return l
}
