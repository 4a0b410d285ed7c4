//go:build unix

package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// notified is what a service manager hears.
func notified(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir's names can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

// hear waits for the next message.
func hear(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1000)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("nothing was heard: %v", err)
	}
	return string(b[:n])
}

func TestSystemdHearsWhenTheServerServesAndStops(t *testing.T) {
	c := notified(t)
	notifyReady(slog.New(slog.DiscardHandler))
	if got := hear(t, c); got != "READY=1" {
		t.Errorf("heard %q", got)
	}
	notifyStopping()
	if got := hear(t, c); got != "STOPPING=1" {
		t.Errorf("heard %q", got)
	}
}

func TestWithoutSystemdNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	var log bytes.Buffer
	notifyReady(slog.New(slog.NewTextHandler(&log, nil)))
	notifyStopping()
	err := watchdog(context.Background(), func() bool { t.Error("asked whether it is well"); return true })
	if err != nil || log.Len() > 0 {
		t.Errorf("watchdog: %v; log: %s", err, &log)
	}
}

func TestAnUnreachableSystemdIsLogged(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	var log bytes.Buffer
	notifyReady(slog.New(slog.NewTextHandler(&log, nil)))
	if !strings.Contains(log.String(), "tell systemd that the server is ready") {
		t.Errorf("the log has %q", log.String())
	}
}

func TestTheWatchdogHearsOnlyFromAHealthyServer(t *testing.T) {
	c := notified(t)
	t.Setenv("WATCHDOG_USEC", "20000") // 20 ms, so a word every 10 ms
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ill atomic.Bool
	asked := make(chan bool)
	done := make(chan error, 1)
	go func() {
		done <- watchdog(ctx, func() bool {
			well := !ill.Load()
			asked <- well
			return well
		})
	}()
	for range 3 {
		<-asked
		if got := hear(t, c); got != "WATCHDOG=1" {
			t.Errorf("heard %q", got)
		}
	}
	ill.Store(true)
	for <-asked { // one answer may have been under way
		hear(t, c)
	}
	for range 3 {
		<-asked
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes were heard from an ill server", n)
	}
	cancel()
	for {
		select {
		case <-asked:
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

func TestAWatchdogForAnotherProcessOrWithoutSense(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "1")
	if err := watchdog(context.Background(), func() bool { t.Error("asked"); return true }); err != nil {
		t.Errorf("for another process: %v", err)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := watchdog(context.Background(), func() bool { return true }); err == nil {
		t.Error("a time that is none is no error")
	}
}

// TestActivatedChild is the process that systemd starts, in the tests below: it
// tells what it was given, and serves one visitor on each.
func TestActivatedChild(_ *testing.T) {
	if os.Getenv("RELAY_TEST_ACTIVATED") == "" {
		return
	}
	listeners, err := activated()
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	again, err := activated()
	fmt.Println("names:", strings.Join(slices.Sorted(maps.Keys(listeners)), " "), len(again), err, os.Getenv("LISTEN_FDS"))
	for name, ln := range listeners {
		c, err := ln.Accept()
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		_, _ = io.WriteString(c, name)
		_ = c.Close()
		_ = ln.Close()
	}
}

// activate runs TestActivatedChild with sockets as systemd would, and gives its
// first line. The shell is there because LISTEN_PID is the child's own.
func activate(t *testing.T, pid, names string, sockets ...*os.File) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=`+pid+` exec "$0" -test.run '^TestActivatedChild$'`, self)
	cmd.Env = append(os.Environ(), "RELAY_TEST_ACTIVATED=1", "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = sockets
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // a child that waits for visitors
		_ = cmd.Wait()
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// open gives the file of a socket, and its address.
func open(t *testing.T) (*os.File, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, ln.Addr().String()
}

func TestSocketsOfSystemdAreListenersByName(t *testing.T) {
	plain, plainAddr := open(t)
	tls, tlsAddr := open(t)
	if got := activate(t, "$$", "http:https", plain, tls); got != "names: http https 0 <nil>" {
		t.Fatalf("the child says %q", got)
	}
	for name, addr := range map[string]string{"http": plainAddr, "https": tlsAddr} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		defer func() {
			if b, err := io.ReadAll(c); err != nil || string(b) != name {
				t.Errorf("on %s: %q, %v", name, b, err)
			}
		}()
	}
}

func TestSocketsForAnotherProcessAreLeftAlone(t *testing.T) {
	f, _ := open(t)
	if got := activate(t, "1", "http", f); got != "names:  0 <nil>" {
		t.Errorf("the child says %q", got)
	}
}

func TestSocketsThatCannotServeAreAnError(t *testing.T) {
	one, _ := open(t)
	two, _ := open(t)
	if got := activate(t, "$$", "http:http", one, two); !strings.Contains(got, `two sockets named "http"`) {
		t.Errorf("two of one name: the child says %q", got)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	f, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := activate(t, "$$", "http", f); !strings.Contains(got, "not a listening stream") {
		t.Errorf("UDP: the child says %q", got)
	}
}
