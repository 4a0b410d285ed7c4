package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ticksPerSecond is USER_HZ, the unit of the times in /proc/PID/stat. It is 100
// on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuSeconds is the user and system time the processes have used so far.
func cpuSeconds(pids []int) float64 {
	var ticks int64
	for _, pid := range pids {
		f := statFields(pid)
		if len(f) < 13 {
			continue
		}
		for _, s := range f[11:13] { // utime, stime
			n, _ := strconv.ParseInt(s, 10, 64)
			ticks += n
		}
	}
	return float64(ticks) / ticksPerSecond
}

// statFields are the fields of /proc/PID/stat after the command's name, which
// may itself hold spaces and parentheses.
func statFields(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	s := string(b)
	return strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
}

// rssKiB is the resident memory of the processes.
func rssKiB(pids ...int) float64 {
	var total int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), "VmRSS:")
		if f := strings.Fields(rest); len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			total += n
		}
	}
	return float64(total)
}

// family is a process and all its descendants.
func family(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := statFields(id); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], id)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// machine says what the figures were measured on.
func machine() string {
	field := func(file, name string) string {
		b, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(b), name)
		line, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(strings.TrimLeft(line, " \t:"))
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %s of memory, Linux %s",
		field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"), strings.TrimSpace(string(kernel)))
}

// syncData makes what was written to the file durable.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
