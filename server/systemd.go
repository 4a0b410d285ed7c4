package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// What the server and systemd say to each other. Started by anything else, the
// server says nothing and gets nothing: each function is then without effect.

// notifyReady tells systemd that the server serves; "systemctl start" returns
// then. That it could not be told is logged: systemd will stop the server.
func notifyReady(log *slog.Logger) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Error("tell systemd that the server is ready", "err", err)
	}
}

// notifyStopping tells systemd that the server has begun to stop.
func notifyStopping() {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) // it stops in any case
}

// watchdog tells systemd that the server is well, as often as the unit's
// WatchdogSec= asks, until ctx ends. While healthy says no, or does not return,
// nothing is told, and systemd starts the server anew when the time is over. It
// returns at once when no watchdog is asked for.
func watchdog(ctx context.Context, healthy func() bool) error {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if within == 0 {
		return nil
	}
	t := time.NewTicker(within / 2) // as systemd recommends
	defer t.Stop()
	for {
		if healthy() {
			// A message that is lost is like an unhealthy moment; the next one may arrive.
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// activated gives the listeners that systemd has opened for the server, by the
// FileDescriptorName= of their socket units; none when there are none. It gives
// them once: a second call finds nothing. The caller closes them.
func activated() (map[string]net.Listener, error) {
	files := activation.Files(true)
	listeners := make(map[string]net.Listener, len(files))
	fail := func(err error) (map[string]net.Listener, error) {
		for _, f := range files {
			_ = f.Close()
		}
		for _, ln := range listeners {
			_ = ln.Close()
		}
		return nil, err
	}
	for _, f := range files {
		if listeners[f.Name()] != nil {
			return fail(fmt.Errorf("systemd passed two sockets named %q: give each socket unit one address and its own FileDescriptorName=", f.Name()))
		}
		ln, err := net.FileListener(f)
		if err != nil {
			return fail(fmt.Errorf("systemd passed a socket named %q that is not a listening stream: use ListenStream= in its socket unit: %w", f.Name(), err))
		}
		listeners[f.Name()] = ln
	}
	for _, f := range files {
		_ = f.Close() // the listener has a copy
	}
	return listeners, nil
}
