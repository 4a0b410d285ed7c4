package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/protocol"
)

// agentsAtOnce is how many light agents connect at the same time: some tens, as
// after a restart of a server, and few enough not to measure a queue.
const agentsAtOnce = 16

// agentsMain holds many light agents in one process. Each is a true link to the
// server, with a tunnel and pings, but without anything that serves it: enough
// for a server to spend on it what it spends on an idle agent.
func agentsMain(args []string) error {
	f := flag.NewFlagSet("agents", flag.ExitOnError)
	server := f.String("server", "", "address of the server")
	token := f.String("token", "", "token of the user")
	n := f.Int("n", 100, "how many")
	if err := f.Parse(args); err != nil {
		return err
	}
	var (
		conns = make([]net.Conn, *n)
		slots = make(chan struct{}, agentsAtOnce)
		errs  = make(chan error, *n)
		lost  atomic.Int64
	)
	for i := range conns {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			c, err := idleAgent(*server, *token, i)
			conns[i] = c
			errs <- err
		}()
	}
	for range conns {
		if err := <-errs; err != nil {
			return err
		}
	}
	for _, c := range conns {
		go func() {
			// Pongs, and whatever else the server says. It should never end.
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 512))
			lost.Add(1)
		}()
	}
	fmt.Printf("%d agents are connected\n", *n)
	pingAll(conns, &lost)
	return nil
}

// pingAll sends each agent's pings, evenly spread over the interval, and ends
// the process when links are lost: figures with fewer agents would be wrong.
func pingAll(conns []net.Conn, lost *atomic.Int64) {
	ping := []byte{0x89, 0x80, 0, 0, 0, 0} // WebSocket ping, masked with zeros, empty
	const steps = 100
	tick := time.NewTicker(protocol.PingInterval / steps)
	defer tick.Stop()
	for step := 0; ; step++ {
		<-tick.C
		for i := step % steps; i < len(conns); i += steps {
			_, _ = conns[i].Write(ping)
		}
		if n := lost.Load(); n > 0 {
			fmt.Fprintf(os.Stderr, "%d of %d idle agents lost their link\n", n, len(conns))
			os.Exit(1)
		}
	}
}

// idleAgent opens one link with one tunnel.
func idleAgent(server, token string, i int) (net.Conn, error) {
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	hello, err := protocol.Encode(protocol.Hello{
		Agent: rand.Text(), Software: "relay-bench",
		Binds: []protocol.Bind{{ID: 1, Kind: protocol.KindHTTP, Name: fmt.Sprintf("idle%d", i)}},
	})
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost:"+port+protocol.LinkPath, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{
		"Connection":             {"Upgrade"},
		"Upgrade":                {"websocket"},
		"Sec-Websocket-Version":  {"13"},
		"Sec-Websocket-Key":      {base64.StdEncoding.EncodeToString(key)},
		"Sec-Websocket-Protocol": {protocol.Subprotocol},
		"Authorization":          {"Bearer " + token},
		protocol.HelloHeader:     {hello},
	}
	c, err := net.DialTimeout("tcp", server, dialTimeout)
	if err != nil {
		return nil, err
	}
	if err := upgrade(c, r); err != nil {
		c.Close()
		return nil, fmt.Errorf("idle agent %d: %w", i, err)
	}
	return c, nil
}

func upgrade(c net.Conn, r *http.Request) error {
	if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	if err := r.Write(c); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(c, 4<<10), r)
	if err != nil {
		return err
	}
	defer res.Body.Close() // a 101 has none
	if res.StatusCode != http.StatusSwitchingProtocols {
		text := make([]byte, 300)
		n, _ := io.ReadFull(res.Body, text)
		return errors.New("the server answered " + res.Status + ": " + string(text[:n]))
	}
	return c.SetDeadline(time.Time{})
}
