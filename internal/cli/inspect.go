package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

// inspectAddr is where the inspector is unless told otherwise; when it is taken, on
// a free port.
const inspectAddr = "127.0.0.1:4040"

func inspectFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: "inspect-addr", EnvVars: []string{"RELAY_INSPECT_ADDR"}, DefaultText: inspectAddr,
			Usage: "loopback `ADDRESS` or port of the page that shows requests; \"off\" for none",
		},
		&urfave.StringSliceFlag{Name: "mask", Usage: "a `SECRET` that the page does not show by itself: a header's name, or a JSON path like .user.password; repeat for more"},
	}
}

// inspection is the page of one "relay http", with what it shows.
type inspection struct {
	url      string
	recorder *capture.Recorder
	masks    *capture.Masks
	ln       net.Listener
	page     http.Handler
	server   *http.Server
	stop     context.CancelFunc
	forget   func() // takes the note away that says where it is
	served   chan struct{}
	busy     sync.RWMutex // read while a request is answered
}

// recordingOf makes what keeps requests, as far as anybody looks at them: a page or a
// screen. nil keeps none.
func recordingOf(c *urfave.Context, wanted, screen bool) (*capture.Recorder, *capture.Masks, error) {
	masks, err := capture.NewMasks(c.StringSlice("mask")...)
	if err != nil {
		return nil, nil, usagef("--mask: %v", err)
	}
	if !wanted || c.String("inspect-addr") == "off" && !screen {
		return nil, masks, nil
	}
	return capture.New(capture.Options{}), masks, nil
}

// inspectionOf makes what the flags ask for and listens; nil is none, as when nothing
// is recorded.
func inspectionOf(c *urfave.Context, recorder *capture.Recorder, masks *capture.Masks) (*inspection, error) {
	addr := c.String("inspect-addr")
	if addr == "off" || recorder == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	ln, err := listenInspect(addr)
	if err != nil {
		return nil, err
	}
	return &inspection{
		url: "http://" + ln.Addr().String(), recorder: recorder, masks: masks, ln: ln, served: make(chan struct{}),
	}, nil
}

// listenInspect listens on a loopback address. Without one it is the usual one, or
// any that is free.
func listenInspect(addr string) (net.Listener, error) {
	if addr == "" {
		if ln, err := net.Listen("tcp", inspectAddr); err == nil {
			return ln, nil
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen for the inspector: %w", err)
		}
		return ln, nil
	}
	if _, err := strconv.ParseUint(addr, 10, 16); err == nil {
		addr = net.JoinHostPort("127.0.0.1", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return nil, usagef("--inspect-addr %s: give an address like %s, a port, or off", addr, inspectAddr)
	case host == "localhost":
		addr = net.JoinHostPort("127.0.0.1", port)
	case host != "127.0.0.1" && host != "::1":
		return nil, usagef("--inspect-addr %s: the inspector shows secrets and is only for this machine: give 127.0.0.1, ::1 or localhost", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the inspector: %w; give another --inspect-addr, or off", err)
	}
	return ln, nil
}

// start serves the page. Replays go through the forwarders of w, which must outlive
// close.
func (i *inspection) start(w *wiring) error {
	var targets []string
	for _, f := range w.forwards {
		targets = append(targets, f.Addr())
	}
	log := w.log
	page, err := inspector.Handler(inspector.Options{
		Source: w.source(), Masks: i.masks, Target: strings.Join(targets, ", "), Log: log,
	})
	if err != nil {
		return fmt.Errorf("make the inspector: %w", err)
	}
	_, port, _ := net.SplitHostPort(i.ln.Addr().String())
	i.page = inspector.Local(port, page)
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	i.server = &http.Server{
		Handler: i, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(i.served)
		_ = i.server.Serve(i.ln)
	}()
	forget, err := leaveWhereabouts(i.ln.Addr().String(), time.Now())
	if err != nil {
		log.Debug("other commands cannot find the inspector by themselves", "err", err)
	}
	i.forget = forget
	return nil
}

// ServeHTTP answers unless close has begun.
func (i *inspection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !i.busy.TryRLock() {
		return
	}
	defer i.busy.RUnlock()
	i.page.ServeHTTP(w, r)
}

// close ends the page and waits for what it is answering. A nil inspection has
// nothing to end.
func (i *inspection) close() {
	if i == nil {
		return
	}
	if i.server == nil {
		_ = i.ln.Close()
		return
	}
	i.forget()
	i.stop()
	_ = i.server.Close()
	<-i.served
	i.busy.Lock() // waits for those that read
	defer i.busy.Unlock()
}
